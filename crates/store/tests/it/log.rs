//! The contract of the room log.

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use std::time::Duration;

use roomcast_protocol::{Body, Content, Epoch, Position};
use roomcast_store::{Change, Incarnation, PublishRequest, ReadLimit, Replay, Retention, StoreError};
use tokio::time::sleep;

use crate::subject::{Subject, body, offsets, room, until, user};

pub(crate) async fn offsets_have_no_hole_and_every_node_hears_them_in_order(subject: Subject) {
    let (room, nodes) = (room("busy"), [subject.node().await, subject.node().await]);
    for node in &nodes {
        node.bus.subscribe(&room).await.unwrap();
    }
    let mut senders = Vec::new();
    for sender in 0..4_usize {
        let (store, room) = (nodes[sender % 2].store.clone(), room.clone());
        senders.push(subject.lifecycle.spawn("sender", async move {
            let mut offsets = Vec::new();
            for number in 0..50 {
                let body = body(&format!("{sender}-{number}"), "Ann");
                let request = PublishRequest { room: &room, body: &body, image: None, urgent: false };
                offsets.push(store.log.publish(request).await.unwrap().position.offset);
            }
            offsets
        }));
    }
    let mut given = Vec::new();
    for sender in senders {
        let offsets = sender.await.unwrap();
        assert!(offsets.is_sorted(), "one sender's messages are in its order");
        given.extend(offsets);
    }
    given.sort_unstable();
    let all: Vec<u64> = (1..=200).collect();
    assert_eq!(given, all);
    let kept = nodes[0].log.open(&room, 1_000).await.unwrap();
    assert_eq!(offsets(&kept.newest), all);
    assert_eq!(kept.head.position.offset, 200);
    for node in &nodes {
        until("everything is heard", async || node.heard.messages(&room).len() == 200).await;
        assert_eq!(node.heard.messages(&room), kept.newest, "order in the log is order on the bus");
    }
}

pub(crate) async fn batched_messages_are_answered_each(subject: Subject) {
    let node = subject.node().await;
    node.publish(&room("batched 0"), "first", "Ann").await.unwrap();
    let sent = (0..1_000_usize).map(async |number| {
        // Many rooms, and thus many slots. In the first all know the id, in the second all say the same.
        let (room, fresh) = (room(&format!("batched {}", number % 50)), format!("m{number}"));
        let id = ["first", "same"].get(number % 50).copied().unwrap_or(&fresh);
        (number, node.publish_batched(&room, id, "Ann").await.unwrap())
    });
    let mut offsets = std::collections::HashMap::<usize, Vec<u64>>::new();
    for (number, published) in sent.collect::<FuturesOrdered<_>>().collect::<Vec<_>>().await {
        let known = number % 50 == 0;
        assert!(!known || published.duplicate, "{number}");
        if !published.duplicate {
            offsets.entry(number % 50).or_default().push(published.position.offset);
        }
    }
    for (place, mut given) in offsets {
        given.sort_unstable();
        let expected = if place == 1 { 1 } else { 20 };
        assert_eq!(given, (1..=expected).collect::<Vec<_>>(), "room {place}");
    }
    assert!(matches!(
        node.publish_batched(&room("batched 0"), "first", "Bob").await,
        Err(StoreError::IdTaken)
    ));
}

pub(crate) async fn a_body_reads_back_as_it_was_sent(subject: Subject) {
    let (room, node) = (room("bodies"), subject.node().await);
    node.bus.subscribe(&room).await.unwrap();
    let newer = r#"{"v":1,"id":"b","kind":"poll","user":"Ann","options":["x","\"y\""]}"#;
    let bodies = [body("a", "Ann"), Body::parse(newer).unwrap()];
    assert!(matches!(&bodies[1].content, Content::Other { kind, .. } if kind == "poll"));
    for body in &bodies {
        node.log.publish(PublishRequest { room: &room, body, image: None, urgent: true }).await.unwrap();
    }
    let opened = node.log.open(&room, 10).await.unwrap();
    let start = Position { epoch: opened.head.position.epoch.clone(), offset: 0 };
    let Replay::Whole(replayed) = node.log.since(&room, &start, ReadLimit::entries(10)).await.unwrap() else {
        panic!("lost")
    };
    let page = node.log.before(&room, None, ReadLimit::entries(10)).await.unwrap();
    until("both are received", async || node.heard.messages(&room).len() == 2).await;
    for entries in [opened.newest, replayed.newest, page.entries, node.heard.messages(&room)] {
        let read: Vec<_> = entries.iter().map(|entry| Body::parse(&entry.body).unwrap()).collect();
        assert_eq!(read, bodies);
        assert_eq!(entries[1].body, newer);
    }
}

pub(crate) async fn an_id_is_stored_once(subject: Subject) {
    let (room, here, there) = (room("ids"), subject.node().await, subject.node().await);
    here.bus.subscribe(&room).await.unwrap();
    let first = here.publish(&room, "a b", "Ann B.").await.unwrap();
    assert!(!first.duplicate);
    here.publish(&room, "other", "Ann B.").await.unwrap();
    let again = there.publish(&room, "a b", "Ann B.").await.unwrap();
    assert!(again.duplicate);
    assert_eq!((again.position, again.ts), (first.position, first.ts));
    let kept = here.log.open(&room, 10).await.unwrap();
    assert_eq!(offsets(&kept.newest), [1, 2]);
    assert_eq!(kept.newest[0].ts, first.ts);
    here.publish(&room, "last", "Ann B.").await.unwrap();
    until("the last is heard", async || here.heard.has_message(&room, "last")).await;
    assert_eq!(offsets(&here.heard.messages(&room)), [1, 2, 3], "a duplicate is published once");
}

pub(crate) async fn an_id_of_another_user_is_taken(subject: Subject) {
    let (room, node) = (room("taken"), subject.node().await);
    node.publish(&room, "a", "Ann").await.unwrap();
    for stranger in ["Bob", "Ann B.", "An", "1 1 e Ann"] {
        let refused = node.publish(&room, "a", stranger).await;
        assert!(matches!(refused, Err(StoreError::IdTaken)), "{refused:?}");
    }
    assert_eq!(offsets(&node.log.open(&room, 10).await.unwrap().newest), [1]);
    assert_eq!(node.publish(&room, "b", "Bob").await.unwrap().position.offset, 2);
}

fn retention(len: usize, age: Duration, cap: usize) -> Retention {
    Retention { len, age, cap, ..Retention::default() }
}

pub(crate) async fn what_is_beyond_the_length_and_old_goes(subject: Subject) {
    let age = Duration::from_millis(300);
    let (room, node) = (room("old"), subject.keeping(retention(2, age, 100)).node().await);
    let old = node.publish_many(&room, "old", 5).await;
    assert_eq!(node.log.open(&room, 100).await.unwrap().newest.len(), 5);
    sleep(age + Duration::from_millis(50)).await;
    // Two at most a publish.
    for (id, kept) in [("new1", vec![3, 4, 5, 6]), ("new2", vec![5, 6, 7]), ("new3", vec![6, 7, 8])] {
        node.publish(&room, id, "Ann").await.unwrap();
        assert_eq!(offsets(&node.log.open(&room, 100).await.unwrap().newest), kept);
    }
    // What is forgotten may come again; what is not is still known.
    let again = node.publish(&room, "old1", "Bob").await.unwrap();
    assert!(!again.duplicate && again.position.offset == 9);
    assert!(node.publish(&room, "new3", "Ann").await.unwrap().duplicate);
    assert_eq!(old[0].position.offset, 1);
}

pub(crate) async fn what_is_beyond_the_length_and_young_stays(subject: Subject) {
    let (room, node) =
        (room("young"), subject.keeping(retention(2, Duration::from_secs(600), 100)).node().await);
    node.publish_many(&room, "a", 20).await;
    assert_eq!(node.log.open(&room, 100).await.unwrap().newest.len(), 20);
    assert!(node.publish(&room, "a1", "Ann").await.unwrap().duplicate);
}

pub(crate) async fn what_is_beyond_the_cap_goes(subject: Subject) {
    let (room, node) = (room("cap"), subject.keeping(retention(2, Duration::from_secs(600), 6)).node().await);
    node.publish_many(&room, "a", 20).await;
    let kept: Vec<u64> = (15..=20).collect();
    assert_eq!(offsets(&node.log.open(&room, 100).await.unwrap().newest), kept);
    assert!(!node.publish(&room, "a14", "Ann").await.unwrap().duplicate);
    assert!(node.publish(&room, "a17", "Ann").await.unwrap().duplicate);
}

fn whole(replay: Replay) -> Vec<u64> {
    match replay {
        Replay::Whole(opened) => offsets(&opened.newest),
        other => panic!("not whole: {other:?}"),
    }
}

fn lost(replay: Replay) -> u64 {
    match replay {
        Replay::Lost(head) => head.position.offset,
        other => panic!("not lost: {other:?}"),
    }
}

pub(crate) async fn since_is_whole_or_lost(subject: Subject) {
    let (room, node) = (room("since"), subject.node().await);
    let epoch = node.publish_many(&room, "a", 10).await.remove(0).position.epoch;
    let at = |offset| Position { epoch: epoch.clone(), offset };
    let since = async |position: Position, limit| {
        node.log.since(&room, &position, ReadLimit::entries(limit)).await.unwrap()
    };
    assert_eq!(whole(since(at(0), 100).await), (1..=10).collect::<Vec<_>>());
    assert_eq!(whole(since(at(7), 3).await), [8, 9, 10]);
    assert_eq!(whole(since(at(10), 100).await), [0; 0]);
    assert_eq!(whole(since(at(10), 0).await), [0; 0]);
    assert_eq!(lost(since(at(6), 3).await), 10, "more than the limit");
    assert_eq!(lost(since(at(11), 100).await), 10, "beyond the head");
    assert_eq!(lost(since(at(u64::MAX), 100).await), 10, "far beyond it");
    let elsewhere = Position { epoch: Epoch::new("another"), offset: 7 };
    assert_eq!(lost(since(elsewhere, 100).await), 10);
}

pub(crate) async fn a_gap_that_was_trimmed_is_lost(subject: Subject) {
    let (room, node) = (room("gap"), subject.keeping(retention(2, Duration::from_secs(600), 4)).node().await);
    let epoch = node.publish_many(&room, "a", 10).await.remove(0).position.epoch;
    for (offset, is_whole) in [(5, false), (6, true), (7, true)] {
        let position = Position { epoch: epoch.clone(), offset };
        let replay = node.log.since(&room, &position, ReadLimit::entries(100)).await.unwrap();
        assert_eq!(matches!(replay, Replay::Whole(_)), is_whole, "since {offset}");
    }
}

pub(crate) async fn pages_of_the_past(subject: Subject) {
    let (room, node) = (room("pages"), subject.node().await);
    node.publish_many(&room, "a", 10).await;
    let cases: [(Option<u64>, usize, Vec<u64>, bool); 9] = [
        (None, 4, vec![7, 8, 9, 10], true),
        (Some(7), 4, vec![3, 4, 5, 6], true),
        (Some(3), 4, vec![1, 2], false),
        (Some(3), 2, vec![1, 2], false),
        (Some(3), 1, vec![2], true),
        (Some(1), 4, vec![], false),
        (Some(0), 4, vec![], false),
        (None, 10, (1..=10).collect(), false),
        (Some(u64::MAX), 3, vec![8, 9, 10], true),
    ];
    for (offset, limit, entries, more) in cases {
        let page = node.log.before(&room, offset, ReadLimit::entries(limit)).await.unwrap();
        assert_eq!((offsets(&page.entries), page.more), (entries, more), "{limit} before {offset:?}");
    }
}

pub(crate) async fn reads_are_limited_in_bytes(subject: Subject) {
    let (room, node) = (room("bytes"), subject.node().await);
    let epoch = node.publish_many(&room, "a", 200).await.remove(0).position.epoch;
    let size = node.log.open(&room, 1).await.unwrap().newest[0].body.len();
    let at = |offset| Position { epoch: epoch.clone(), offset };
    let limit = |entries, bytes| ReadLimit { entries, bytes };
    let part = async |offset, limit| match node.log.since(&room, &at(offset), limit).await.unwrap() {
        Replay::Part(entries) => offsets(&entries),
        other => panic!("not a part: {other:?}"),
    };
    assert_eq!(part(190, limit(1_000, 3 * size)).await, [191, 192, 193]);
    assert_eq!(part(190, limit(1_000, 3 * size + size / 2)).await, [191, 192, 193]);
    assert_eq!(part(190, limit(10, 1)).await, [191], "one at least");
    // Some are shorter, and Redis may keep them without their version.
    let many = part(0, limit(1_000, 100 * size)).await;
    assert!((100..120).contains(&many.len()) && many[0] == 1, "{many:?}");
    let since = async |offset, limit| node.log.since(&room, &at(offset), limit).await.unwrap();
    assert_eq!(whole(since(197, limit(1_000, 3 * size)).await), [198, 199, 200]);
    assert_eq!(whole(since(199, limit(1_000, 0)).await), [200]);
    assert_eq!(whole(since(200, limit(1_000, 0)).await), [0; 0]);
    assert_eq!(lost(since(190, limit(9, size)).await), 200, "more than the limit of messages");
    assert_eq!(lost(since(201, limit(1_000, size)).await), 200);
    let cases: [(Option<u64>, ReadLimit, Vec<u64>, bool); 6] = [
        (None, limit(10, 3 * size), vec![198, 199, 200], true),
        (None, limit(3, 3 * size), vec![198, 199, 200], true),
        (None, limit(10, 0), vec![200], true),
        (Some(150), limit(2, 100 * size), vec![148, 149], true),
        (Some(3), limit(10, 1), vec![2], true),
        (Some(2), limit(10, 1), vec![1], false),
    ];
    for (offset, limit, entries, more) in cases {
        let page = node.log.before(&room, offset, limit).await.unwrap();
        assert_eq!((offsets(&page.entries), page.more), (entries, more), "{limit:?} before {offset:?}");
    }
}

pub(crate) async fn an_epoch_begins_once(subject: Subject) {
    let (room, here, there) = (room("begin"), subject.node().await, subject.node().await);
    let (a, b, c) = tokio::join!(here.log.open(&room, 1), there.log.open(&room, 1), here.log.open(&room, 1));
    let opened = a.unwrap();
    assert_eq!((opened.head.position.offset, opened.head.prior.len(), opened.newest.len()), (0, 0, 0));
    assert_eq!(opened.head, b.unwrap().head);
    assert_eq!(opened.head, c.unwrap().head);
    let published = there.publish(&room, "a", "Ann").await.unwrap();
    assert_eq!(published.position.epoch, opened.head.position.epoch);
    assert_eq!(
        here.log.since(&room, &opened.head.position, ReadLimit::entries(10)).await.map(whole).unwrap(),
        [1]
    );
    let other = here.log.open(&crate::subject::room("begin2"), 1).await.unwrap();
    assert_ne!(other.head.position.epoch, opened.head.position.epoch);
}

pub(crate) async fn a_room_in_use_stays_and_an_idle_one_goes(subject: Subject) {
    let idle = Duration::from_millis(400);
    let (room, node) =
        (room("idle"), subject.keeping(Retention { idle, ..Retention::default() }).node().await);
    let published = node.publish_many(&room, "a", 3).await;
    for _ in 0..6 {
        sleep(idle / 4).await;
        node.log.touch(&room).await.unwrap();
    }
    assert_eq!(
        node.log.before(&room, None, ReadLimit::entries(10)).await.unwrap().entries.len(),
        3,
        "touched, it stays"
    );
    until("it is forgotten", async || {
        node.log.before(&room, None, ReadLimit::entries(10)).await.unwrap().entries.is_empty()
    })
    .await;
    let head = node.log.open(&room, 10).await.unwrap().head;
    assert_eq!(head.position, published[2].position, "the meta outlives the log");
    assert_eq!(
        node.log.since(&room, &published[0].position, ReadLimit::entries(10)).await.map(lost).unwrap(),
        3
    );
    assert_eq!(
        node.log.since(&room, &published[2].position, ReadLimit::entries(10)).await.map(whole).unwrap(),
        [0; 0]
    );
    let again = node.publish(&room, "a1", "Bob").await.unwrap();
    assert!(!again.duplicate);
    assert_eq!(again.position.offset, 4);
    assert_eq!(
        node.log.since(&room, &published[2].position, ReadLimit::entries(10)).await.map(whole).unwrap(),
        [4]
    );
}

pub(crate) async fn any_name_is_a_room(subject: Subject) {
    let (here, there) = (subject.node().await, subject.node().await);
    let long = "\u{1f980}".repeat(128);
    let names =
        ["a", "чат 7", "{a}{b}", "}{", "{}", "a:b:c", "}:b:x", "with  spaces", "quo\"te\\", "%s%d", &long];
    let node = Incarnation::random();
    for name in names {
        let room = room(name);
        here.bus.subscribe(&room).await.unwrap();
        there.publish(&room, "{id} \"1\"", "Bob {B}: 1 %s").await.unwrap();
        assert!(there.publish(&room, "{id} \"1\"", "Bob {B}: 1 %s").await.unwrap().duplicate);
        there.presence.index(&room, &node).await.unwrap();
        let change = Change { here: vec![user("Ann {B} %s")], ..Change::default() };
        assert!(there.presence.write(&room, &node, 1, &change).await.unwrap());
        there.bus.publish_ephemeral(&room, &user("Ann {B} %s"), true).await.unwrap();
        until("all is heard", async || here.heard.of(&room).len() == 3).await;
        assert_eq!(there.presence.read(&room, 10).await.unwrap().count, 1);
    }
    let mut rooms = there.presence.rooms_of(&user("Ann {B} %s"), std::slice::from_ref(&node)).await.unwrap();
    rooms.sort();
    let mut expected = names.map(room).to_vec();
    expected.sort();
    assert_eq!(rooms, expected);
    assert_eq!(there.sweep(&node).await.unwrap().facts, names.len());
}
