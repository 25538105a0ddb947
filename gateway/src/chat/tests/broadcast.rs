//! Tests of messages to everyone. Uses the nodes and persons of `chat/tests.rs`.

use roomcast_protocol::client::Broadcast;

use super::*;

fn broadcast(text: &str, origin: BroadcastOrigin) -> Command {
    Command::Broadcast(Broadcast { text: text.into(), id: None }, origin)
}

const NATIVE: BroadcastOrigin = BroadcastOrigin::Native;

#[tokio::test]
async fn a_message_to_everyone_reaches_every_connection_on_every_node() {
    let memory = Memory::new(&Settings::default());
    let nodes = [
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
    ];
    for node in &nodes {
        node.chat.rooms.clone().receive_broadcasts().await;
    }
    let (ann, ben, unnamed) =
        (nodes[0].person("ann").await, nodes[1].person("ben").await, nodes[1].unnamed());
    let Reply::Sent(sent) = nodes[0].execute(&ann, broadcast("hi", NATIVE)).await.unwrap() else {
        panic!("unexpected reply to a message");
    };
    assert_eq!((sent.room, sent.offset), (RoomName::everyone(), 1));
    for person in [&ann, &ben, &unnamed] {
        person.received.ends_with(&["message 1"]).await;
    }
    assert!(ann.received.events.lock()[0].starts_with("welcome"));
    // Many: not served inline.
    let crowd: Vec<_> = std::iter::repeat_with(|| nodes[1].unnamed()).take(300).collect();
    nodes[1].execute(&ben, broadcast("again", NATIVE)).await.unwrap();
    for person in crowd.iter().chain([&ann, &ben]) {
        person.received.ends_with(&["message 2"]).await;
    }
    assert!(nodes[0].chat.rooms.online(&RoomName::everyone()).await.is_some_and(|online| online.count == 0));
}

#[tokio::test]
async fn a_user_sends_one_message_to_everyone_in_ten_seconds_on_all_nodes_together() {
    let memory = Memory::new(&Settings::default());
    let nodes = [
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
    ];
    for node in &nodes {
        node.chat.rooms.clone().receive_broadcasts().await;
    }
    let (here, there) = (nodes[0].person("ann").await, nodes[1].person("ann").await);
    assert_eq!(nodes[0].code(&here, broadcast(" ", NATIVE)).await, Code::BadText, "it takes no turn");
    let first = || {
        let id = Some("first".to_owned());
        Command::Broadcast(Broadcast { text: "hi".into(), id }, NATIVE)
    };
    nodes[0].execute(&here, first()).await.unwrap();
    there.received.ends_with(&["message 1"]).await;
    for (node, person) in nodes.iter().zip([&here, &there]) {
        let refused = node.execute(person, broadcast("hi", NATIVE)).await.err().unwrap();
        assert_eq!((refused.code, refused.retry_after_ms.is_some()), (Code::RateLimited, true));
        let Reply::Sent(sent) = node.execute(person, first()).await.unwrap() else {
            panic!("unexpected reply to a message");
        };
        assert_eq!(sent.offset, 1, "sent again, because its answer was lost");
    }
}

#[tokio::test]
async fn who_may_send_to_everyone_is_a_setting() {
    let mut node = Node::start().await;
    for (policy, native, classic) in [
        (BroadcastPolicy::Nobody, false, false),
        (BroadcastPolicy::Dialect, false, true),
        (BroadcastPolicy::Everyone, true, true),
    ] {
        node.chat.broadcast = policy;
        for (origin, allowed) in [(NATIVE, native), (BroadcastOrigin::Classic, classic)] {
            let ann = node.person(&format!("ann {policy:?} {origin:?}")).await;
            let answer =
                node.execute(&ann, broadcast("hi", origin)).await.map(drop).map_err(|refusal| refusal.code);
            assert_eq!(answer, if allowed { Ok(()) } else { Err(Code::Forbidden) }, "{policy:?} {origin:?}");
        }
    }
    let unnamed = node.unnamed();
    assert_eq!(node.code(&unnamed, broadcast("hi", BroadcastOrigin::Classic)).await, Code::NotJoined);
}
