//! Dead nodes are sealed, swept with published leaves, and forgotten.

use std::collections::BTreeMap;
use std::slice::from_ref;

use roomcast_ops::Outcome;
use roomcast_protocol::UserName;
use roomcast_store::{BusEvent, Secret};

use crate::support::{Cluster, LONG, Redis, SHORT, Service, get, room, secret_of, until, user};

/// The leaves that were received, by room and user, including all that were published before this call.
async fn leaves(cluster: &Cluster, rooms: &[&str]) -> BTreeMap<(String, String), usize> {
    // A channel keeps its order: once the marker is received, all earlier events have been, too.
    let marker = user("marker");
    for name in rooms {
        let name = room(name);
        cluster.store.bus.publish_ephemeral(&name, &marker, true).await.unwrap();
        let mark = (name, BusEvent::Typing { user: marker.clone(), typing: true });
        until("the marker", async || cluster.received.0.lock().contains(&mark).then_some(())).await;
    }
    let mut leaves = BTreeMap::new();
    for (at, event) in cluster.received.0.lock().iter() {
        if let BusEvent::Presence { left, .. } = event {
            for user in left {
                *leaves.entry((at.to_string(), user.to_string())).or_default() += 1;
            }
        }
    }
    leaves
}

async fn forgotten(cluster: &Cluster) {
    until("the dead node is forgotten", async || {
        cluster.store.nodes.seal_expired().await.unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn users_of_a_dead_node_leave_and_others_stay() {
    let redis = Redis::start();
    let (service, cluster) = (Service::ready(&redis).await, Cluster::join(&redis).await);
    cluster.store.bus.subscribe(&room("one")).await.unwrap();
    cluster.store.bus.subscribe(&room("two")).await.unwrap();
    let living = cluster.node("living", LONG).await;
    let (ann, bob, eve) = (user("Ann"), user("Bob"), user("Eve"));
    cluster.put(&living, &room("one"), 1, &[bob.clone(), eve.clone()]).await;
    let dead = cluster.node("dead", SHORT).await;
    cluster.put(&dead, &room("one"), 1, &[ann.clone(), bob.clone()]).await;
    cluster.put(&dead, &room("two"), 1, from_ref(&ann)).await;

    until("Ann leaves", async || {
        (cluster.count(&room("one")).await == 2 && cluster.count(&room("two")).await == 0).then_some(())
    })
    .await;
    until("Ann's name is free", async || {
        cluster.store.names.holders(&ann).await.unwrap().is_empty().then_some(())
    })
    .await;
    let stranger = Secret::proved("another");
    assert!(cluster.store.names.claim(&ann, &stranger, &living, &[]).await.unwrap().is_granted());
    assert!(!cluster.store.nodes.renew(&dead, LONG).await.unwrap(), "a sealed node stays dead");

    forgotten(&cluster).await;
    let left = leaves(&cluster, &["one", "two"]).await;
    let expected = [("one", "Ann"), ("two", "Ann")].map(|(r, u)| ((r.to_owned(), u.to_owned()), 1));
    assert_eq!(left, BTreeMap::from(expected), "Bob is still there through the living node");

    // Facts of the living node are unchanged, and it is the only node listed.
    let users = cluster.store.presence.read(&room("one"), 10).await.unwrap().users.unwrap();
    assert!(users.len() == 2 && users.contains(&bob) && users.contains(&eve), "{users:?}");
    assert_eq!(cluster.store.names.holders(&eve).await.unwrap(), from_ref(&living));
    assert!(cluster.store.nodes.renew(&living, LONG).await.unwrap());
    assert_eq!(service.json("/nodes").await["nodes"].as_array().unwrap().len(), 1);
    until("it is counted", async || {
        let text = get(service.admin, "/metrics").await.body;
        let lines = [
            "roomcast_sealed_nodes_total 1",
            "roomcast_sealed_nodes 0",
            "roomcast_sweeps_total 2",
            "roomcast_swept_facts_total 3",
            "roomcast_forgotten_nodes_total 1",
        ];
        lines.iter().all(|line| text.lines().any(|l| l == *line)).then_some(())
    })
    .await;
    assert_eq!(service.stop().await, Outcome::Graceful);
}

#[tokio::test]
async fn two_replicas_publish_each_leave_once() {
    let redis = Redis::start();
    let cluster = Cluster::join(&redis).await;
    let rooms = ["r0", "r1", "r2", "r3", "r4"];
    let users: Vec<UserName> = (0..40).map(|i| user(&format!("u{i}"))).collect();
    for name in rooms {
        cluster.store.bus.subscribe(&room(name)).await.unwrap();
    }
    // Dead before both replicas start, so that they find it at the same time.
    let dead = cluster.node("dead", SHORT).await;
    for name in rooms {
        cluster.put(&dead, &room(name), 1, &users).await;
    }
    let (one, two) = tokio::join!(Service::ready(&redis), Service::ready(&redis));
    until("all users leave", async || {
        for name in rooms {
            if cluster.count(&room(name)).await > 0 {
                return None;
            }
        }
        Some(())
    })
    .await;
    forgotten(&cluster).await;
    assert_eq!((one.stop().await, two.stop().await), (Outcome::Graceful, Outcome::Graceful));
    let left = leaves(&cluster, &rooms).await;
    assert_eq!(left.len(), rooms.len() * users.len());
    assert!(left.values().all(|times| *times == 1), "{left:?}");
}

#[tokio::test]
async fn a_replica_that_starts_late_sweeps_sealed_nodes() {
    let redis = Redis::start();
    let cluster = Cluster::join(&redis).await;
    let (dead, ann) = (cluster.node("dead", SHORT).await, user("Ann"));
    cluster.put(&dead, &room("one"), 1, from_ref(&ann)).await;
    // Another sweeper sealed it and ended before it swept.
    until("it is sealed", async || {
        (!cluster.store.nodes.seal_expired().await.unwrap().is_empty()).then_some(())
    })
    .await;
    let _service = Service::ready(&redis).await;
    assert_eq!(
        cluster.count(&room("one")).await,
        0,
        "ready means that nodes which were dead at the start are swept"
    );
    forgotten(&cluster).await;
    let stranger = Secret::proved("another");
    let living = cluster.node("living", LONG).await;
    assert!(cluster.store.names.claim(&ann, &stranger, &living, &[]).await.unwrap().is_granted());
    assert_ne!(stranger, secret_of(&ann));
}
