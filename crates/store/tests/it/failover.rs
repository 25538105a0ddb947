//! An asynchronous failover: a replica that lagged is promoted, and offsets would be given twice.

use roomcast_protocol::Position;
use roomcast_store::{ReadLimit, Replay};

use crate::server::Server;
use crate::subject::{Subject, offsets, room, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_begins_a_new_epoch() {
    let (primary, replica) =
        (Server::start(&[]).await, Server::start(&["--repl-diskless-sync-delay", "0"]).await);
    let before = Subject::at(&primary.url());
    let mut after = Subject::at(&replica.url());
    after.settings = before.settings.clone();
    let (old, room) = (before.node().await, room("failover"));
    let first = old.publish_many(&room, "a", 10).await;
    replica.say::<()>(&format!("REPLICAOF 127.0.0.1 {}", primary.port)).await;
    until("the replica has it all", async || {
        let info: String = replica.say("INFO replication").await;
        info.contains("master_link_status:up") && replica.say::<u64>("DBSIZE").await >= 3
    })
    .await;
    replica.say::<()>("REPLICAOF NO ONE").await;
    let lost = old.publish_many(&room, "lost", 5).await;
    assert_eq!(lost[4].position.offset, 15);

    let new = after.node().await;
    let opened = new.log.open(&room, 100).await.unwrap();
    let epoch = &first[0].position.epoch;
    assert_ne!(opened.head.position.epoch, *epoch);
    assert_eq!(opened.head.position.offset, 10);
    assert_eq!(opened.head.prior, [Position { epoch: epoch.clone(), offset: 10 }]);
    assert_eq!(opened.newest.len(), 10);
    assert!(opened.newest.iter().all(|entry| entry.epoch == *epoch));

    let next = new.publish(&room, "next", "Ann").await.unwrap();
    assert_eq!((next.position.offset, &next.position.epoch), (11, &opened.head.position.epoch));
    // A retry of what outlived the failover is known; of what did not, it is stored.
    let known = new.publish(&room, "a3", "Ann").await.unwrap();
    assert!(known.duplicate && known.position == first[2].position);
    assert!(!new.publish(&room, "lost1", "Ann").await.unwrap().duplicate);
    for (position, whole) in [
        (&first[9].position, Some(vec![11, 12])),
        (&first[7].position, Some(vec![9, 10, 11, 12])),
        (&lost[0].position, None),
        (&lost[4].position, None),
        (&next.position, Some(vec![12])),
    ] {
        let replay = new.log.since(&room, position, ReadLimit::entries(100)).await.unwrap();
        let got = if let Replay::Whole(opened) = replay { Some(offsets(&opened.newest)) } else { None };
        assert_eq!(got, whole, "since {position:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_lives_are_remembered_newest_first_and_not_for_ever() {
    let server = Server::start(&[]).await;
    let (node, room) = (Subject::at(&server.url()).node().await, room("lives"));
    let mut lives = Vec::new();
    for life in 0..12 {
        lives.insert(0, node.publish(&room, &format!("a{life}"), "Ann").await.unwrap().position);
        let metas: Vec<String> = server.say("KEYS *:m:lives").await;
        server.say::<()>(&format!("HSET {} r elsewhere", metas[0])).await;
    }
    let opened = node.log.open(&room, 100).await.unwrap();
    assert_eq!(opened.head.prior, lives[..8]);
    assert_eq!(offsets(&opened.newest), (1..=12).collect::<Vec<_>>());
    let replay = node.log.since(&room, &lives[7], ReadLimit::entries(100)).await.unwrap();
    assert!(matches!(replay, Replay::Whole(opened) if offsets(&opened.newest) == [6, 7, 8, 9, 10, 11, 12]));
    assert!(matches!(
        node.log.since(&room, &lives[8], ReadLimit::entries(100)).await.unwrap(),
        Replay::Lost(_)
    ));
}
