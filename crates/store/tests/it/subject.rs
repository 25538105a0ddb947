//! What a case runs on: a store in memory or on a server, nodes that share it, and what their listeners received.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roomcast_ops::Lifecycle;
use roomcast_protocol::{Body, Content, RoomName, UserName};
use roomcast_store::{
    BusEvent, BusListener, Entry, InboxEvent, Memory, Person, PublishRequest, Published, Result, Retention,
    Settings, Store, Unobserved,
};
use tokio::time::{Instant, sleep};

use crate::server::{shared_cluster, shared_redis, shared_shard};

enum Place {
    Memory,
    Redis(String),
}

pub(crate) struct Subject {
    place: Place,
    memory: Memory,
    pub(crate) settings: Settings,
    pub(crate) lifecycle: Lifecycle,
}

impl Subject {
    fn new(place: Place) -> Self {
        let settings = Settings {
            prefix: format!("t{:08x}", rand::random::<u32>()),
            batch_window: Duration::from_millis(5),
            upgrade_wait: Duration::from_millis(100),
            ..Settings::default()
        };
        Self { place, memory: Memory::new(&settings), settings, lifecycle: Lifecycle::new() }
    }

    pub(crate) async fn memory() -> Self {
        Self::new(Place::Memory)
    }

    pub(crate) async fn redis() -> Self {
        Self::at(&shared_redis().await.url())
    }

    pub(crate) async fn cluster() -> Self {
        Self::at(&shared_cluster().await.url())
    }

    /// As some providers offer it: a request whose keys are in several slots is refused.
    pub(crate) async fn shard() -> Self {
        Self::at(&shared_shard().await.url())
    }

    pub(crate) fn at(url: &str) -> Self {
        Self::new(Place::Redis(url.to_owned()))
    }

    pub(crate) fn keeping(mut self, retention: Retention) -> Self {
        self.settings.retention = retention;
        self.memory = Memory::new(&self.settings);
        self
    }

    /// With this bound for the bytes of all images.
    pub(crate) fn holding_images(mut self, bytes: usize) -> Self {
        self.settings.image_store_bytes = bytes;
        self.memory = Memory::new(&self.settings);
        self
    }

    /// Another node on the same memory.
    pub(crate) async fn node(&self) -> Node {
        let heard = Arc::new(Heard::default());
        let listener: Arc<dyn BusListener> = heard.clone();
        let store = match &self.place {
            Place::Memory => self.memory.node(listener),
            Place::Redis(url) => {
                Store::on_redis(url, &self.settings, listener, Arc::new(Unobserved), &self.lifecycle).unwrap()
            }
        };
        assert!(store.health.wait_up(Duration::from_secs(10)).await, "the store is not reached");
        Node { store, heard }
    }
}

/// A node's store, and what it heard.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) heard: Arc<Heard>,
}

impl Deref for Node {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Node {
    pub(crate) async fn publish(&self, room: &RoomName, id: &str, user: &str) -> Result<Published> {
        self.publish_in(room, id, user, true).await
    }

    /// The same, in a batch with others.
    pub(crate) async fn publish_batched(&self, room: &RoomName, id: &str, user: &str) -> Result<Published> {
        self.publish_in(room, id, user, false).await
    }

    async fn publish_in(&self, room: &RoomName, id: &str, user: &str, urgent: bool) -> Result<Published> {
        self.log.publish(PublishRequest { room, body: &body(id, user), image: None, urgent }).await
    }

    /// Messages with the ids `PREFIX1`, `PREFIX2` …
    pub(crate) async fn publish_many(&self, room: &RoomName, prefix: &str, count: usize) -> Vec<Published> {
        let mut published = Vec::with_capacity(count);
        for number in 1..=count {
            published.push(self.publish(room, &format!("{prefix}{number}"), "Ann").await.unwrap());
        }
        published
    }
}

/// What a listener received, in order.
#[derive(Default)]
pub(crate) struct Heard {
    events: Mutex<Vec<(RoomName, BusEvent)>>,
    private: Mutex<Vec<(Person, InboxEvent)>>,
    gaps: Mutex<Vec<Option<RoomName>>>,
}

impl BusListener for Heard {
    fn on_event(&self, room: &RoomName, event: BusEvent) {
        self.events.lock().push((room.clone(), event));
    }

    fn on_inbox(&self, person: &Person, event: InboxEvent) {
        self.private.lock().push((person.clone(), event));
    }

    fn on_gap(&self, room: Option<&RoomName>) {
        self.gaps.lock().push(room.cloned());
    }
}

impl Heard {
    pub(crate) fn of(&self, room: &RoomName) -> Vec<BusEvent> {
        self.events.lock().iter().filter(|(of, _)| of == room).map(|(_, event)| event.clone()).collect()
    }

    pub(crate) fn messages(&self, room: &RoomName) -> Vec<Entry> {
        let message = |event| if let BusEvent::Message(entry) = event { Some(entry) } else { None };
        self.of(room).into_iter().filter_map(message).collect()
    }

    pub(crate) fn private(&self, person: &Person) -> Vec<InboxEvent> {
        let events = self.private.lock();
        events.iter().filter(|(of, _)| of == person).map(|(_, event)| event.clone()).collect()
    }

    /// Each presence event: count, who joined, who left, sorted.
    pub(crate) fn presence(&self, room: &RoomName) -> Vec<(usize, Vec<String>, Vec<String>)> {
        let presence = |event| match event {
            BusEvent::Presence { count, joined, left, .. } => Some((count, sorted(&joined), sorted(&left))),
            _ => None,
        };
        self.of(room).into_iter().filter_map(presence).collect()
    }

    pub(crate) fn has_message(&self, room: &RoomName, id: &str) -> bool {
        self.messages(room).iter().any(|entry| Body::parse(&entry.body).unwrap().id == id)
    }

    /// Gaps that concern a room.
    pub(crate) fn gaps_of(&self, room: &RoomName) -> usize {
        self.gaps.lock().iter().filter(|of| of.as_ref().is_none_or(|of| of == room)).count()
    }

    /// Gaps of everything.
    pub(crate) fn gaps(&self) -> usize {
        self.gaps.lock().iter().filter(|room| room.is_none()).count()
    }
}

pub(crate) fn body(id: &str, from: &str) -> Body {
    Body {
        extra: None,
        id: id.into(),
        user: user(from),
        verified: true,
        content: Content::Text { text: "чат \"\u{1f980}\"".into() },
    }
}

pub(crate) fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

pub(crate) fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

pub(crate) fn users(names: &[&str]) -> Vec<UserName> {
    names.iter().map(|name| user(name)).collect()
}

pub(crate) fn sorted(users: &[UserName]) -> Vec<String> {
    let mut names: Vec<_> = users.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

pub(crate) fn offsets(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.offset).collect()
}

/// Waits for a condition, at most ten seconds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// How long nothing may be received, where that is what is tested.
pub(crate) async fn silence() {
    sleep(Duration::from_millis(100)).await;
}
