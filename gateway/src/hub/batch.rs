//! Events that are sent together, and their encoded bytes: encoded once per namespace (as frames, and as packets
//! where a member polls), for the first member that needs them. Filled by `room/worker.rs`, read by each member's transport.

use std::sync::OnceLock;

use bytes::Bytes;
use roomcast_protocol::UserName;
use serde_json::value::RawValue;

use super::event::Event;
use super::trace::FanoutSpans;

/// An encoding of events: the index of a namespace in the edge's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding(u8);

impl Encoding {
    /// Maximum number of namespaces.
    pub(crate) const MAX: usize = 16;

    /// The encoding with this index, which must be below [`Encoding::MAX`].
    pub(crate) const fn new(index: u8) -> Self {
        Self(index)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The frames of a batch in one encoding.
#[derive(Debug, Clone)]
pub(crate) struct Frames {
    pub(crate) bytes: Bytes,
    pub(crate) count: usize,
}

/// An event's name and its one argument, encoded.
pub(crate) type Packet = (String, Box<RawValue>);

/// A batch in one encoding: as frames for members that frames are written to, as packets for those that a library
/// sends to. Each is encoded for the first member that needs it.
#[derive(Default)]
pub(crate) struct Encoded {
    frames: OnceLock<Frames>,
    packets: OnceLock<Vec<Packet>>,
}

impl Encoded {
    pub(crate) fn frames(&self, encode: impl FnOnce() -> Frames) -> &Frames {
        self.frames.get_or_init(encode)
    }

    pub(crate) fn packets(&self, encode: impl FnOnce() -> Vec<Packet>) -> &[Packet] {
        self.packets.get_or_init(encode)
    }
}

/// Events that are sent together, in this order.
#[derive(Default)]
pub(crate) struct Batch {
    events: Vec<Event>,
    /// The user who caused the event; their connections are skipped.
    except: Option<UserName>,
    /// Dropped for a client that has not yet read what was sent before.
    volatile: bool,
    /// Boxed: most rooms have members of one encoding.
    encoded: [OnceLock<Box<Encoded>>; Encoding::MAX],
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

    /// Whether it is sent to a user's connections.
    pub(crate) fn is_for(&self, user: &UserName) -> bool {
        self.except.as_ref().is_none_or(|except| except != user)
    }

    /// It in an encoding.
    pub(crate) fn encoded(&self, encoding: Encoding) -> &Encoded {
        #[expect(clippy::indexing_slicing, reason = "an encoding is below the maximum")]
        self.encoded[encoding.index()].get_or_init(Box::default)
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
