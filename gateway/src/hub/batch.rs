//! Events that are sent together, and what they are encoded to: packets once per dialect, and frames of these packets
//! once per namespace and dialect, for the first member that needs them. Filled by `room/worker.rs`, read by each member's transport.

use std::sync::OnceLock;

use bytes::Bytes;
use roomcast_protocol::UserName;
use serde_json::value::RawValue;

use super::event::Event;
use super::trace::FanoutSpans;

/// The frames of a batch for one namespace.
#[derive(Debug, Clone)]
pub(crate) struct Frames {
    pub(crate) bytes: Bytes,
    pub(crate) count: usize,
}

/// An event's name and its one argument, encoded.
pub(crate) type Packet = (&'static str, Box<RawValue>);

/// Values by key, each made for the first who needs it. A list, because most batches need one or two.
struct Cache<K, T>(OnceLock<Box<Cached<K, T>>>);

struct Cached<K, T> {
    key: K,
    value: OnceLock<T>,
    next: Cache<K, T>,
}

impl<K, T> Default for Cache<K, T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: Copy + PartialEq, T> Cache<K, T> {
    fn get(&self, key: K, make: impl FnOnce() -> T) -> &T {
        let mut cache = self;
        loop {
            let new = || Box::new(Cached { key, value: OnceLock::new(), next: Self::default() });
            let cached = cache.0.get_or_init(new);
            if cached.key == key {
                return cached.value.get_or_init(make);
            }
            cache = &cached.next;
        }
    }
}

/// A namespace, and which packets are framed for it: those of a dialect, or some of them.
pub(crate) type FramesKey = (&'static str, &'static str);

/// Events that are sent together, in this order.
#[derive(Default)]
pub(crate) struct Batch {
    events: Vec<Event>,
    /// The user who caused the event; their connections are skipped.
    except: Option<UserName>,
    /// Dropped for a client that has not yet read what was sent before.
    volatile: bool,
    packets: Cache<&'static str, Vec<Packet>>,
    frames: Cache<FramesKey, Frames>,
    spans: FanoutSpans,
}

impl Batch {
    pub(crate) fn push(&mut self, event: Event) {
        if let Event::Message(message) = &event {
            self.spans.begin(message);
        }
        self.events.push(event);
    }

    /// A batch of one volatile event for everyone except its user.
    pub(crate) fn volatile(event: Event, except: UserName) -> Self {
        let mut batch = Self { except: Some(except), volatile: true, ..Self::default() };
        batch.push(event);
        batch
    }

    /// A batch of some of its events, which is encoded anew.
    pub(super) fn part(&self, events: Vec<Event>) -> Self {
        Self { events, except: self.except.clone(), volatile: self.volatile, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Whether it is sent to the connections of a user; none is a connection without a name.
    pub(crate) fn is_for(&self, user: impl FnOnce() -> Option<UserName>) -> bool {
        self.except.as_ref().is_none_or(|except| user().as_ref() != Some(except))
    }

    /// Its packets in a dialect.
    pub(crate) fn packets(&self, dialect: &'static str, encode: impl FnOnce() -> Vec<Packet>) -> &[Packet] {
        self.packets.get(dialect, encode)
    }

    /// Its frames.
    pub(crate) fn frames(&self, key: FramesKey, encode: impl FnOnce() -> Frames) -> &Frames {
        self.frames.get(key, encode)
    }

    /// Number of events that are messages.
    pub(crate) fn messages(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Message(_))).count()
    }

    /// When its first message was stored, in milliseconds since 1970.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.events.iter().find_map(|event| match event {
            Event::Message(message) => Some(message.ts),
            _ => None,
        })
    }

    /// Marks the start of sending to this number of members.
    pub(super) fn begin_write(&mut self, members: usize) {
        self.spans.begin_write(self.events.len(), members);
    }
}
