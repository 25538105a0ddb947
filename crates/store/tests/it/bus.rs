//! The contract of the bus.

use futures_util::stream::{self, StreamExt as _};
use roomcast_protocol::RoomName;
use roomcast_store::BusEvent;

use crate::presence::here;
use crate::subject::{Node, Subject, room, silence, until, user};

pub(crate) async fn only_subscribed_rooms_are_heard(subject: Subject) {
    let (node, other) = (subject.node().await, subject.node().await);
    let (wanted, unwanted) = (room("wanted"), room("unwanted"));
    node.bus.subscribe(&wanted).await.unwrap();
    node.bus.subscribe(&unwanted).await.unwrap();
    node.bus.subscribe(&unwanted).await.unwrap();
    assert_eq!(node.bus.subscriptions(), 2);
    node.bus.unsubscribe(&unwanted).await.unwrap();
    node.bus.unsubscribe(&room("never")).await.unwrap();
    assert_eq!(node.bus.subscriptions(), 1);
    quiet(&node, &other, std::slice::from_ref(&unwanted)).await;
    let before = node.heard.of(&unwanted).len();
    for room in [&unwanted, &wanted] {
        other.publish(room, "a", "Ann").await.unwrap();
        other.presence.write(room, &roomcast_store::Incarnation::random(), 1, &here(&["Ann"])).await.unwrap();
        other.bus.publish_ephemeral(room, &user("Ann"), true).await.unwrap();
    }
    until("the wanted is heard", async || node.heard.of(&wanted).len() == 3).await;
    silence().await;
    assert_eq!(node.heard.of(&unwanted).len(), before);
    assert!(other.heard.of(&wanted).is_empty());
    assert_eq!(node.heard.of(&wanted).len(), 3);
}

pub(crate) async fn an_ephemeral_event_reaches_everybody(subject: Subject) {
    let (room, nodes) = (room("ephemeral"), [subject.node().await, subject.node().await]);
    for node in &nodes {
        node.bus.subscribe(&room).await.unwrap();
    }
    nodes[0].bus.publish_ephemeral(&room, &user("Ann B."), true).await.unwrap();
    nodes[0].bus.publish_ephemeral(&room, &user("Ann B."), false).await.unwrap();
    let typing = |typing| BusEvent::Typing { user: user("Ann B."), typing };
    for node in &nodes {
        until("both are heard", async || node.heard.of(&room).len() == 2).await;
        assert_eq!(node.heard.of(&room), [typing(true), typing(false)]);
    }
    assert!(nodes[0].log.open(&room, 10).await.unwrap().newest.is_empty(), "nothing of it is kept");
}

pub(crate) async fn what_follows_a_subscription_is_heard(subject: Subject) {
    let (node, other) = (subject.node().await, subject.node().await);
    let rooms: Vec<_> = (0..100).map(|number| room(&format!("room {number}"))).collect();
    for room in &rooms {
        node.bus.subscribe(room).await.unwrap();
        other.publish(room, "a", "Ann").await.unwrap();
    }
    until("all are heard", async || rooms.iter().all(|room| node.heard.has_message(room, "a"))).await;
}

pub(crate) async fn churn_leaves_what_is_wanted(subject: Subject) {
    let (node, other) = (subject.node().await, subject.node().await);
    let rooms: Vec<_> = (0..100).map(|number| room(&format!("room {number}"))).collect();
    // Rooms at once, each in its own order, 500 changes and more; every other room ends subscribed.
    stream::iter(rooms.iter().enumerate())
        .map(async |(number, room)| {
            for _ in 0..3 {
                node.bus.subscribe(room).await.unwrap();
                node.bus.unsubscribe(room).await.unwrap();
            }
            if number % 2 == 0 {
                node.bus.subscribe(room).await.unwrap();
            }
        })
        .buffer_unordered(50)
        .collect::<()>()
        .await;
    assert_eq!(node.bus.subscriptions(), 50);
    let wanted = || rooms.iter().step_by(2);
    for room in &rooms {
        other.publish(room, "a", "Ann").await.unwrap();
    }
    until("all wanted are heard", async || wanted().all(|room| node.heard.has_message(room, "a"))).await;
    let others: Vec<_> = rooms.iter().skip(1).step_by(2).cloned().collect();
    quiet(&node, &other, &others).await;
}

/// Waits until a node receives nothing of these rooms any more. An unsubscription that was written is not yet
/// done: what is published in the same moment may still come.
async fn quiet(node: &Node, other: &Node, rooms: &[RoomName]) {
    let mut round = 0;
    until("the rooms are quiet", async || {
        round += 1;
        let id = format!("quiet {round}");
        for room in rooms {
            other.publish(room, &id, "Ann").await.unwrap();
        }
        silence().await;
        rooms.iter().all(|room| !node.heard.has_message(room, &id))
    })
    .await;
}
