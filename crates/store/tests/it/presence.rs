//! The contract of presence.

use std::collections::BTreeSet;

use roomcast_protocol::{Epoch, RoomName, UserName};
use roomcast_store::{BusEvent, Change, Incarnation, Store, Version};

use crate::subject::{Subject, room, silence, sorted, until, user, users};

pub(crate) fn here(names: &[&str]) -> Change {
    Change { here: users(names), ..Change::default() }
}

pub(crate) fn gone(names: &[&str]) -> Change {
    Change { gone: users(names), ..Change::default() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(crate) async fn who(store: &Store, room: &RoomName) -> Vec<String> {
    let state = store.presence.read(room, 1_000).await.unwrap();
    let users = state.users.unwrap();
    assert_eq!(users.len(), state.count);
    sorted(&users)
}

pub(crate) async fn the_first_fact_joins_and_the_last_leaves(subject: Subject) {
    let (room, node) = (room("facts"), subject.node().await);
    let (a, b) = (Incarnation::random(), Incarnation::random());
    node.bus.subscribe(&room).await.unwrap();
    let empty = node.presence.read(&room, 10).await.unwrap();
    assert_eq!((empty.version, empty.count, empty.users), (Version::default(), 0, Some(vec![])));
    let write = async |by, sequence, change| {
        assert!(node.presence.write(&room, by, sequence, &change).await.unwrap())
    };
    write(&a, 1, here(&["Ann", "Bob"])).await;
    write(&b, 1, here(&["Ann", "Cyd"])).await;
    write(&a, 2, gone(&["Ann"])).await;
    write(&a, 3, gone(&["Ann", "Nobody"])).await;
    assert_eq!(who(&node, &room).await, ["Ann", "Bob", "Cyd"]);
    for (name, present) in [("Ann", true), ("Cyd", true), ("Nobody", false)] {
        assert_eq!(node.presence.is_present(&room, &user(name)).await.unwrap(), present, "{name}");
    }
    write(&b, 2, gone(&["Ann"])).await;
    write(&a, 4, gone(&["Bob"])).await;
    write(&b, 3, gone(&["Cyd"])).await;
    let expected = [
        (2, names(&["Ann", "Bob"]), vec![]),
        (3, names(&["Cyd"]), vec![]),
        (2, vec![], names(&["Ann"])),
        (1, vec![], names(&["Bob"])),
        (0, vec![], names(&["Cyd"])),
    ];
    until("all events are received", async || node.heard.presence(&room).len() >= expected.len()).await;
    assert_eq!(node.heard.presence(&room), expected);
    assert!(who(&node, &room).await.is_empty());
    assert!(!node.presence.is_present(&room, &user("Ann")).await.unwrap());
}

pub(crate) async fn a_repeated_or_older_write_changes_nothing(subject: Subject) {
    let (room, node, by) = (room("twice"), subject.node().await, Incarnation::random());
    node.bus.subscribe(&room).await.unwrap();
    assert!(node.presence.write(&room, &by, 7, &here(&["Ann"])).await.unwrap());
    let after = node.presence.read(&room, 10).await.unwrap();
    for (sequence, change) in
        [(7, here(&["Ann"])), (7, gone(&["Ann"])), (6, gone(&["Ann"])), (1, here(&["Bob"]))]
    {
        assert!(!node.presence.write(&room, &by, sequence, &change).await.unwrap());
    }
    assert_eq!(node.presence.read(&room, 10).await.unwrap(), after);
    // A fact that is written again publishes nothing.
    assert!(node.presence.write(&room, &by, 10, &here(&["Ann"])).await.unwrap());
    assert!(node.presence.write(&room, &by, 11, &gone(&["Bob"])).await.unwrap());
    assert_eq!(node.presence.read(&room, 10).await.unwrap(), after);
    silence().await;
    assert_eq!(node.heard.presence(&room).len(), 1);
}

pub(crate) async fn a_whole_write_removes_exactly_the_missing_users(subject: Subject) {
    let (room, node) = (room("whole"), subject.node().await);
    let (a, b) = (Incarnation::random(), Incarnation::random());
    node.bus.subscribe(&room).await.unwrap();
    node.presence.write(&room, &a, 1, &here(&["Ann", "Bob", "Cyd"])).await.unwrap();
    node.presence.write(&room, &b, 1, &here(&["Bob", "Dan"])).await.unwrap();
    let whole = |names: &[&str]| Change { whole: true, ..here(names) };
    node.presence.write(&room, &a, 2, &whole(&["Ann", "Eve"])).await.unwrap();
    assert_eq!(who(&node, &room).await, ["Ann", "Bob", "Dan", "Eve"]);
    until("all events are received", async || node.heard.presence(&room).len() == 3).await;
    assert_eq!(node.heard.presence(&room)[2], (4, names(&["Eve"]), names(&["Cyd"])));
    node.presence.write(&room, &a, 3, &whole(&["Ann", "Eve"])).await.unwrap();
    node.presence.write(&room, &a, 4, &whole(&[])).await.unwrap();
    assert_eq!(who(&node, &room).await, ["Bob", "Dan"]);
    until("all events are received", async || node.heard.presence(&room).len() == 4).await;
    assert_eq!(node.heard.presence(&room)[3], (2, vec![], names(&["Ann", "Eve"])));
}

pub(crate) async fn versions_are_consecutive_and_agree_with_the_state(subject: Subject) {
    let (room, nodes) = (room("versions"), [subject.node().await, subject.node().await]);
    nodes[0].bus.subscribe(&room).await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..4_u64 {
        let (store, room) = (nodes[usize::try_from(writer).unwrap() % 2].store.clone(), room.clone());
        writers.push(subject.lifecycle.spawn("writer", async move {
            let by = Incarnation::random();
            for sequence in 1..=40 {
                let name = format!("user {}", (writer + sequence * 7) % 11);
                let mut change = if sequence % 3 == 0 { gone(&[&name]) } else { here(&[&name]) };
                change.whole = sequence % 13 == 0;
                store.presence.write(&room, &by, sequence, &change).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let state = nodes[1].presence.read(&room, 1_000).await.unwrap();
    let number = usize::try_from(state.version.number).unwrap();
    until("all events are received", async || nodes[0].heard.of(&room).len() >= number).await;
    let mut version = Version { number: 0, ..state.version.clone() };
    let mut sum: BTreeSet<UserName> = BTreeSet::new();
    for event in nodes[0].heard.of(&room) {
        let BusEvent::Presence { version: next, count, joined, left } = event else { panic!("{event:?}") };
        assert!(next.follows(&version), "{next:?} after {version:?}");
        version = next;
        for user in joined {
            assert!(sum.insert(user), "joined twice");
        }
        for user in left {
            assert!(sum.remove(&user), "left without having joined");
        }
        assert_eq!(count, sum.len());
    }
    assert_eq!(version, state.version);
    assert_eq!(who(&nodes[1], &room).await, sorted(&sum.into_iter().collect::<Vec<_>>()));
}

fn many_users(size: usize) -> Vec<UserName> {
    // Names of the maximum length.
    (0..size).map(|number| user(&format!("{number:04}{}", "\u{1f980}".repeat(60)))).collect()
}

pub(crate) async fn a_large_change_is_published_in_chunks(subject: Subject) {
    let (room, node, by) = (room("chunks"), subject.node().await, Incarnation::random());
    node.bus.subscribe(&room).await.unwrap();
    let change = Change { whole: true, here: many_users(1_200), ..Change::default() };
    node.presence.write(&room, &by, 1, &change).await.unwrap();
    let change = Change { whole: true, here: many_users(1_700).split_off(800), ..Change::default() };
    node.presence.write(&room, &by, 2, &change).await.unwrap();
    let chunks = || {
        let heard = node.heard.presence(&room);
        heard.into_iter().map(|(count, joined, left)| (count, joined.len(), left.len())).collect::<Vec<_>>()
    };
    until("all events are received", async || chunks().len() >= 6).await;
    let expected =
        [(500, 500, 0), (1_000, 500, 0), (1_200, 200, 0), (1_700, 500, 0), (1_200, 0, 500), (900, 0, 300)];
    assert_eq!(chunks(), expected);
    let state = node.presence.read(&room, 10).await.unwrap();
    assert_eq!((state.version.number, state.count, state.users), (6, 900, None));
}

/// All users, read in pages, and the number of entries including duplicates.
async fn by_pages(store: &Store, room: &RoomName, limit: usize) -> (BTreeSet<UserName>, usize) {
    let (mut all, mut seen, mut cursor) = (BTreeSet::new(), 0, None);
    loop {
        let page = store.presence.users(room, cursor.as_deref(), limit).await.unwrap();
        seen += page.users.len();
        all.extend(page.users);
        cursor = page.cursor;
        if cursor.is_none() {
            assert_eq!(page.count, all.len());
            return (all, seen);
        }
    }
}

pub(crate) async fn users_are_listed_in_pages(subject: Subject) {
    let (room, node, by) = (room("few"), subject.node().await, Incarnation::random());
    let all: Vec<_> = (0..57).map(|number| user(&format!("user {number}"))).collect();
    node.presence.write(&room, &by, 1, &Change { here: all.clone(), ..Change::default() }).await.unwrap();
    for limit in [1, 10, 57, 200] {
        assert_eq!(by_pages(&node, &room, limit).await, (all.iter().cloned().collect(), 57));
    }
    let empty = node.presence.users(&crate::subject::room("empty"), None, 10).await.unwrap();
    assert_eq!((empty.count, empty.users.len(), empty.cursor), (0, 0, None));
    for nonsense in ["", "s", "sx", "x", "n", "чат"] {
        let page = node.presence.users(&room, Some(nonsense), 10).await.unwrap();
        assert_eq!(page.users.len(), 10, "the cursor {nonsense:?} begins at the beginning");
    }
}

pub(crate) async fn many_users_are_listed_in_pages(subject: Subject) {
    let (room, node, by) = (room("many"), subject.node().await, Incarnation::random());
    let all = many_users(1_300);
    node.presence.write(&room, &by, 1, &Change { here: all.clone(), ..Change::default() }).await.unwrap();
    let (visited, _) = by_pages(&node, &room, 100).await;
    assert_eq!(visited, all.into_iter().collect());
    let state = node.presence.read(&room, 500).await.unwrap();
    assert_eq!((state.count, state.users), (1_300, None));
}

pub(crate) async fn rooms_are_listed_in_pages(subject: Subject) {
    let (node, by) = (subject.node().await, Incarnation::random());
    let mut all: Vec<_> = (0..60).map(|number| room(&format!("room {number}"))).collect();
    for room in &all {
        node.log.open(room, 0).await.unwrap();
        node.presence.index(room, &by).await.unwrap();
    }
    node.presence.index(&room("forgotten"), &by).await.unwrap();
    node.presence.close(&room("forgotten"), &by, 1).await.unwrap();
    node.presence.index(&room("in use"), &by).await.unwrap();
    node.presence.write(&room("in use"), &by, 1, &here(&["Ann", "Bob"])).await.unwrap();
    all.push(room("in use"));
    all.sort();
    for limit in [1, 7, 61, 1_000] {
        let (mut visited, mut cursor) = (Vec::new(), None);
        loop {
            let page = node.presence.rooms(cursor.as_deref(), limit).await.unwrap();
            assert!(page.rooms.len() <= limit);
            for (name, count) in page.rooms {
                assert_eq!(count, if name.as_str() == "in use" { 2 } else { 0 });
                visited.push(name);
            }
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        visited.sort();
        assert_eq!(visited, all, "each once, {limit} a page");
    }
    // Indexed again, it is listed again.
    node.log.open(&room("forgotten"), 0).await.unwrap();
    node.presence.index(&room("forgotten"), &by).await.unwrap();
    assert_eq!(node.presence.rooms(None, 1_000).await.unwrap().rooms.len(), 62);
    for nonsense in ["", "x", "99:", "0:", ":"] {
        node.presence.rooms(Some(nonsense), 10).await.unwrap();
    }
}

pub(crate) async fn rooms_of_a_user_are_listed(subject: Subject) {
    let (node, a, b) = (subject.node().await, Incarnation::random(), Incarnation::random());
    for (name, by, who) in
        [("one", &a, "Ann"), ("two", &a, "Bob"), ("two", &b, "Ann"), ("three", &b, "Bob"), ("one", &b, "Ann")]
    {
        node.presence.index(&room(name), by).await.unwrap();
        let sequence = if name == "one" { 1 } else { 2 };
        assert!(node.presence.write(&room(name), by, sequence, &here(&[who])).await.unwrap());
    }
    let of = async |name, nodes: &[Incarnation]| {
        let rooms = node.presence.rooms_of(&user(name), nodes).await.unwrap();
        rooms.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of("Ann", &[a.clone(), b.clone()]).await, ["one", "two"]);
    assert_eq!(of("Ann", std::slice::from_ref(&a)).await, ["one"]);
    assert_eq!(of("Bob", &[b.clone(), a.clone()]).await, ["three", "two"]);
    assert!(of("Nobody", &[a.clone(), b]).await.is_empty());
    assert!(of("Ann", &[]).await.is_empty());
    node.presence.close(&room("one"), &a, 1).await.unwrap();
    assert!(of("Ann", &[a]).await.is_empty());
}

/// The `Returned` events of a room: node and users.
fn returned(node: &crate::subject::Node, room: &RoomName) -> Vec<(Incarnation, Vec<String>)> {
    let returned = |event| match event {
        BusEvent::Returned { node, users } => Some((node, sorted(&users))),
        _ => None,
    };
    node.heard.of(room).into_iter().filter_map(returned).collect()
}

pub(crate) async fn an_arrival_is_published_where_the_user_has_facts_of_other_nodes(subject: Subject) {
    let (room, node) = (room("arrivals"), subject.node().await);
    let (a, b) = (Incarnation::random(), Incarnation::random());
    node.bus.subscribe(&room).await.unwrap();
    let arrives = |names: &[&str]| Change { arrived: users(names), ..here(names) };
    node.presence.write(&room, &a, 1, &arrives(&["Ann", "Bob"])).await.unwrap();
    node.presence.write(&room, &b, 1, &arrives(&["Ann", "Cyd"])).await.unwrap();
    node.presence
        .write(&room, &b, 2, &Change { arrived: users(&["Ann"]), ..Change::default() })
        .await
        .unwrap();
    node.presence.write(&room, &b, 3, &Change { whole: true, ..here(&["Ann", "Bob", "Cyd"]) }).await.unwrap();
    node.presence
        .write(&room, &a, 2, &Change { arrived: users(&["Nobody"]), ..gone(&["Bob"]) })
        .await
        .unwrap();
    until("all events are received", async || returned(&node, &room).len() >= 2).await;
    silence().await;
    let expected = vec![(b.clone(), names(&["Ann"])), (b, names(&["Ann"]))];
    assert_eq!(
        returned(&node, &room),
        expected,
        "not for users without facts of other nodes, and not for a whole write"
    );
}

pub(crate) async fn an_arrival_under_a_name_of_another_kind_is_another_person(subject: Subject) {
    let (room, node) = (room("persons"), subject.node().await);
    let (a, b) = (Incarnation::random(), Incarnation::random());
    node.bus.subscribe(&room).await.unwrap();
    let open = |names: &[&str], dialect: &str| {
        let open = users(names).into_iter().map(|user| (user, dialect.to_owned())).collect();
        Change { arrived: users(names), open, ..here(names) }
    };
    let proved = |names: &[&str]| Change { arrived: users(names), ..here(names) };
    let write = async |by, sequence, change| {
        assert!(node.presence.write(&room, by, sequence, &change).await.unwrap())
    };
    let heard = |replaced| {
        let of_kind = move |event| match event {
            BusEvent::Replaced { node, users } if replaced => Some((node, sorted(&users))),
            BusEvent::Returned { node, users } if !replaced => Some((node, sorted(&users))),
            _ => None,
        };
        node.heard.of(&room).into_iter().filter_map(of_kind).collect::<Vec<_>>()
    };
    write(&a, 1, open(&["Ann", "Bob", "Cyd"], "one")).await;
    write(&a, 2, proved(&["Dan"])).await;
    write(&b, 1, open(&["Ann"], "one")).await;
    write(&b, 2, open(&["Bob"], "two")).await;
    write(&b, 3, proved(&["Cyd", "Dan"])).await;
    // By now the same persons; the former ones' graces are no arrivals, whatever is written of them.
    write(&b, 4, open(&["Bob"], "two")).await;
    write(&b, 5, proved(&["Cyd"])).await;
    let graces = Change { arrived: vec![], whole: true, ..open(&["Bob", "Cyd", "Dan"], "one") };
    write(&a, 3, graces).await;
    // On the same node, and after everybody of that name has left.
    write(&b, 6, open(&["Eve"], "one")).await;
    write(&b, 7, proved(&["Eve"])).await;
    write(&b, 8, gone(&["Eve"])).await;
    write(&b, 9, open(&["Eve"], "two")).await;
    until("all events are received", async || heard(true).len() >= 3).await;
    silence().await;
    let of = |by: &Incarnation, users: &[&str]| (by.clone(), names(users));
    assert_eq!(heard(true), [of(&b, &["Bob"]), of(&b, &["Cyd"]), of(&b, &["Eve"])]);
    let returned = [of(&b, &["Ann"]), of(&b, &["Dan"]), of(&b, &["Bob"]), of(&b, &["Cyd"])];
    assert_eq!(heard(false), returned);
    assert_eq!(who(&node, &room).await, ["Ann", "Bob", "Cyd", "Dan", "Eve"]);
}

pub(crate) async fn a_write_that_continues_is_refused_by_a_store_that_lost_its_data(subject: Subject) {
    let (room, node, by) = (room("continued"), subject.node().await, Incarnation::random());
    let continues = Change { continues: true, ..here(&["Ann"]) };
    assert!(!node.presence.write(&room, &by, 1, &continues).await.unwrap(), "it has no earlier write");
    assert!(who(&node, &room).await.is_empty());
    assert!(node.presence.write(&room, &by, 2, &Change { whole: true, ..here(&["Ann"]) }).await.unwrap());
    assert!(node.presence.write(&room, &by, 3, &Change { continues: true, ..here(&["Bob"]) }).await.unwrap());
    assert_eq!(who(&node, &room).await, ["Ann", "Bob"]);
}

pub(crate) async fn a_closed_room_keeps_no_field_of_the_node(subject: Subject) {
    let (room, node, by) = (room("closed"), subject.node().await, Incarnation::random());
    let other = Incarnation::random();
    node.presence.index(&room, &by).await.unwrap();
    node.presence.write(&room, &other, 1, &here(&["Bob"])).await.unwrap();
    node.presence.write(&room, &by, 4, &here(&["Ann"])).await.unwrap();
    node.presence.write(&room, &by, 5, &gone(&["Ann"])).await.unwrap();
    // The node opened the room again before this close was executed.
    node.presence.close(&room, &by, 4).await.unwrap();
    let late = Change { continues: true, ..here(&["Ann"]) };
    assert!(!node.presence.write(&room, &by, 5, &late).await.unwrap(), "an older write is refused");
    node.presence.close(&room, &by, 6).await.unwrap();
    assert!(
        !node.presence.write(&room, &by, 5, &late).await.unwrap(),
        "a late write has no earlier one to continue"
    );
    assert_eq!(who(&node, &room).await, ["Bob"]);
    assert_eq!(node.sweep(&by).await.unwrap().rooms, 0, "no room is left to sweep");
}

/// The epoch of a room's log: a forgotten room has another one the next time.
async fn epoch(store: &Store, room: &RoomName) -> Epoch {
    store.log.open(room, 0).await.unwrap().head.position.epoch
}

async fn is_listed(store: &Store, room: &RoomName) -> bool {
    store.presence.rooms(None, 1_000).await.unwrap().rooms.iter().any(|(listed, _)| listed == room)
}

pub(crate) async fn a_room_without_a_message_or_a_user_is_forgotten(subject: Subject) {
    let (node, a, b) = (subject.node().await, Incarnation::random(), Incarnation::random());
    let presence = &node.presence;
    let visited = async |name: &str, by: &Incarnation| {
        let room = room(name);
        presence.index(&room, by).await.unwrap();
        let before = epoch(&node, &room).await;
        assert!(presence.write(&room, by, 1, &here(&["Ann"])).await.unwrap());
        assert!(presence.write(&room, by, 2, &gone(&["Ann"])).await.unwrap());
        (room, before)
    };
    let (empty, before) = visited("empty", &a).await;
    presence.close(&empty, &a, 3).await.unwrap();
    assert!(!is_listed(&node, &empty).await);
    assert_eq!(presence.read(&empty, 10).await.unwrap().version, Version::default());
    assert_ne!(epoch(&node, &empty).await, before);

    let (open, before) = visited("open elsewhere", &a).await;
    presence.index(&open, &b).await.unwrap();
    presence.close(&open, &a, 3).await.unwrap();
    assert!(is_listed(&node, &open).await);
    assert_eq!(epoch(&node, &open).await, before, "another node has it open");
    presence.close(&open, &b, 1).await.unwrap();
    assert!(!is_listed(&node, &open).await);

    let (used, before) = visited("in use", &a).await;
    presence.write(&used, &b, 1, &here(&["Bob"])).await.unwrap();
    presence.close(&used, &a, 3).await.unwrap();
    assert!(is_listed(&node, &used).await);
    assert_eq!(epoch(&node, &used).await, before, "a user is in it");

    let (said, before) = visited("with a message", &a).await;
    node.publish(&said, "a", "Ann").await.unwrap();
    presence.close(&said, &a, 3).await.unwrap();
    assert!(is_listed(&node, &said).await);
    assert_eq!(epoch(&node, &said).await, before, "it has a message");

    let dead = Incarnation::random();
    let (swept, before) = visited("swept", &dead).await;
    presence.write(&swept, &dead, 3, &here(&["Ann"])).await.unwrap();
    assert_eq!(presence.sweep(&dead).await.unwrap(), (1, 1));
    assert!(!is_listed(&node, &swept).await);
    assert_ne!(epoch(&node, &swept).await, before);
}

pub(crate) async fn a_new_incarnation_replaces_the_former_without_a_leave(subject: Subject) {
    let (room, node) = (room("taken over"), subject.node().await);
    let (former, next) = (Incarnation::random(), Incarnation::random());
    node.bus.subscribe(&room).await.unwrap();
    node.presence.write(&room, &former, 1, &here(&["Ann", "Bob"])).await.unwrap();
    let change = Change { whole: true, former: vec![former.clone()], ..here(&["Ann", "Cyd"]) };
    assert!(node.presence.write(&room, &next, 2, &change).await.unwrap());
    until("all events are received", async || node.heard.presence(&room).len() >= 2).await;
    assert_eq!(node.heard.presence(&room)[1], (2, names(&["Cyd"]), names(&["Bob"])));
    assert!(node.presence.write(&room, &next, 3, &gone(&["Ann"])).await.unwrap());
    assert_eq!(who(&node, &room).await, ["Cyd"], "the former incarnation has no facts any more");
    assert!(
        !node.presence.write(&room, &former, 9, &Change { continues: true, ..here(&["Ann"]) }).await.unwrap()
    );
}
