//! Tests of what a user may do who returns after the connection dropped, before joining a room again. Uses the nodes
//! and persons of `chat/tests.rs`.

use super::*;

/// Official clients send what they buffered while offline before the application can join again.
#[tokio::test]
async fn a_user_who_returns_within_the_grace_may_send_before_joining_again() {
    let memory = Memory::new(&Settings::default());
    let nodes = [
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
    ];
    let ben = nodes[0].person("ben").await;
    nodes[0].join(&ben, "r", None).await.unwrap();
    let ann = nodes[0].sign_in("ann", "secret").await.unwrap();
    nodes[0].join(&ann.0, "r", None).await.unwrap();
    nodes[0].send(&ann.0, "zero", Some("m0")).await.unwrap();
    nodes[0].is_present("ann", true).await;
    nodes[0].disconnect(ann, Departure::Dropped).await;
    // There and back: to the same node, and to another one.
    for (at, id, offset) in [(0, "m1", 2), (1, "m2", 3)] {
        let ann = nodes[at].sign_in("ann", "secret").await.unwrap();
        assert_eq!(nodes[at].send(&ann.0, "again", Some("m0")).await.unwrap(), 1, "it was stored before");
        assert_eq!(nodes[at].send(&ann.0, "buffered", Some(id)).await.unwrap(), offset);
        assert_eq!(nodes[at].send(&ann.0, " ", Some("m3")).await.unwrap_err().code, Code::BadText);
        let history =
            Command::History(History { room: Some(room("r")), to: None, before: None, limit: None });
        assert_eq!(nodes[at].code(&ann.0, history).await, Code::NotJoined, "for sending only");
        let elsewhere = SendMessage { room: room("s"), text: "hi".into(), id: None };
        assert_eq!(nodes[at].code(&ann.0, Command::SendMessage(elsewhere)).await, Code::NotJoined);
        nodes[at].disconnect(ann, Departure::Dropped).await;
    }
    ben.received.ends_with(&["message 3"]).await;
}

#[tokio::test]
async fn a_user_who_left_or_whose_grace_ended_must_join_again() {
    let memory = Memory::new(&Settings::default());
    let node = Node::start_on(&memory, Duration::from_millis(50), Duration::ZERO).await;
    for how in [Departure::Left, Departure::Dropped] {
        let ann = node.sign_in("ann", "secret").await.unwrap();
        node.join(&ann.0, "r", None).await.unwrap();
        node.is_present("ann", true).await;
        node.disconnect(ann, how).await;
        node.is_present("ann", false).await;
        let ann = node.sign_in("ann", "secret").await.unwrap();
        assert_eq!(node.send(&ann.0, "hi", None).await.unwrap_err().code, Code::NotJoined, "{how:?}");
        node.disconnect(ann, Departure::Left).await;
    }
    // A connection that is older than the grace is not one that returns.
    let (tab, other) =
        (node.sign_in("ann", "secret").await.unwrap(), node.sign_in("ann", "secret").await.unwrap());
    node.join(&tab.0, "r", None).await.unwrap();
    node.is_present("ann", true).await;
    let refused = async { while node.send(&other.0, "hi", None).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_secs(5), refused).await.is_ok());
    assert_eq!(node.send(&other.0, "hi", None).await.unwrap_err().code, Code::NotJoined);
}

#[tokio::test]
async fn who_took_over_an_open_name_has_none_of_its_rooms() {
    let node = Node::start().await;
    let mut former = node.unnamed();
    let name = node.take(&mut former, "ann").await.unwrap();
    node.join(&former, "r", None).await.unwrap();
    node.is_present("ann", true).await;
    node.disconnect((former, name), Departure::Dropped).await;
    for _ in 0..2 {
        let auth = ConnectAuth { username: user("ann"), resume: Some("mine".into()), since: None };
        let next = node.authenticate(auth).await.unwrap();
        assert_eq!(node.send(&next.0, "hi", None).await.unwrap_err().code, Code::NotJoined);
        node.disconnect(next, Departure::Dropped).await;
    }
}
