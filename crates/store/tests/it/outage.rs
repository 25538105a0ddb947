//! Faults of Redis: lost connections, and servers that stop or lose data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use roomcast_protocol::{ImageType, RoomName};
use roomcast_store::{
    Claim, Connectivity, Health, ImageOwner, Incarnation, Memory, NodeInfo, PublishRequest, ReadLimit,
    Replay, Retention, Secret, Settings, Store, StoreError, Swept, Unobserved,
};

use crate::presence::{gone, here};
use crate::server::{Cluster, Server};
use crate::subject::{Heard, Node, Subject, body, room, until, user};

/// A node whose bus is connected.
pub(crate) async fn connected(subject: &Subject) -> Node {
    let node = subject.node().await;
    until("the bus is connected", async || node.heard.gaps() > 0).await;
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_wipe_a_new_epoch_begins_and_leases_are_lost() {
    let server = Server::start(&[]).await;
    let node = connected(&Subject::at(&server.url())).await;
    let (room, by) = (room("wiped"), Incarnation::random());
    let info = NodeInfo { name: "n".into(), version: "1".into(), peer: None, body_version: 1 };
    node.nodes.register(&by, &info, Duration::from_secs(60)).await.unwrap();
    node.presence.write(&room, &by, 9, &here(&["Ann"])).await.unwrap();
    let before = node.publish_many(&room, "a", 5).await;
    let version = node.presence.read(&room, 10).await.unwrap().version;
    server.say::<()>("FLUSHALL").await;
    let Replay::Lost(head) =
        node.log.since(&room, &before[4].position, ReadLimit::entries(100)).await.unwrap()
    else {
        panic!("the log was lost");
    };
    assert_eq!(head.position.offset, 0);
    assert_ne!(head.position.epoch, before[0].position.epoch);
    assert!(!node.nodes.renew(&by, Duration::from_secs(60)).await.unwrap());
    assert_eq!(node.presence.read(&room, 10).await.unwrap().count, 0);
    let again = node.publish(&room, "a1", "Ann").await.unwrap();
    assert!(!again.duplicate);
    assert_eq!(again.position.offset, 1);
    assert!(node.presence.write(&room, &by, 10, &here(&["Ann"])).await.unwrap());
    assert!(!node.presence.read(&room, 10).await.unwrap().version.follows(&version));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_out_of_memory_nodes_renew_and_users_leave() {
    let server = Server::start(&[]).await;
    let node = connected(&Subject::at(&server.url())).await;
    out_of_memory(&node, server.say::<()>("CONFIG SET maxmemory 1")).await;
    let memory = Memory::new(&Settings::default());
    out_of_memory(&memory.node(Arc::new(Heard::default())), async { memory.set_full(true) }).await;
}

async fn out_of_memory(node: &Store, fill: impl Future<Output = ()>) {
    let room = room("full");
    let (by, dead, secret) = (Incarnation::random(), Incarnation::random(), Secret::proved("mine"));
    let (info, lease) = (
        NodeInfo { name: "n".into(), version: "1".into(), peer: None, body_version: 1 },
        Duration::from_millis(1_500),
    );
    node.nodes.register(&by, &info, lease).await.unwrap();
    for (sequence, node_of) in [(1, &by), (2, &dead)] {
        node.presence.index(&room, node_of).await.unwrap();
        let users = [["Ann", "Bob"], ["Cyd", "Dan"]][usize::from(node_of == &dead)];
        node.presence.write(&room, node_of, sequence, &here(&users)).await.unwrap();
        for name in users {
            node.names.claim(&user(name), &secret, node_of, &[]).await.unwrap();
        }
    }
    node.nodes.register(&dead, &info, Duration::from_millis(1)).await.unwrap();
    let (first, second) = (body("1", "Ann"), body("2", "Ann"));
    let publish =
        async |body| node.log.publish(PublishRequest { room: &room, body, image: None, urgent: true }).await;
    publish(&first).await.unwrap();
    fill.await;
    let unavailable = |error: StoreError| assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    unavailable(node.presence.write(&room, &by, 3, &here(&["Eve"])).await.unwrap_err());
    unavailable(node.presence.index(&room, &Incarnation::random()).await.unwrap_err());
    unavailable(node.names.claim(&user("Eve"), &secret, &by, &[]).await.unwrap_err());
    unavailable(node.images.store(ImageOwner::Room(&room), ImageType::Png, b"x").await.unwrap_err());
    unavailable(publish(&second).await.unwrap_err());
    let begun = Instant::now();
    while begun.elapsed() < 2 * lease {
        assert!(node.nodes.renew(&by, lease).await.unwrap(), "the lease can be renewed");
        let sealed = node.nodes.seal_expired().await.unwrap();
        assert!(sealed.iter().all(|sealed| sealed.incarnation == dead), "{sealed:?}");
        tokio::time::sleep(lease / 5).await;
    }
    let next = Incarnation::random();
    node.nodes.register(&next, &info, lease).await.unwrap();
    assert_eq!(node.sweep(&dead).await.unwrap(), Swept { rooms: 1, facts: 2, names: 2 });
    assert!(node.presence.write(&room, &by, 4, &gone(&["Ann"])).await.unwrap());
    node.names.grace(&user("Bob"), &secret, &by).await.unwrap();
    node.names.release(&user("Ann"), &secret, &by).await.unwrap();
    assert!(node.names.holders(&user("Ann")).await.unwrap().is_empty());
    let state = node.presence.read(&room, 10).await.unwrap();
    assert_eq!(state.users.unwrap(), [user("Bob")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_without_a_message_leave_no_key() {
    let server = Server::start(&[]).await;
    let (node, by) = (Subject::at(&server.url()).node().await, Incarnation::random());
    for number in 0..20 {
        let room = room(&format!("empty {number}"));
        node.presence.index(&room, &by).await.unwrap();
        node.log.open(&room, 10).await.unwrap();
        assert!(node.presence.write(&room, &by, 1, &here(&["Ann"])).await.unwrap());
        assert!(node.presence.write(&room, &by, 2, &gone(&["Ann"])).await.unwrap());
        node.presence.close(&room, &by, 3).await.unwrap();
    }
    assert_eq!(server.say::<Vec<String>>("KEYS *").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unused_keys_expire() {
    let server = Server::start(&[]).await;
    let (node, room) = (Subject::at(&server.url()).node().await, room("left"));
    let (dead, secret) = (Incarnation::random(), Secret::open("made up"));
    let info = NodeInfo { name: "n".into(), version: "1".into(), peer: None, body_version: 1 };
    node.nodes.register(&dead, &info, Duration::from_millis(1)).await.unwrap();
    node.publish_many(&room, "a", 70).await;
    node.presence.index(&room, &dead).await.unwrap();
    node.presence.write(&room, &dead, 1, &here(&["Ann"])).await.unwrap();
    // No fact was written, only a sequence number.
    node.presence.write(&crate::subject::room("empty"), &dead, 1, &gone(&["Ann"])).await.unwrap();
    node.names.claim(&user("Ann"), &secret, &dead, &[]).await.unwrap();
    until("it is sealed", async || !node.nodes.seal_expired().await.unwrap().is_empty()).await;
    node.sweep(&dead).await.unwrap();
    node.forget(&dead).await.unwrap();
    let mut expiring = Vec::new();
    for key in server.say::<Vec<String>>("KEYS *").await {
        let (kind, name) = key.rsplit_once(':').unwrap();
        match kind.rsplit_once(':').unwrap().1 {
            "x" => assert_eq!(server.say::<Vec<String>>(&format!("ZRANGE {key} 0 -1")).await, ["left"]),
            kind => {
                assert!(server.say::<i64>(&format!("PTTL {key}")).await > 0, "{key} does not expire");
                expiring.push(format!("{kind} {name}"));
            }
        }
        if key.ends_with(":v:left") {
            assert_eq!(server.say::<Vec<String>>(&format!("HKEYS {key}")).await, ["g", "v"]);
        }
    }
    expiring.sort();
    assert_eq!(expiring, ["i left", "l left", "m left", "v empty", "v left"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_lost_are_loaded_again() {
    let server = Server::start(&[]).await;
    let (node, room) = (Subject::at(&server.url()).node().await, room("scripts"));
    for offset in 1..=5 {
        server.say::<()>("SCRIPT FLUSH").await;
        let published = node.publish(&room, &format!("a{offset}"), "Ann").await.unwrap();
        assert_eq!(published.position.offset, offset);
    }
    server.say::<()>("SCRIPT FLUSH").await;
    assert_eq!(node.log.open(&room, 10).await.unwrap().newest.len(), 5);
    server.say::<()>("SCRIPT FLUSH").await;
    let batched = (0..20).map(async |n| node.publish_batched(&room, &format!("b{n}"), "Ann").await.unwrap());
    let mut offsets: Vec<_> =
        batched.collect::<FuturesOrdered<_>>().map(|sent| sent.position.offset).collect().await;
    offsets.sort_unstable();
    assert_eq!(offsets, (6..=25).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_batch_fail_with_their_connection() {
    let server = Server::start(&[]).await;
    let (node, room) = (Subject::at(&server.url()).node().await, room("fate"));
    node.publish(&room, "first", "Ann").await.unwrap();
    server.say::<()>("CLIENT PAUSE 2500 ALL").await;
    let batched = (0..20).map(async |n| node.publish_batched(&room, &format!("b{n}"), "Ann").await);
    for answer in batched.collect::<FuturesOrdered<_>>().collect::<Vec<_>>().await {
        assert!(matches!(answer, Err(StoreError::Unknown(_) | StoreError::Unavailable(_))), "{answer:?}");
    }
    assert!(node.health.wait_up(Duration::from_secs(10)).await);
    for n in 0..20 {
        let again = node.publish(&room, &format!("b{n}"), "Ann").await.unwrap();
        assert!(again.position.offset <= 21, "each is stored once: {again:?}");
    }
}

/// How often clients and scripts called a command.
async fn calls(server: &Server, command: &str) -> u64 {
    let info: String = server.say("INFO commandstats").await;
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_is_one_command() {
    let server = Server::start(&[]).await;
    let mut subject = Subject::at(&server.url());
    // The nodes are listed as rarely as possible.
    subject.settings.upgrade_wait = Duration::from_secs(3_600);
    let (node, room) = (subject.node().await, room("one"));
    node.publish(&room, "first", "Ann").await.unwrap();
    // Only the script that lists the nodes calls ZRANGE.
    until("the nodes are listed", async || calls(&server, "zrange").await > 0).await;
    let sent = ["evalsha", "eval", "script|load"];
    let listed = calls(&server, "zrange").await;
    let mut before = Vec::new();
    for command in sent {
        before.push(calls(&server, command).await);
    }
    node.publish_many(&room, "a", 100).await;
    for ((command, before), expected) in
        sent.into_iter().zip(before).zip([100 + calls(&server, "zrange").await - listed, 0, 0])
    {
        assert_eq!(calls(&server, command).await - before, expected, "{command}");
    }
    assert_eq!(calls(&server, "xadd").await, 101);
}

/// Repeatedly kills the bus' connections while messages are published, and checks that every room is received again.
async fn kill_bus_connections(subject: &Subject, servers: &[Server], rooms: usize) {
    let (node, other) = (connected(subject).await, subject.node().await);
    let rooms: Vec<_> = (0..rooms).map(|number| room(&format!("room {number}"))).collect();
    futures_util::future::try_join_all(rooms.iter().map(|room| node.bus.subscribe(room))).await.unwrap();
    let end = tokio::sync::watch::Sender::new(false);
    let (ended, log, noise) = (end.subscribe(), other.log.clone(), rooms[0].clone());
    let stream = subject.lifecycle.spawn("stream", async move {
        for number in 0_u64.. {
            if *ended.borrow() {
                break;
            }
            let body = body(&format!("noise {number}"), "Ann");
            let request = PublishRequest { room: &noise, body: &body, image: None, urgent: true };
            log.publish(request).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    for round in 0..3 {
        let gaps = node.heard.gaps();
        let killed: u64 = servers[round % servers.len()].say("CLIENT KILL TYPE pubsub").await;
        assert!(killed >= 1);
        let begin = Instant::now();
        until("everything is subscribed again", async || node.heard.gaps() > gaps).await;
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(2), "nothing received for {took:?} with {} rooms", rooms.len());
        // On a cluster a gap is reported for each part of the rooms that is subscribed again.
        until("every room is subscribed", async || subscribed_rooms(servers).await == rooms.len()).await;
        // From here on no message may be missed.
        let id = format!("round {round}");
        for room in &rooms {
            other.publish(room, &id, "Ann").await.unwrap();
        }
        until("a message of every room is received", async || rooms.iter().all(|room| has(&node, room, &id)))
            .await;
        assert_eq!(node.bus.subscriptions(), rooms.len());
    }
    end.send_replace(true);
    stream.await.unwrap();
}

async fn subscribed_rooms(servers: &[Server]) -> usize {
    let mut rooms = 0;
    for server in servers {
        rooms += server.say::<Vec<String>>("PUBSUB SHARDCHANNELS *:b:*").await.len();
    }
    rooms
}

fn has(node: &Node, room: &RoomName, id: &str) -> bool {
    node.heard.has_message(room, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_unsubscribed_while_the_bus_connects_stays_unsubscribed() {
    let server = Server::start(&[]).await;
    let subject = Subject::at(&server.url());
    let rooms: Vec<_> = (0..100).map(|number| room(&format!("room {number}"))).collect();
    for _ in 0..20 {
        let node = subject.node().await;
        futures_util::stream::iter(&rooms)
            .for_each_concurrent(4, async |room| {
                node.bus.subscribe(room).await.unwrap();
                node.bus.unsubscribe(room).await.unwrap();
            })
            .await;
        until("the bus is connected", async || node.heard.gaps() > 0).await;
        until("no room is subscribed", async || {
            server.say::<Vec<String>>("PUBSUB SHARDCHANNELS *:b:*").await.is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_room_is_subscribed_again_after_a_lost_bus_connection() {
    let server = Server::start(&[]).await;
    kill_bus_connections(&Subject::at(&server.url()), std::slice::from_ref(&server), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rooms_are_subscribed_again_after_a_lost_bus_connection() {
    let server = Server::start(&[]).await;
    kill_bus_connections(&Subject::at(&server.url()), std::slice::from_ref(&server), 2_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_a_cluster_are_subscribed_again_after_lost_bus_connections() {
    let cluster = Cluster::start().await;
    kill_bus_connections(&Subject::at(&cluster.url()), &cluster.0, 500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_reconnects_to_a_restarted_server() {
    let server = Server::start(&[]).await;
    let subject = Subject::at(&server.url());
    let (node, room) = (connected(&subject).await, room("died"));
    node.bus.subscribe(&room).await.unwrap();
    assert_eq!(node.health.now(), Connectivity { up: true, partial_since: None, connections: 1 });
    let port = server.port;
    drop(server);
    until("a command is refused", async || {
        let begin = Instant::now();
        let refused = node.publish(&room, "a", "Ann").await.unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(2), "after {:?}", begin.elapsed());
        matches!(refused, StoreError::Unavailable(_))
    })
    .await;
    assert!(!node.health.now().up);
    assert!(!node.health.wait_up(Duration::from_millis(50)).await);
    let begin = Instant::now();
    assert!(matches!(node.nodes.list().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(node.bus.subscribe(&room).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(
        node.bus.publish_ephemeral(&room, &user("Ann"), true).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(begin.elapsed() < Duration::from_millis(50), "refused without a call");

    let gaps = node.heard.gaps();
    let _server = Server::start_on(port, &[]).await;
    assert!(node.health.wait_up(Duration::from_secs(3)).await);
    until("the bus is subscribed again", async || node.heard.gaps() > gaps).await;
    assert_eq!(node.health.now(), Connectivity { up: true, partial_since: None, connections: 2 });
    node.publish(&room, "back", "Ann").await.unwrap();
    until("the message is received again", async || node.heard.has_message(&room, "back")).await;
    assert_eq!(node.health.now().connections, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_can_be_opened_before_its_server_is_started() {
    let server = Server::start(&[]).await;
    let (port, url) = (server.port, server.url());
    drop(server);
    let (subject, heard) = (Subject::at(&url), Arc::new(Heard::default()));
    let store =
        Store::on_redis(&url, &subject.settings, heard.clone(), Arc::new(Unobserved), &subject.lifecycle)
            .unwrap();
    assert!(matches!(store.log.touch(&room("early")).await, Err(StoreError::Unavailable(_))));
    assert!(!store.health.wait_up(Duration::from_millis(100)).await);
    let _server = Server::start_on(port, &[]).await;
    assert!(store.health.wait_up(Duration::from_secs(3)).await);
    let node = Node { store, heard };
    node.bus.subscribe(&room("early")).await.unwrap();
    node.publish(&room("early"), "a", "Ann").await.unwrap();
    until("the message is received", async || node.heard.has_message(&room("early"), "a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_last_handle_ends_all_tasks() {
    let subject = Subject::redis().await;
    let node = connected(&subject).await;
    let log = node.log.clone();
    drop(node);
    log.touch(&room("r")).await.unwrap();
    // The link and the bus; the batcher of claims ends with the names.
    until("two tasks are left", async || subject.lifecycle.running().len() == 2).await;
    log.touch(&room("r")).await.unwrap();
    drop(log);
    until("the tasks end", async || subject.lifecycle.running().is_empty()).await;
}

#[tokio::test]
async fn an_invalid_url_is_refused() {
    let subject = Subject::memory().await;
    for url in ["", "localhost", "http://localhost", "redis://", "redis-cluster://", "redis://h:port"] {
        let opened = Store::on_redis(
            url,
            &subject.settings,
            Arc::new(Heard::default()),
            Arc::new(Unobserved),
            &subject.lifecycle,
        );
        assert!(matches!(opened, Err(StoreError::Settings(_))), "{url:?}");
    }
    assert!(subject.lifecycle.running().is_empty());
}

#[tokio::test]
async fn the_memory_store_is_always_up() {
    let settings = Settings { retention: Retention::default(), ..Settings::default() };
    let store = Store::in_memory(&settings, Arc::new(Heard::default()));
    let health: Health = store.health.clone();
    drop(store);
    assert!(health.wait_up(Duration::ZERO).await);
    let mut changes = health.watch();
    drop(health);
    let waited = tokio::time::timeout(Duration::from_millis(50), changes.changed()).await;
    assert!(waited.is_err(), "its health never changes");
    assert!(changes.borrow().up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_claim_does_not_fail_others_of_its_batch() {
    let server = Server::start(&[]).await;
    let (node, [a, b]) = (Subject::at(&server.url()).node().await, [(); 2].map(|()| Incarnation::random()));
    let (mine, other) = (Secret::proved("mine"), Secret::proved("other"));
    let taken = user("taken");
    node.names.claim(&taken, &other, &b, &[]).await.unwrap();
    // Only a refused claim needs this command.
    server.say::<()>("ACL SETUSER default -srem").await;
    let users: Vec<_> = (0..50).map(|n| user(&format!("u{n}"))).collect();
    let all = users.iter().chain([&taken]).map(|user| node.names.claim(user, &mine, &a, &[]));
    let mut granted: Vec<_> = all.collect::<FuturesOrdered<_>>().collect().await;
    let refused = granted.pop().unwrap();
    assert!(refused.is_err(), "{refused:?}");
    assert!(granted.iter().all(|claim| claim.as_ref().is_ok_and(Claim::is_granted)), "{granted:?}");
}
