//! A rolling upgrade: message bodies are written in the layout of the older release as long as one of its
//! nodes holds a lease, and both layouts read the same.

use std::time::Duration;

use roomcast_protocol::{Body, Position};
use roomcast_store::{Incarnation, NodeInfo, ReadLimit, Replay};

use crate::outage::connected;
use crate::server::Server;
use crate::subject::{Node, Subject, body, offsets, room, until};

/// Publishes, and looks how the body is stored.
async fn is_complete_object(node: &Node, server: &Server, id: &str) -> bool {
    let published = node.publish(&room("upgrade"), id, "Ann").await.unwrap();
    assert!(!published.duplicate);
    let keys: Vec<String> = server.say("KEYS *:l:upgrade").await;
    let newest: Vec<(String, Vec<String>)> = server.say(&format!("XREVRANGE {} + - COUNT 1", keys[0])).await;
    let stored = newest[0].1.last().unwrap();
    let whole = body(id, "Ann").encode().unwrap();
    assert!([whole.as_str(), &whole[r#"{"v":1,"#.len()..]].contains(&stored.as_str()), "{stored}");
    *stored == whole
}

/// Registers a node as the older release does: it says nothing of bodies.
async fn register_older(node: &Node, server: &Server) -> Incarnation {
    let older = Incarnation::random();
    let info = NodeInfo { name: "older".into(), version: "0.1.0".into(), peer: None, body_version: 0 };
    node.nodes.register(&older, &info, Duration::from_secs(60)).await.unwrap();
    let keys: Vec<String> = server.say("KEYS *:info").await;
    let json = r#"{"name":"older","version":"0.1.0"}"#;
    server.say::<()>(&format!("HSET {} {} {json}", keys[0], older.as_str())).await;
    older
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_layout_is_written_while_an_older_node_holds_a_lease() {
    let server = Server::start(&[]).await;
    let subject = Subject::at(&server.url());
    let (node, other, room) = (connected(&subject).await, connected(&subject).await, room("upgrade"));
    other.bus.subscribe(&room).await.unwrap();
    let ours = Incarnation::random();
    let info = NodeInfo { name: "ours".into(), version: "0.2.0".into(), peer: None, body_version: 1 };
    node.nodes.register(&ours, &info, Duration::from_secs(60)).await.unwrap();
    let mut sent = Vec::new();
    let mut complete = async || {
        sent.push(format!("m{}", sent.len()));
        is_complete_object(&node, &server, sent.last().unwrap()).await
    };

    until("complete objects are written", async || complete().await).await;
    let older = register_older(&node, &server).await;
    until("the older layout is written", async || !complete().await).await;
    for _ in 0..5 {
        tokio::time::sleep(subject.settings.upgrade_wait / 2).await;
        assert!(!complete().await, "the older node still holds its lease");
    }
    assert!(node.nodes.renew(&older, Duration::from_millis(1)).await.unwrap());
    until("complete objects are written again", async || complete().await).await;

    let expected: Vec<Body> = sent.iter().map(|id| body(id, "Ann")).collect();
    until("all is received", async || other.heard.messages(&room).len() == sent.len()).await;
    let opened = other.log.open(&room, 1_000).await.unwrap();
    let start = Position { epoch: opened.head.position.epoch.clone(), offset: 0 };
    let Replay::Whole(replayed) = other.log.since(&room, &start, ReadLimit::entries(1_000)).await.unwrap()
    else {
        panic!("a log of both layouts is whole");
    };
    assert_eq!(other.heard.messages(&room), opened.newest, "order in the log is order on the bus");
    assert_eq!(replayed.newest, opened.newest);
    assert_eq!(offsets(&opened.newest), (1..=sent.len() as u64).collect::<Vec<_>>());
    for (entry, body) in opened.newest.iter().zip(&expected) {
        assert_eq!(entry.body, body.encode().unwrap(), "in whichever layout it was stored");
        assert_eq!(Body::parse(&entry.body).unwrap(), *body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_begins_with_the_older_layout() {
    let server = Server::start(&[]).await;
    let mut subject = Subject::at(&server.url());
    subject.settings.upgrade_wait = Duration::from_secs(3_600);
    let node = subject.node().await;
    assert!(!is_complete_object(&node, &server, "a").await, "nobody knows yet who reads it");

    subject.settings.upgrade_wait = Duration::from_secs(2);
    let (node, mut sent) = (subject.node().await, 0);
    let mut complete = async || {
        sent += 1;
        is_complete_object(&node, &server, &format!("b{sent}")).await
    };
    until("complete objects are written", async || complete().await).await;
    server.say::<()>("CLIENT KILL TYPE normal").await;
    until("the node is connected again", async || {
        // A command that fails is what shows that a connection is lost.
        node.nodes.list().await.ok();
        node.health.now().connections > 1
    })
    .await;
    assert!(node.health.wait_up(Duration::from_secs(3)).await);
    assert!(!complete().await, "an older node may have lost its lease with the server");
    until("complete objects are written again", async || complete().await).await;
}
