//! Tests of rooms that are too large to be served inline. Uses the nodes and persons of `chat/tests.rs`.

use super::*;

/// More than are served inline.
const CROWD: usize = 140;

#[tokio::test]
async fn a_member_that_joins_again_without_history_misses_nothing() {
    // What is sent right after another message waits.
    let node = Node::start_with(Duration::from_millis(300)).await;
    let (ann, ben) = (node.person("ann").await, node.person("ben").await);
    node.join(&ann, "r", None).await.unwrap();
    node.join(&ben, "r", None).await.unwrap();
    for n in 0..CROWD {
        node.join(&node.person(&format!("u{n}")).await, "r", None).await.unwrap();
    }
    for round in 1..=20 {
        node.send(&ben, "hi", None).await.unwrap();
        node.send(&ben, "hi again", None).await.unwrap();
        let join = Join { room: room("r"), since: None, limit: Some(0) };
        let Reply::Joined(joined) = node.execute(&ann, Command::Join(join)).await.unwrap() else {
            panic!("unexpected reply to a join");
        };
        assert!(joined.messages.is_empty() && !joined.recovered);
        let events = ann.received.events.lock();
        let messages: Vec<_> = events.iter().filter(|event| event.starts_with("message")).cloned().collect();
        let expected: Vec<_> = (1..=joined.position.offset).map(|n| format!("message {n}")).collect();
        assert_eq!(messages, expected, "up to the position of the answer in round {round}");
    }
    node.send(&ben, "bye", None).await.unwrap();
    ann.received.ends_with(&["message 40", "message 41"]).await;
}
