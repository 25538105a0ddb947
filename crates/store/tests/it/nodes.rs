//! The contract of leases, and of the sweep.

use std::time::Duration;

use roomcast_store::{Change, Incarnation, NodeInfo, Peer, Secret, Swept};

use crate::presence::{gone, here, who};
use crate::subject::{Node, Subject, room, silence, until, user};

const LEASE: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(60);

fn info(name: &str) -> NodeInfo {
    let peer = Some(Peer { tag: "a tag".into(), address: "10.0.0.1:3002".into() });
    NodeInfo { name: name.into(), version: "1.0 \"é\"".into(), peer, body_version: 1 }
}

/// Registers nodes whose leases run out, and waits until they are sealed.
async fn dead<const N: usize>(node: &Node) -> [Incarnation; N] {
    let dead: [Incarnation; N] = std::array::from_fn(|_| Incarnation::random());
    for node_of in &dead {
        node.nodes.register(node_of, &info("dead"), Duration::from_millis(1)).await.unwrap();
    }
    for one in &dead {
        until("it is sealed", async || {
            node.nodes.seal_expired().await.unwrap().iter().any(|sealed| sealed.incarnation == *one)
        })
        .await;
    }
    dead
}

pub(crate) async fn a_lease_is_renewed_until_it_runs_out(subject: Subject) {
    let node = subject.node().await;
    let (short, long) = (Incarnation::random(), Incarnation::random());
    assert!(!node.nodes.renew(&short, LONG).await.unwrap(), "there is nothing to renew");
    node.nodes.register(&short, &info("short"), LONG).await.unwrap();
    node.nodes.register(&long, &info("long"), LONG).await.unwrap();
    assert!(node.nodes.seal_expired().await.unwrap().is_empty());
    assert!(node.nodes.renew(&short, LEASE).await.unwrap());
    let leases = node.nodes.list().await.unwrap();
    assert_eq!(leases.len(), 2);
    for lease in &leases {
        let (name, most) = if lease.incarnation == short { ("short", LEASE) } else { ("long", LONG) };
        assert_eq!(lease.info, Some(info(name)));
        assert!(lease.remaining <= most && lease.remaining > most / 4, "{lease:?}");
    }
    let remaining = async |of: &Incarnation| {
        let leases = node.nodes.list().await.unwrap();
        leases.iter().find(|lease| lease.incarnation == *of).map(|lease| lease.remaining)
    };
    until("it runs out", async || remaining(&short).await == Some(Duration::ZERO)).await;
    assert!(!node.nodes.renew(&short, LONG).await.unwrap(), "it ran out, sealed or not");
    let sealed = node.nodes.seal_expired().await.unwrap();
    assert_eq!(sealed.iter().map(|sealed| &sealed.incarnation).collect::<Vec<_>>(), [&short]);
    assert!(!node.nodes.renew(&short, LONG).await.unwrap());
    assert_eq!(remaining(&short).await, None, "a sealed incarnation is not listed");
    assert!(remaining(&long).await.is_some());
    assert!(node.nodes.renew(&long, LONG).await.unwrap());
    until("its age grows", async || {
        node.nodes.seal_expired().await.unwrap()[0].age >= Duration::from_millis(20)
    })
    .await;
    node.nodes.forget(&short).await.unwrap();
    assert!(node.nodes.seal_expired().await.unwrap().is_empty());
    assert!(!node.nodes.renew(&short, LONG).await.unwrap());
}

pub(crate) async fn a_sweep_removes_facts_and_names_of_dead_nodes(subject: Subject) {
    let (node, rooms) = (subject.node().await, ["one", "two", "three"].map(room));
    let (living, secret) = (Incarnation::random(), Secret::proved("mine"));
    let [dead] = dead(&node).await;
    for room in &rooms {
        node.bus.subscribe(room).await.unwrap();
        node.presence.index(room, &dead).await.unwrap();
    }
    node.presence.write(&rooms[0], &dead, 1, &here(&["Ann", "Bob"])).await.unwrap();
    node.presence.write(&rooms[0], &living, 1, &here(&["Bob"])).await.unwrap();
    node.presence.write(&rooms[1], &dead, 1, &here(&["Ann"])).await.unwrap();
    for name in ["Ann", "Bob", "Cyd"] {
        node.names.claim(&user(name), &secret, &dead, &[]).await.unwrap();
    }
    node.names.claim(&user("Bob"), &secret, &living, &[]).await.unwrap();
    node.names.release(&user("Cyd"), &secret, &dead).await.unwrap();

    assert_eq!(node.store.sweep(&dead).await.unwrap(), Swept { rooms: 3, facts: 3, names: 2 });
    assert_eq!(who(&node, &rooms[0]).await, ["Bob"]);
    assert!(who(&node, &rooms[1]).await.is_empty());
    until("the leaves are received", async || {
        let (first, second) = (node.heard.presence(&rooms[0]), node.heard.presence(&rooms[1]));
        first.last() == Some(&(1, vec![], vec!["Ann".to_owned()]))
            && second.last() == Some(&(0, vec![], vec!["Ann".to_owned()]))
    })
    .await;
    assert_eq!(node.names.holders(&user("Bob")).await.unwrap(), std::slice::from_ref(&living));
    assert!(node.names.holders(&user("Ann")).await.unwrap().is_empty());
    let claim = node.names.claim(&user("Ann"), &Secret::proved("other"), &living, &[]).await.unwrap();
    assert!(claim.is_granted());

    assert_eq!(node.store.sweep(&dead).await.unwrap(), Swept { rooms: 3, facts: 0, names: 0 });
    node.forget(&dead).await.unwrap();
    assert_eq!(node.store.sweep(&dead).await.unwrap(), Swept::default());
    assert_eq!(node.names.holders(&user("Ann")).await.unwrap(), [living]);
    silence().await;
    assert_eq!(node.heard.presence(&rooms[0]).len(), 2, "the second sweep published nothing");
}

pub(crate) async fn two_sweepers_publish_each_leave_once(subject: Subject) {
    let (one, two) = (subject.node().await, subject.node().await);
    let [dead] = dead(&one).await;
    let rooms: Vec<_> = (0..20).map(|number| room(&format!("room {number}"))).collect();
    for room in &rooms {
        one.bus.subscribe(room).await.unwrap();
        one.presence.index(room, &dead).await.unwrap();
        one.presence.write(room, &dead, 1, &here(&["Ann", "Bob", "Cyd"])).await.unwrap();
    }
    let spawn = |node: &Node| {
        let (store, dead) = (node.store.clone(), dead.clone());
        subject.lifecycle.spawn("sweeper", async move { store.sweep(&dead).await.unwrap().facts })
    };
    let (first, second) = (spawn(&one), spawn(&two));
    assert_eq!(first.await.unwrap() + second.await.unwrap(), 60);
    let left = |room| one.heard.presence(room).iter().map(|(_, _, left)| left.len()).sum::<usize>();
    until("the leaves are received", async || rooms.iter().all(|room| left(room) >= 3)).await;
    silence().await;
    assert!(rooms.iter().all(|room| left(room) == 3));
}

pub(crate) async fn a_large_room_is_swept_in_steps(subject: Subject) {
    let (node, room) = (subject.node().await, room("large"));
    let [dead] = dead(&node).await;
    node.bus.subscribe(&room).await.unwrap();
    node.presence.index(&room, &dead).await.unwrap();
    let here = (0..1_000).map(|number| user(&format!("user {number}"))).collect();
    node.presence.write(&room, &dead, 1, &Change { here, ..Change::default() }).await.unwrap();
    assert_eq!(node.store.sweep(&dead).await.unwrap().facts, 1_000);
    assert!(who(&node, &room).await.is_empty());
    until("the leaves are received", async || node.heard.presence(&room).len() == 4).await;
    let counts: Vec<_> = node.heard.presence(&room).iter().map(|(count, _, _)| *count).collect();
    assert_eq!(counts, [500, 1_000, 500, 0]);
}

pub(crate) async fn a_late_write_is_removed_by_the_second_sweep(subject: Subject) {
    let (node, room) = (subject.node().await, room("late"));
    let [dead] = dead(&node).await;
    // A room without a message would be forgotten.
    node.publish(&room, "a", "Ann").await.unwrap();
    node.bus.subscribe(&room).await.unwrap();
    node.presence.index(&room, &dead).await.unwrap();
    node.presence.write(&room, &dead, 5, &here(&["Ann"])).await.unwrap();
    assert_eq!(node.store.sweep(&dead).await.unwrap().facts, 1);
    // Sent before the node was sealed.
    node.presence.write(&room, &dead, 6, &here(&["Bob"])).await.unwrap();
    node.names.claim(&user("Bob"), &Secret::proved("mine"), &dead, &[]).await.unwrap();
    let swept = node.store.sweep(&dead).await.unwrap();
    assert_eq!(swept, Swept { rooms: 1, facts: 1, names: 1 });
    assert!(who(&node, &room).await.is_empty());
    assert!(node.names.holders(&user("Bob")).await.unwrap().is_empty());
    until("its leave is received", async || {
        node.heard.presence(&room).last() == Some(&(0, vec![], vec!["Bob".to_owned()]))
    })
    .await;
    node.forget(&dead).await.unwrap();
    let living = Incarnation::random();
    assert!(node.presence.write(&room, &living, 1, &here(&["Ann"])).await.unwrap());
    assert!(node.presence.write(&room, &living, 2, &gone(&["Ann"])).await.unwrap());
    let versions = node.presence.read(&room, 0).await.unwrap().version.number;
    assert_eq!(versions, 6, "the numbering continued");
}

pub(crate) async fn a_former_incarnation_is_sealed_also_if_the_store_has_no_lease_of_it(subject: Subject) {
    let (node, [former, unknown, next]) =
        (subject.node().await, std::array::from_fn(|_| Incarnation::random()));
    node.nodes.register(&former, &info("former"), LONG).await.unwrap();
    node.nodes.register_after(&[former.clone(), unknown.clone()], &next, &info("next"), LONG).await.unwrap();
    assert!(!node.nodes.renew(&former, LONG).await.unwrap(), "it ended");
    assert!(node.nodes.renew(&next, LONG).await.unwrap());
    let leases = node.nodes.list().await.unwrap();
    assert_eq!(leases.iter().map(|lease| &lease.incarnation).collect::<Vec<_>>(), [&next]);
    let mut sealed: Vec<_> =
        node.nodes.seal_expired().await.unwrap().into_iter().map(|sealed| sealed.incarnation).collect();
    sealed.sort();
    let mut expected = vec![former, unknown];
    expected.sort();
    assert_eq!(sealed, expected);
}
