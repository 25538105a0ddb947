//! Tests of the chat layer in process: real rooms, users and hub on the memory store, with devices that record the
//! events they receive. No sockets or ports; the only clock is the runtime's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use roomcast_ops::{Lifecycle, Metrics};
use roomcast_protocol::client::{
    ConnectAuth, History, Join, Leave, OnlineUsers, Rooms as ListRooms, SendMessage, Typing,
};
use roomcast_protocol::limits::{MAX_ROOMS, MAX_TEXT_BYTES};
use roomcast_protocol::message::PrivateMessage;
use roomcast_protocol::{Code, Position, Refusal, RoomName, UserName};
use roomcast_store::{Memory, Settings};
use serde_json::from_str;
use tokio::sync::{Notify, oneshot};

use super::*;
use crate::hub::{Batch, Connection, Event, Outbound, OutboundStatus, Registry, SendError};
use crate::inbox::Inboxes;
use crate::listener::NodeListener;
use crate::room::{Departure, RoomDeps, RoomTiming};
use crate::telemetry::{TransportKind, Written};
use crate::users::{ClaimError, NameHold};

/// A node without Redis and without an edge.
struct Node {
    chat: Chat,
    registry: Registry,
    /// Held until the test ends.
    names: Mutex<Vec<NameHold>>,
    /// How many users lost their name to others.
    lost: Arc<AtomicUsize>,
}

/// The events that a device received, in order, as short strings.
#[derive(Default)]
struct Received {
    events: Mutex<Vec<String>>,
    changed: Notify,
    /// The device's queue is full: it takes no message.
    full: AtomicBool,
}

struct Device {
    received: Arc<Received>,
}

/// A user with a device.
struct Person {
    connection: Arc<Connection>,
    actor: Actor,
    received: Arc<Received>,
}

mod broadcast;
mod images;
mod large_rooms;
mod names;
mod private;
mod replay;
mod returns;
mod threads;

const GRACE: Duration = Duration::from_secs(15);

impl Node {
    async fn start() -> Self {
        Self::start_on(&Memory::new(&Settings::default()), GRACE, Duration::ZERO).await
    }

    /// Messages of a busy room wait for this time.
    async fn start_with(batch_window: Duration) -> Self {
        Self::start_on(&Memory::new(&Settings::default()), GRACE, batch_window).await
    }

    /// One of several nodes on the same memory.
    async fn start_on(memory: &Memory, grace: Duration, batch_window: Duration) -> Self {
        let telemetry = Telemetry::new(&Metrics::new("test").unwrap()).unwrap();
        let (rooms, queues) = Rooms::new(2);
        let (inboxes, inbox_queue) = Inboxes::new();
        let listener = NodeListener { rooms: rooms.clone(), inboxes: inboxes.clone() };
        let store = memory.node(Arc::new(listener));
        let node = crate::node::Node::new("node".into(), Duration::from_secs(15), None);
        let lifecycle = Lifecycle::new();
        let registered = roomcast_ops::Readiness::new().latch("lease");
        let mut status = node.lease_status();
        lifecycle.spawn("lease", node.clone().keep_lease(store.clone(), registered));
        status.changed().await.unwrap();
        let timing = RoomTiming { grace, touch: Duration::from_secs(600) };
        inboxes.start(inbox_queue, store.clone(), telemetry.clone(), &lifecycle);
        let registry = Registry::new(telemetry.clone(), None);
        let deps = RoomDeps::new(
            store.clone(),
            node.clone(),
            registry.clone(),
            telemetry.clone(),
            lifecycle,
            timing,
            batch_window,
        );
        rooms.start(queues, &deps);
        let lost = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&lost);
        let on_name_lost = Arc::new(move |_: &UserName| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let users = Users::new(store.clone(), node.clone(), grace, on_name_lost);
        let images = ImageSettings { max_bytes: 1_000, public_url: "https://chat.example".into() };
        let listed = Arc::from([room("general")]);
        let broadcast = BroadcastPolicy::Everyone;
        Self {
            chat: Chat { store, node, rooms, users, inboxes, telemetry, grace, images, listed, broadcast },
            registry,
            names: Mutex::default(),
            lost,
        }
    }

    async fn sign_in(&self, name: &str, resume: &str) -> Result<(Person, NameHold), ClaimError> {
        self.authenticate(ConnectAuth { username: user(name), resume: Some(resume.into()), since: None })
            .await
    }

    async fn authenticate(&self, auth: ConnectAuth) -> Result<(Person, NameHold), ClaimError> {
        Ok(self.welcome(self.chat.sign_in(auth, None, &OnceLock::new()).await?).await)
    }

    async fn welcome(&self, signed_in: SignedIn) -> (Person, NameHold) {
        let SignedIn { mut name, welcome, since, .. } = signed_in;
        let received = Arc::<Received>::default();
        let device = Device { received: Arc::clone(&received) };
        let person = name.person();
        let (connection, _) = self.registry.add(name.user().clone(), Box::new(device));
        connection.send_own(&welcome);
        self.chat.inboxes.follow(&mut name, &connection, since).await;
        let device = Some(Arc::clone(&connection));
        let actor = Actor::new(name.user().clone(), Rights::default(), device).with_inbox(person);
        (Person { connection, actor, received }, name)
    }

    async fn person(&self, name: &str) -> Person {
        let (person, name) = self.sign_in(name, name).await.unwrap();
        self.names.lock().push(name);
        person
    }

    /// The end of a person's connection.
    async fn disconnect(&self, (person, name): (Person, NameHold), how: Departure) {
        self.chat.leave_all(&person.connection, how).await;
        self.chat.inboxes.unfollow(person.connection.id()).await;
        self.registry.remove(&person.connection);
        name.release(how).await;
    }

    /// Waits until the store has a user in the room, or has not.
    async fn is_present(&self, name: &str, present: bool) {
        let changed = async {
            while self.chat.store.presence.is_present(&room("r"), &user(name)).await.unwrap() != present {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(5), changed).await.is_ok(), "{name}: {present}");
    }

    async fn execute(&self, person: &Person, command: Command) -> Result<Reply, Refusal> {
        let (sender, reply) = oneshot::channel();
        let respond = move |reply| assert!(sender.send(reply).is_ok());
        self.chat.execute(&person.actor, Request { command, urgent: false, respond }).await;
        reply.await.unwrap()
    }

    async fn join(
        &self,
        person: &Person,
        name: &str,
        since: Option<Position>,
    ) -> Result<JoinedRoom, Refusal> {
        let join = Join { room: room(name), since, limit: None };
        match self.execute(person, Command::Join(join)).await? {
            Reply::Joined(joined) => Ok(joined),
            _ => panic!("unexpected reply to a join"),
        }
    }

    async fn send(&self, person: &Person, text: &str, id: Option<&str>) -> Result<u64, Refusal> {
        let message = SendMessage { room: room("r"), text: text.into(), id: id.map(str::to_owned) };
        match self.execute(person, Command::SendMessage(message)).await? {
            Reply::Sent(sent) => Ok(sent.offset),
            _ => panic!("unexpected reply to a message"),
        }
    }

    async fn code(&self, person: &Person, command: Command) -> Code {
        self.execute(person, command).await.err().expect("the command was not refused").code
    }
}

use crate::room::JoinedRoom;

impl Received {
    fn record(&self, summary: String) {
        self.events.lock().push(summary);
        self.changed.notify_waiters();
    }

    /// Waits until these are the last events.
    async fn ends_with(&self, expected: &[&str]) {
        let arrived = async {
            loop {
                let changed = self.changed.notified();
                if self.events.lock().ends_with(&expected.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
                {
                    return;
                }
                changed.await;
            }
        };
        let arrived = tokio::time::timeout(Duration::from_secs(5), arrived).await;
        assert!(arrived.is_ok(), "{expected:?} are not the end of {:?}", self.events.lock());
    }
}

impl Outbound for Device {
    fn send(&self, batch: &Batch) -> Result<Written, SendError> {
        batch.events().iter().try_for_each(|event| self.send_own(event).map(drop))?;
        Ok(Written::default())
    }

    fn send_observed(&self, batch: &Batch, _: Option<&UserName>) -> Result<Written, SendError> {
        for event in batch.events() {
            if let Event::Message(message) = event {
                self.received.record(format!("observed {}", message.offset));
            }
        }
        Ok(Written::default())
    }

    fn send_own(&self, event: &Event) -> Result<Written, SendError> {
        if self.received.full.load(Ordering::Relaxed) && matches!(event, Event::Message(_)) {
            return Err(SendError::SlowReader);
        }
        let summary = match event {
            Event::Welcome(welcome) => {
                format!("welcome {} {}", welcome.user, welcome.resume.as_deref().unwrap_or_default())
            }
            Event::Message(message) => format!("message {}", message.offset),
            Event::PrivateMessage(message) => {
                let PrivateMessage { user, to, text, offset, .. } = from_str(message.json.get()).unwrap();
                format!("private {offset} {user} to {to}: {}", text.unwrap_or_default())
            }
            Event::Inbox(inbox) => format!("inbox {} {}", inbox.offset, inbox.recovered),
            Event::Presence { change, .. } => format!("presence {}", change.count),
            Event::OnlineUsers(snapshot) => format!("online {}", snapshot.count),
            Event::Typing(typing) => format!("typing {}", typing.user),
            Event::Resync(_) => "resync".into(),
            Event::Restarting(_) => "restarting".into(),
        };
        self.received.record(summary);
        Ok(Written::default())
    }

    fn close(&self) {}

    fn status(&self) -> OutboundStatus {
        OutboundStatus { kind: TransportKind::WebSocket, namespace: "/", queued_and_sent: None }
    }
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

#[tokio::test]
async fn a_message_is_acknowledged_and_reaches_every_member_once_in_order() {
    let node = Node::start().await;
    let (ann, ben) = (node.person("ann").await, node.person("ben").await);
    node.join(&ann, "r", None).await.unwrap();
    assert_eq!(node.join(&ben, "r", None).await.unwrap().online.count, 2);
    assert_eq!(node.send(&ann, "one", None).await.unwrap(), 1);
    assert_eq!(node.send(&ben, "two", Some("id")).await.unwrap(), 2);
    assert_eq!(node.send(&ben, "two", Some("id")).await.unwrap(), 2, "the same id is stored once");
    assert_eq!(node.send(&ann, "three", None).await.unwrap(), 3);
    for person in [&ann, &ben] {
        person.received.ends_with(&["message 3"]).await;
        let events = person.received.events.lock();
        let messages: Vec<_> = events.iter().filter(|event| event.starts_with("message")).collect();
        assert_eq!(messages, ["message 1", "message 2", "message 3"]);
        assert!(events[0].starts_with("welcome"));
    }
}

#[tokio::test]
async fn a_member_that_returns_gets_what_it_missed_and_one_that_left_gets_nothing() {
    let node = Node::start().await;
    let (ann, ben) = (node.person("ann").await, node.person("ben").await);
    node.join(&ann, "r", None).await.unwrap();
    let joined = node.join(&ben, "r", None).await.unwrap();
    node.send(&ann, "one", None).await.unwrap();
    ben.received.ends_with(&["message 1"]).await;
    node.execute(&ben, Command::Leave(Leave { room: room("r") })).await.unwrap();
    node.send(&ann, "two", None).await.unwrap();
    ann.received.ends_with(&["message 2"]).await;
    assert_eq!(node.code(&ben, Command::Leave(Leave { room: room("r") })).await, Code::NotJoined);
    assert!(!ben.received.events.lock().contains(&"message 2".to_owned()));
    let back = node.join(&ben, "r", Some(joined.position)).await.unwrap();
    assert_eq!((back.recovered, back.messages.len(), back.position.offset), (true, 2, 2));
}

#[tokio::test]
async fn commands_require_membership() {
    let node = Node::start().await;
    let (ann, ben) = (node.person("ann").await, node.person("ben").await);
    node.join(&ann, "r", None).await.unwrap();
    let r = || room("r");
    let refused = [
        Command::SendMessage(SendMessage { room: r(), text: "hi".into(), id: None }),
        Command::Typing(Typing { room: r(), typing: true }),
        Command::History(History { room: Some(r()), to: None, before: None, limit: None }),
        Command::OnlineUsers(OnlineUsers { room: r(), cursor: None, limit: None }),
        Command::Leave(Leave { room: r() }),
    ];
    for command in refused {
        assert_eq!(node.code(&ben, command).await, Code::NotJoined);
    }
    let listed = node.execute(&ben, Command::Rooms(ListRooms::default())).await.unwrap();
    let Reply::Rooms(page) = listed else { panic!("unexpected reply to rooms") };
    let rooms: Vec<_> = page.rooms.iter().map(|row| (row.room.as_str(), row.count)).collect();
    assert_eq!(rooms, [("general", 0), ("r", 1)]);
}

#[tokio::test]
async fn typing_reaches_others_only() {
    let node = Node::start().await;
    let (ann, ben) = (node.person("ann").await, node.person("ben").await);
    node.join(&ann, "r", None).await.unwrap();
    node.join(&ben, "r", None).await.unwrap();
    node.execute(&ann, Command::Typing(Typing { room: room("r"), typing: true })).await.unwrap();
    ben.received.ends_with(&["typing ann"]).await;
    assert!(!ann.received.events.lock().contains(&"typing ann".to_owned()));
}

#[tokio::test]
async fn rooms_and_texts_are_bounded() {
    let node = Node::start().await;
    let ann = node.person("ann").await;
    for n in 0..MAX_ROOMS {
        node.join(&ann, &n.to_string(), None).await.unwrap();
    }
    assert_eq!(node.join(&ann, "r", None).await.err().map(|refusal| refusal.code), Some(Code::TooManyRooms));
    assert!(node.join(&ann, "0", None).await.is_ok(), "a room may be joined again");
    node.execute(&ann, Command::Leave(Leave { room: room("0") })).await.unwrap();
    node.join(&ann, "r", None).await.unwrap();
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    assert_eq!(node.send(&ann, &long, None).await.unwrap_err().code, Code::BadText);
    assert_eq!(node.send(&ann, "hi", Some("")).await.unwrap_err().code, Code::BadId);
}

#[tokio::test]
async fn a_message_id_belongs_to_the_user_who_used_it() {
    let node = Node::start().await;
    let (ann, ben) = (node.person("ann").await, node.person("ben").await);
    node.join(&ann, "r", None).await.unwrap();
    node.join(&ben, "r", None).await.unwrap();
    node.send(&ann, "hi", Some("id")).await.unwrap();
    assert_eq!(node.send(&ben, "hi", Some("id")).await.unwrap_err().code, Code::IdTaken);
}

#[tokio::test]
async fn a_name_requires_its_secret() {
    let node = Node::start().await;
    let (ann, _name) = node.sign_in("ann", "secret").await.unwrap();
    assert!(node.sign_in("ann", "secret").await.is_ok(), "another device");
    let Err(ClaimError::Refused(refusal)) = node.sign_in("ann", "guess").await else {
        panic!("the name was claimed with a wrong secret");
    };
    assert_eq!(refusal.code, Code::UsernameTaken);
    assert_eq!(node.registry.of_user(&user("ann")).len(), 2);
    assert!(node.registry.of_user(&user("ben")).is_empty());
    node.registry.remove(&ann.connection);
    assert_eq!(node.registry.of_user(&user("ann")).len(), 1);
}

#[tokio::test]
async fn a_connection_that_ends_leaves_every_room() {
    let node = Node::start().await;
    let ((ann, name), ben) = (node.sign_in("ann", "ann").await.unwrap(), node.person("ben").await);
    for room in ["r", "s"] {
        node.join(&ann, room, None).await.unwrap();
    }
    node.join(&ben, "r", None).await.unwrap();
    node.chat.leave_all(&ann.connection, Departure::Left).await;
    name.release(Departure::Left).await;
    ben.received.ends_with(&["presence 1"]).await;
    assert!(ann.connection.rooms().is_empty());
    assert!(node.sign_in("ann", "another").await.is_ok(), "the name is free");
}

#[tokio::test]
async fn an_actor_without_a_device_may_do_what_its_rights_allow() {
    let node = Node::start().await;
    let ann = node.person("ann").await;
    node.join(&ann, "r", None).await.unwrap();
    let person = |any_room| Person {
        connection: Arc::clone(&ann.connection),
        actor: Actor::new(user("server"), Rights { any_room }, None),
        received: Arc::default(),
    };
    assert_eq!(node.send(&person(false), "hi", None).await.unwrap_err().code, Code::NotJoined);
    assert_eq!(node.send(&person(true), "hi", None).await.unwrap(), 1);
    ann.received.ends_with(&["message 1"]).await;
    assert_eq!(node.join(&person(true), "r", None).await.err().unwrap().code, Code::BadRequest);
    let leave = Command::Leave(Leave { room: room("r") });
    assert_eq!(node.code(&person(true), leave).await, Code::NotJoined);
}

impl Node {
    /// A device without a name.
    fn unnamed(&self) -> Person {
        let received = Arc::<Received>::default();
        let device = Device { received: Arc::clone(&received) };
        let (connection, _) = self.registry.add(None, Box::new(device));
        let actor = Actor::unnamed(Arc::clone(&connection));
        Person { connection, actor, received }
    }

    /// Takes an open name for a device.
    async fn take(&self, person: &mut Person, name: &str) -> Result<NameHold, Refusal> {
        let hold = self.chat.take_name(&user(name), None).await?;
        self.registry.rename(&person.connection, user(name));
        person.actor = Actor::open(user(name), "flocker", Arc::clone(&person.connection));
        Ok(hold)
    }
}

#[tokio::test]
async fn a_device_without_a_name_receives_and_does_nothing_else() {
    let node = Node::start().await;
    let (ann, mut guest) = (node.person("ann").await, node.unnamed());
    node.join(&ann, "r", None).await.unwrap();
    assert_eq!(node.join(&guest, "r", None).await.unwrap().online.count, 1, "it is in no list");
    let r = || room("r");
    for command in [
        Command::SendMessage(SendMessage { room: r(), text: "hi".into(), id: None }),
        Command::Typing(Typing { room: r(), typing: true }),
        Command::History(History { room: Some(r()), to: None, before: None, limit: None }),
        Command::OnlineUsers(OnlineUsers { room: r(), cursor: None, limit: None }),
        Command::Rooms(ListRooms::default()),
    ] {
        assert_eq!(node.code(&guest, command).await, Code::NotJoined);
    }
    node.send(&ann, "one", None).await.unwrap();
    guest.received.ends_with(&["message 1"]).await;

    let _name = node.take(&mut guest, "gil").await.unwrap();
    assert_eq!(node.join(&guest, "r", None).await.unwrap().online.count, 2, "now it is present");
    ann.received.ends_with(&["presence 2"]).await;
    node.send(&guest, "two", None).await.unwrap();
    guest.received.ends_with(&["message 2"]).await;
    node.chat.leave_all(&guest.connection, Departure::Left).await;
    ann.received.ends_with(&["presence 1"]).await;
}

#[tokio::test]
async fn a_member_that_joins_again_misses_nothing() {
    let node = Node::start_with(Duration::from_secs(3_600)).await;
    let (ann, mut guest) = (node.person("ann").await, node.unnamed());
    node.join(&ann, "r", None).await.unwrap();
    let again = || Command::Join(Join { room: room("r"), since: None, limit: Some(0) });
    node.execute(&guest, again()).await.unwrap();
    // Ann's own join was sent just now, so this waits for the next batch.
    node.send(&ann, "hi", None).await.unwrap();
    let _name = node.take(&mut guest, "gil").await.unwrap();
    node.execute(&guest, again()).await.unwrap();
    assert!(guest.received.events.lock().contains(&"message 1".to_owned()), "before the answer");
}

#[tokio::test]
async fn an_open_name_is_free_once_its_connection_is_gone() {
    let node = Node::start().await;
    let (mut first, mut second) = (node.unnamed(), node.unnamed());
    let name = node.take(&mut first, "gil").await.unwrap();
    assert_eq!(
        node.take(&mut second, "gil").await.err().map(|refusal| refusal.code),
        Some(Code::UsernameTaken)
    );
    assert!(matches!(node.sign_in("gil", "secret").await, Err(ClaimError::Refused(_))));
    name.release(Departure::Dropped).await;
    let _name = node.take(&mut second, "gil").await.unwrap();
    assert_eq!(node.registry.of_user(&user("gil")).len(), 2);
}

#[tokio::test]
async fn a_connection_is_found_by_its_present_name_only() {
    let node = Node::start().await;
    let mut person = node.unnamed();
    let _one = node.take(&mut person, "gil").await.unwrap();
    let _two = node.take(&mut person, "gus").await.unwrap();
    assert!(node.registry.of_user(&user("gil")).is_empty());
    assert_eq!(node.registry.of_user(&user("gus")).len(), 1);
    node.registry.remove(&person.connection);
    node.registry.rename(&person.connection, user("guy"));
    assert!(node.registry.of_user(&user("guy")).is_empty(), "it is gone");
}

#[tokio::test]
async fn a_second_tab_with_the_generated_secret_is_the_same_user() {
    let node = Node::start().await;
    let (first, _first_name) =
        node.authenticate(ConnectAuth { username: user("ann"), resume: None, since: None }).await.unwrap();
    let resume = first.received.events.lock()[0].strip_prefix("welcome ann ").unwrap().to_owned();
    let (_, _second_name) = node.sign_in("ann", &resume).await.unwrap();
    assert!(matches!(node.sign_in("ann", "guess").await, Err(ClaimError::Refused(_))));
    assert_eq!(node.lost.load(Ordering::Relaxed), 0, "nobody lost the name");
}

/// On several threads: the connection's task goes on while the room's worker still has the join in hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_join_is_finished_once_the_connection_is_a_member() {
    let node = Node::start().await;
    let ann = node.person("ann").await;
    for n in 0..500 {
        let name = format!("room {}", n % 50);
        node.join(&ann, &name, None).await.unwrap();
        assert!(ann.connection.is_in(&room(&name)));
        node.execute(&ann, Command::Leave(Leave { room: room(&name) })).await.unwrap();
        assert!(!ann.connection.is_in(&room(&name)));
    }
}
