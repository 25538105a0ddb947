//! Tests of the threads of a person with connections on two nodes. Uses the nodes and persons of `chat/tests.rs`.

use roomcast_store::Secret;

use super::*;

fn person(secret: &str) -> PersonId {
    PersonId::new(&user("ann"), &Secret::proved(secret))
}

fn change(joined: bool) -> ThreadChange {
    ThreadChange { thread: room("r"), joined }
}

#[tokio::test]
async fn a_persons_threads_are_known_on_every_node() {
    let memory = Memory::new(&Settings::default());
    let nodes = [
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
    ];
    let (inside, _inside) = nodes[0].sign_in("ann", "secret").await.unwrap();
    let (outside, _outside) = nodes[1].sign_in("ann", "secret").await.unwrap();
    nodes[0].join(&inside, "r", None).await.unwrap();
    nodes[0].is_present("ann", true).await;
    nodes[0].chat.thread_changed(&person("secret"), &change(true)).await;
    let threads =
        async |secret| nodes[1].chat.follow_threads(&outside.connection, &person(secret)).await.unwrap();
    assert!(threads("another").await.is_empty(), "another person of that name");
    assert_eq!(threads("secret").await, [room("r")]);

    let chat = &nodes[1].chat;
    assert!(chat.observe(&outside.connection, &room("r"), 0).await.unwrap().is_some());
    nodes[0].send(&inside, "hi", None).await.unwrap();
    outside.received.ends_with(&["observed 1"]).await;
    let history = Command::History(History { room: Some(room("r")), to: None, before: None, limit: None });
    assert_eq!(nodes[1].code(&outside, history).await, Code::NotJoined, "observing gives no rights");
    let joined = nodes[1].join(&outside, "r", None).await.unwrap();
    assert_eq!((joined.online.count, outside.connection.is_in(&room("r"))), (1, true), "one person");
    nodes[0].send(&inside, "again", None).await.unwrap();
    outside.received.ends_with(&["message 2"]).await;

    // The threads' log says that she is in it; but she left, unnoticed.
    nodes[1].chat.leave_all(&outside.connection, Departure::Left).await;
    nodes[0].chat.leave_all(&inside.connection, Departure::Left).await;
    nodes[0].is_present("ann", false).await;
    assert!(threads("secret").await.is_empty());
    assert!(chat.observe(&outside.connection, &room("r"), 0).await.unwrap().is_some());
    assert_eq!(outside.connection.received_rooms().len(), 2);
    nodes[1].chat.leave_all(&outside.connection, Departure::Left).await;
    assert!(outside.connection.received_rooms().is_empty(), "nothing is left of a connection that ended");
}

#[tokio::test]
async fn a_change_of_threads_reaches_those_who_follow_them() {
    let node = Node::start().await;
    let ann = node.person("ann").await;
    assert!(node.chat.follow_threads(&ann.connection, &person("ann")).await.unwrap().is_empty());
    node.chat.thread_changed(&person("ann"), &change(true)).await;
    ann.received.ends_with(&["observed 1"]).await;
    assert!(!ann.received.events.lock().iter().any(|event| event.starts_with("message")), "it is no message");
    let listed = node.execute(&ann, Command::Rooms(ListRooms::default())).await.unwrap();
    let Reply::Rooms(page) = listed else { panic!("unexpected reply to rooms") };
    assert!(page.rooms.iter().all(|row| !row.room.is_reserved()), "{:?}", page.rooms);
}
