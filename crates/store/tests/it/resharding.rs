//! Clusters that change: slots that move, nodes that are emptied, stopped, or promoted. Each case runs on Redis and on
//! Valkey.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use roomcast_protocol::{Epoch, RoomName};
use roomcast_store::{ReadLimit, Replay, Store, StoreError, Unobserved};

use crate::outage::connected;
use crate::server::{Cluster, Kind, Server};
use crate::subject::{Heard, Node, Subject, offsets, room, until};

macro_rules! on_each_kind {
    ($($case:ident)+) => {
        mod redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::server::Kind::Redis).await;
                }
            )+
        }
        mod valkey {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::server::Kind::Valkey).await;
                }
            )+
        }
    };
}

on_each_kind! {
    a_room_is_heard_after_its_emptied_node_stopped
    a_slot_that_moves_right_after_a_start_is_noticed
    a_promotion_is_noticed
    a_half_moved_slot_stops_its_own_rooms_only
    a_node_that_is_gone_stops_its_own_rooms_only
    what_is_published_while_a_slot_is_open_is_read_by_every_node
    a_node_that_hangs_is_reported_until_it_answers
    a_node_of_a_cluster_is_no_single_server
    moves_and_promotions_begin_epochs_and_lose_nothing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_move_together_are_read_at_once_and_heard() {
    // Only Valkey moves many slots in one step.
    let cluster = Cluster::start_with(Kind::Valkey, THIRDS, &OPTIONS).await;
    let [first, second, _] = &cluster.0[..] else { panic!("three nodes") };
    let subject = Subject::at(&cluster.url());
    let (node, other) = (connected(&subject).await, subject.node().await);
    let rooms: Vec<_> = (0..60).map(|number| room(&format!("bulk-{number}"))).collect();
    for room in &rooms {
        node.bus.subscribe(room).await.unwrap();
        other.publish(room, "before", "Ann").await.unwrap();
    }
    let slots = format!("CLUSTER MIGRATESLOTS SLOTSRANGE 5461 10922 NODE {}", first.id().await);
    second.say::<()>(&slots).await;
    until("the slots have moved", async || owner_by(first, BUSY_SLOT).await == first.port).await;
    // A server that is about to move slots may be busy for longer than a command may take.
    futures_util::stream::iter(&rooms)
        .for_each_concurrent(rooms.len(), async |room| {
            until("it is read", async || node.log.open(room, 10).await.is_ok()).await;
        })
        .await;
    for room in &rooms {
        is_heard(&node, &other, room, "after").await;
    }
    until("all nodes answer", async || node.health.now().is_whole()).await;
}

const THIRDS: [&str; 3] = ["0 5460", "5461 10922", "10923 16383"];
const OPTIONS: [&str; 2] = ["--cluster-node-timeout", "2000"];

/// The room of all cases, and its slot.
fn busy() -> RoomName {
    room("busy")
}
const BUSY_SLOT: u16 = 8_041;

/// Moves a slot with all its keys: on Redis key by key, on Valkey in one step.
async fn move_slot(kind: Kind, slot: u16, from: &Server, to: &Server, other: &Server) {
    if kind == Kind::Valkey {
        let to_id = to.id().await;
        from.say::<()>(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {to_id}")).await;
        return until("the slot has moved", async || owner_by(to, slot).await == to.port).await;
    }
    open_slot(slot, from, to).await;
    close_slot(slot, [from, to, other]).await;
}

/// Moves one key of a slot; false where there is none.
async fn move_key(slot: u16, from: &Server, to: &Server) -> bool {
    let keys: Vec<String> = from.say(&format!("CLUSTER GETKEYSINSLOT {slot} 1")).await;
    let Some(key) = keys.first() else { return false };
    from.say::<()>(&format!("MIGRATE 127.0.0.1 {} {key} 0 1000", to.port)).await;
    true
}

/// The port of a slot's primary, by what a node knows.
async fn owner_by(node: &Server, slot: u16) -> u16 {
    let nodes: String = node.say("CLUSTER NODES").await;
    let owns = |line: &&str| {
        line.split_whitespace().skip(8).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
        })
    };
    let address =
        nodes.lines().find(owns).and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default();
    let (address, _) = address.split_once('@').unwrap_or_default();
    address.rsplit_once(':').map_or(0, |(_, port)| port.parse().unwrap())
}

/// Publishes until a message is heard through the bus. Each that was not must have been followed by the report of a gap.
async fn is_heard(node: &Node, other: &Node, room: &RoomName, prefix: &str) {
    let mut published = Vec::new();
    until("a message is heard", async || {
        let (id, gaps) = (format!("{prefix}{}", published.len()), node.heard.gaps_of(room));
        // What is refused while a slot moves is no message.
        if other.publish(room, &id, "Ann").await.is_ok() {
            published.push((id, gaps));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        published.last().is_some_and(|(id, _)| node.heard.has_message(room, id))
    })
    .await;
    for (id, gaps) in published {
        until(&format!("{id} is heard or followed by a gap"), async || {
            node.heard.has_message(room, &id) || node.heard.gaps_of(room) > gaps
        })
        .await;
    }
}

async fn a_room_is_heard_after_its_emptied_node_stopped(kind: Kind) {
    // The first node has the room's slot alone.
    let slots = ["8041 8041", "0 8040", "8042 16383"];
    let mut cluster = Cluster::start_with(kind, slots, &OPTIONS).await;
    let subject = Subject::at(&cluster.url());
    let (node, other, room) = (connected(&subject).await, subject.node().await, busy());
    node.bus.subscribe(&room).await.unwrap();
    is_heard(&node, &other, &room, "before").await;
    let [first, second, third] = &cluster.0[..] else { panic!("three nodes") };
    move_slot(kind, BUSY_SLOT, first, second, third).await;
    until("the emptied node is a replica", async || {
        first.say::<String>("INFO replication").await.contains("role:slave")
    })
    .await;
    is_heard(&node, &other, &room, "moved").await;
    drop(cluster.0.remove(0));
    is_heard(&node, &other, &room, "stopped").await;
}

async fn a_slot_that_moves_right_after_a_start_is_noticed(kind: Kind) {
    let cluster = Cluster::start_with(kind, THIRDS, &OPTIONS).await;
    let [first, second, third] = &cluster.0[..] else { panic!("three nodes") };
    let subject = Subject::at(&cluster.url());
    let (node, room) = (subject.node().await, busy());
    node.bus.subscribe(&room).await.unwrap();
    move_slot(kind, BUSY_SLOT, second, first, third).await;
    is_heard(&node, &node, &room, "moved").await;
    // The log moved whole.
    let opened = node.log.open(&room, 1_000).await.unwrap();
    let log = offsets(&opened.newest);
    assert!(log.iter().copied().eq(1..=log.last().copied().unwrap_or(1)), "{log:?}");
}

async fn a_promotion_is_noticed(kind: Kind) {
    let mut cluster = Cluster::start_with(kind, THIRDS, &OPTIONS).await;
    cluster.add_replica(kind, 1, &OPTIONS).await;
    let subject = Subject::at(&cluster.url());
    let (node, other, room) = (connected(&subject).await, subject.node().await, busy());
    node.bus.subscribe(&room).await.unwrap();
    is_heard(&node, &other, &room, "before").await;
    let replica = cluster.0.last().unwrap();
    replica.say::<()>("CLUSTER FAILOVER").await;
    until("the replica is promoted", async || owner_by(replica, BUSY_SLOT).await == replica.port).await;
    is_heard(&node, &other, &room, "promoted").await;
    drop(cluster.0.remove(1));
    is_heard(&node, &other, &room, "stopped").await;
}

/// Begins to move a slot the old way: its keys may be moved, and are asked for at both nodes.
async fn open_slot(slot: u16, from: &Server, to: &Server) {
    to.say::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", from.id().await)).await;
    from.say::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", to.id().await)).await;
}

/// Ends that.
async fn close_slot(slot: u16, nodes: [&Server; 3]) {
    let [from, to, other] = nodes;
    while move_key(slot, from, to).await {}
    let id = to.id().await;
    for node in [to, other] {
        node.say::<()>(&format!("CLUSTER SETSLOT {slot} NODE {id}")).await;
    }
    // The former owner learns it from them, before anybody can tell it; where that was its last slot, it is a replica now.
    until("the former owner knows", async || owner_by(from, slot).await == to.port).await;
}

/// Publishes in rooms of other nodes while the room of all cases is unavailable, and checks that none is held up.
async fn others_go_on(node: &Node, others: &[RoomName]) {
    let blocked = async {
        let refused = node.publish(&busy(), "blocked", "Ann").await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable(_) | StoreError::Unknown(_)), "{refused:?}");
    };
    let going_on = async {
        let mut slowest = Duration::ZERO;
        for number in 0..100 {
            for room in others {
                let begun = Instant::now();
                node.publish(room, &format!("others {number}"), "Ann").await.unwrap();
                slowest = slowest.max(begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slowest
    };
    let ((), slowest) = tokio::join!(blocked, going_on);
    assert!(slowest < Duration::from_millis(1_000), "a message of another node took {slowest:?}");
    assert!(node.health.now().up);
}

/// Rooms of which each node but that of the room of all cases has one.
async fn rooms_elsewhere(node: &Node, cluster: &Cluster) -> Vec<RoomName> {
    let mut rooms = Vec::new();
    for (number, server) in cluster.0.iter().enumerate() {
        for candidate in 0.. {
            let room = room(&format!("other-{number}-{candidate}"));
            node.publish(&room, "first", "Ann").await.unwrap();
            if !server.say::<Vec<String>>(&format!("KEYS *:m:other-{number}-{candidate}")).await.is_empty() {
                rooms.push(room);
                break;
            }
        }
    }
    rooms.remove(1);
    rooms
}

async fn a_half_moved_slot_stops_its_own_rooms_only(kind: Kind) {
    let cluster = Cluster::start_with(kind, THIRDS, &OPTIONS).await;
    let [first, second, third] = &cluster.0[..] else { panic!("three nodes") };
    let (node, room) = (connected(&Subject::at(&cluster.url())).await, busy());
    node.publish(&room, "first", "Ann").await.unwrap();
    let others = rooms_elsewhere(&node, &cluster).await;
    open_slot(BUSY_SLOT, second, first).await;
    assert!(move_key(BUSY_SLOT, second, first).await);
    let refused = node.publish(&room, "second", "Ann").await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "nothing was done: {refused:?}");
    others_go_on(&node, &others).await;
    assert_eq!(node.health.now().connections, 1, "the connection was never taken for lost");
    close_slot(BUSY_SLOT, [second, first, third]).await;
    until("the room is served again", async || node.publish(&room, "third", "Ann").await.is_ok()).await;
}

async fn a_node_that_is_gone_stops_its_own_rooms_only(kind: Kind) {
    let options = [&OPTIONS[..], &["--cluster-require-full-coverage", "no"]].concat();
    let mut cluster = Cluster::start_with(kind, THIRDS, &options).await;
    let (node, room) = (connected(&Subject::at(&cluster.url())).await, busy());
    node.publish(&room, "first", "Ann").await.unwrap();
    let others = rooms_elsewhere(&node, &cluster).await;
    drop(cluster.0.remove(1));
    for _ in 0..3 {
        others_go_on(&node, &others).await;
    }
    until("a part does not answer", async || !node.health.now().is_whole()).await;
    assert!(node.health.now().up);
}

async fn what_is_published_while_a_slot_is_open_is_read_by_every_node(kind: Kind) {
    let cluster = Cluster::start_with(kind, THIRDS, &OPTIONS).await;
    let [first, second, third] = &cluster.0[..] else { panic!("three nodes") };
    let subject = Subject::at(&cluster.url());
    let (node, other, room) = (connected(&subject).await, connected(&subject).await, busy());
    for node in [&node, &other] {
        node.bus.subscribe(&room).await.unwrap();
    }
    is_heard(&node, &other, &room, "before").await;
    open_slot(BUSY_SLOT, second, first).await;
    while move_key(BUSY_SLOT, second, first).await {}
    for number in 0..5 {
        let gaps = [node.heard.gaps_of(&room), other.heard.gaps_of(&room)];
        let published = other.publish(&room, &format!("open {number}"), "Ann").await.unwrap();
        until("both nodes read the room again", async || {
            node.heard.gaps_of(&room) > gaps[0] && other.heard.gaps_of(&room) > gaps[1]
        })
        .await;
        assert_eq!(node.log.open(&room, 1).await.unwrap().head.position, published.position);
    }
    close_slot(BUSY_SLOT, [second, first, third]).await;
    is_heard(&node, &other, &room, "closed").await;
}

async fn a_node_of_a_cluster_is_no_single_server(kind: Kind) {
    let cluster = Cluster::start_with(kind, THIRDS, &OPTIONS).await;
    let (subject, heard) = (Subject::at(&cluster.url()), Arc::new(Heard::default()));
    let url = cluster.0[0].url();
    let store =
        Store::on_redis(&url, &subject.settings, heard, Arc::new(Unobserved), &subject.lifecycle).unwrap();
    // Two attempts and more.
    assert!(!store.health.wait_up(Duration::from_secs(1)).await, "a part of the slots was taken for all");
    assert!(matches!(store.log.touch(&busy()).await, Err(StoreError::Unavailable(_))));
}

async fn moves_and_promotions_begin_epochs_and_lose_nothing(kind: Kind) {
    let mut cluster = Cluster::start_with(kind, THIRDS, &OPTIONS).await;
    cluster.add_replica(kind, 1, &OPTIONS).await;
    let (node, room) = (connected(&Subject::at(&cluster.url())).await, busy());
    let start = node.publish(&room, "first", "Ann").await.unwrap().position;
    let [first, second, third, replica] = &cluster.0[..] else { panic!("four nodes") };
    let mut earlier = vec![start.epoch.clone()];
    for (from, to) in [(second, first), (first, second)] {
        move_slot(kind, BUSY_SLOT, from, to, third).await;
        begins_epoch(&node, &mut earlier).await;
    }
    until("the replica has the room", async || {
        replica.say::<u64>(&format!("CLUSTER COUNTKEYSINSLOT {BUSY_SLOT}")).await >= 3
    })
    .await;
    replica.say::<()>("CLUSTER FAILOVER").await;
    until("the replica is promoted", async || owner_by(replica, BUSY_SLOT).await == replica.port).await;
    begins_epoch(&node, &mut earlier).await;
    // Who was away since before all of that missed nothing.
    let replay = node.log.since(&room, &start, ReadLimit::entries(100)).await.unwrap();
    assert!(matches!(replay, Replay::Whole(opened) if offsets(&opened.newest) == [2, 3, 4]));
}

/// Publishes in the room of all cases: in an epoch that is none of the earlier ones, which the log still knows.
async fn begins_epoch(node: &Node, earlier: &mut Vec<Epoch>) {
    // Attempts of which none was stored twice.
    let id = format!("in epoch {}", earlier.len());
    until("a message is stored", async || node.publish(&busy(), &id, "Ann").await.is_ok()).await;
    let head = node.log.open(&busy(), 10).await.unwrap().head;
    assert!(!earlier.contains(&head.position.epoch), "{head:?}");
    let prior: Vec<_> = head.prior.iter().rev().map(|position| position.epoch.clone()).collect();
    assert_eq!(prior, *earlier);
    earlier.push(head.position.epoch);
}

async fn a_node_that_hangs_is_reported_until_it_answers(kind: Kind) {
    let options = ["--cluster-node-timeout", "15000", "--enable-debug-command", "yes"];
    let cluster = Cluster::start_with(kind, THIRDS, &options).await;
    let node = connected(&Subject::at(&cluster.url())).await;
    assert!(node.health.now().is_whole());
    let hanging = cluster.0[1].say::<()>("DEBUG SLEEP 5");
    let watched = async {
        // Time-outs of the connection before arrive all the time.
        let (node, mut health) = (&node, node.health.watch());
        let mut commands = FuturesUnordered::new();
        health.borrow_and_update();
        let mut whole_again = false;
        for number in 0..150 {
            if whole_again {
                break;
            }
            let id = format!("hangs {number}");
            commands.push(async move { node.publish(&busy(), &id, "Ann").await });
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
                () = async { while commands.next().await.is_some() {} std::future::pending().await } => {}
                Ok(_) = health.changed() => {
                    let now = *health.borrow_and_update();
                    whole_again = now.is_whole();
                    assert!(now.up && now.connections == if whole_again { 2 } else { 1 }, "{now:?}");
                }
            }
        }
        while commands.next().await.is_some() {}
    };
    tokio::join!(hanging, watched);
    let answered = async || node.publish(&busy(), "answered", "Ann").await.is_ok();
    until("the node answers", answered).await;
    let now = node.health.now();
    assert!(now.is_whole() && now.connections == 2, "late time-outs are no news: {now:?}");
}
