//! Tests of answers that are bounded in bytes: pages of history, and joins of clients that missed more than fits into
//! one answer. Uses the nodes and persons of `chat/tests.rs`.

use roomcast_protocol::limits::MAX_PAGE_BYTES;
use roomcast_store::Retention;

use super::*;

/// Every message is this long: an answer holds about 32 of them.
const LENGTH: usize = 16_000;

/// A room in which ben is, and ann's position in it: she left, and missed `count` long messages.
async fn missed(node: &Node, count: usize) -> (Person, Person, Position) {
    let (ann, ben) = (node.person("ann").await, node.person("ben").await);
    let position = node.join(&ann, "r", None).await.unwrap().position;
    node.join(&ben, "r", None).await.unwrap();
    node.execute(&ann, Command::Leave(Leave { room: room("r") })).await.unwrap();
    for _ in 0..count {
        node.send(&ben, &"x".repeat(LENGTH), None).await.unwrap();
    }
    (ann, ben, position)
}

impl Received {
    fn messages(&self) -> Vec<u64> {
        let events = self.events.lock();
        events.iter().filter_map(|event| event.strip_prefix("message ")?.parse().ok()).collect()
    }
}

#[tokio::test]
async fn what_does_not_fit_into_the_answer_to_a_join_follows_as_events() {
    let node = Node::start().await;
    let (ann, ben, position) = missed(&node, 300).await;
    ann.received.full.store(true, Ordering::Relaxed);
    let join = node.join(&ann, "r", Some(position));
    // Messages that are sent meanwhile come after those that ann missed.
    let meanwhile = async {
        ben.received.ends_with(&["presence 2"]).await;
        for _ in 0..5 {
            node.send(&ben, "meanwhile", None).await.unwrap();
        }
        ann.received.full.store(false, Ordering::Relaxed);
    };
    let (joined, ()) = tokio::join!(join, meanwhile);
    let JoinedRoom { position, recovered, more, messages, online, .. } = joined.unwrap();
    assert!(recovered && more);
    let bytes: usize = messages.iter().map(|message| message.json.get().len()).sum();
    assert!((MAX_PAGE_BYTES - 2 * LENGTH..=MAX_PAGE_BYTES).contains(&bytes), "{bytes}");
    let offsets: Vec<u64> = messages.iter().map(|message| message.offset).collect();
    assert_eq!(offsets, (1..=position.offset).collect::<Vec<_>>());
    assert_eq!(online.count, 2);
    node.send(&ben, "afterwards", None).await.unwrap();
    ann.received.ends_with(&["message 306"]).await;
    assert_eq!(ann.received.messages(), (position.offset + 1..=306).collect::<Vec<_>>());
    assert!(ann.received.events.lock().contains(&"online 2".to_owned()), "who is there, once she caught up");
    assert!(!ann.connection.is_closed());
}

#[tokio::test]
async fn a_client_that_catches_up_too_slowly_for_the_log_gets_resync() {
    let retention = Retention { len: 100, age: Duration::ZERO, cap: 100, ..Retention::default() };
    let node =
        Node::start_on(&Memory::new(&Settings { retention, ..Settings::default() }), GRACE, Duration::ZERO)
            .await;
    let (ann, ben, position) = missed(&node, 90).await;
    ann.received.full.store(true, Ordering::Relaxed);
    let meanwhile = async {
        // The join was answered.
        ben.received.ends_with(&["presence 2"]).await;
        for _ in 0..200 {
            node.send(&ben, "more", None).await.unwrap();
        }
        ann.received.full.store(false, Ordering::Relaxed);
    };
    let (joined, ()) = tokio::join!(node.join(&ann, "r", Some(position)), meanwhile);
    assert!(joined.unwrap().more);
    ann.received.ends_with(&["resync", "online 2"]).await;
    node.send(&ben, "afterwards", None).await.unwrap();
    ann.received.ends_with(&["resync", "online 2", "message 291"]).await;
}

#[tokio::test]
async fn a_client_that_is_lost_while_it_catches_up_leaves_the_room() {
    let node = Node::start().await;
    let (ann, ben, position) = missed(&node, 100).await;
    ann.received.full.store(true, Ordering::Relaxed);
    let lost = async {
        ben.received.ends_with(&["presence 2"]).await;
        node.registry.remove(&ann.connection);
    };
    let (joined, ()) = tokio::join!(node.join(&ann, "r", Some(position)), lost);
    assert!(joined.unwrap().more);
    node.chat.leave_all(&ann.connection, Departure::Left).await;
    ben.received.ends_with(&["presence 1"]).await;
}

#[tokio::test]
async fn a_page_of_history_is_bounded_in_bytes() {
    let node = Node::start().await;
    let (_, ben, _) = missed(&node, 100).await;
    let (mut before, mut offsets, mut pages) = (None, Vec::new(), 0);
    loop {
        let history = Command::History(History { room: Some(room("r")), to: None, before, limit: Some(200) });
        let Reply::History(page) = node.execute(&ben, history).await.unwrap() else { panic!("no page") };
        let bytes: usize = page.messages.iter().map(|message| message.get().len()).sum();
        assert!(bytes <= MAX_PAGE_BYTES, "{bytes}");
        let read = page
            .messages
            .iter()
            .map(|json| from_str::<roomcast_protocol::Message>(json.get()).unwrap().offset);
        offsets.splice(0..0, read);
        before = offsets.first().copied();
        pages += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!((offsets, pages), ((1..=100).collect::<Vec<_>>(), 4));
    // The newest messages, for a client without a position.
    let cyd = node.person("cyd").await;
    let join = Join { room: room("r"), since: None, limit: Some(200) };
    let Reply::Joined(joined) = node.execute(&cyd, Command::Join(join)).await.unwrap() else { panic!() };
    let bytes: usize = joined.messages.iter().map(|message| message.json.get().len()).sum();
    assert!(bytes <= MAX_PAGE_BYTES && !joined.more && !joined.recovered, "{bytes}");
    assert_eq!(joined.messages.last().map(|message| message.offset), Some(100));
}
