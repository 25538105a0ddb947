//! Events that leave together, with their bytes: encoded once per namespace, when the first member of it is
//! reached. Filled by `room/worker.rs`, read by each member's transport.

use std::sync::OnceLock;

use bytes::Bytes;
use roomcast_protocol::UserName;

use super::event::Event;
use super::trace::FanoutSpans;

/// A way to encode events, which is a namespace of the edge: its number in the edge's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding(u8);

impl Encoding {
    /// Namespaces that there may be.
    pub(crate) const MAX: usize = 16;

    /// Of a place in the table, which is shorter than [`Encoding::MAX`].
    pub(crate) const fn new(index: u8) -> Self {
        Self(index)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Frames that carry a batch in one encoding.
#[derive(Debug, Clone)]
pub(crate) struct Frames {
    pub(crate) bytes: Bytes,
    pub(crate) count: usize,
}

/// Events that leave together, in this order.
#[derive(Default)]
pub(crate) struct Batch {
    events: Vec<Event>,
    /// The user who caused it, who knows already; connections of theirs get none of it.
    except: Option<UserName>,
    /// Dropped where the client has not yet taken what came before: it is not worth waiting for.
    volatile: bool,
    encoded: [OnceLock<Frames>; Encoding::MAX],
    spans: FanoutSpans,
}

impl Batch {
    pub(crate) fn push(&mut self, event: Event) {
        if let Event::Message(message) = &event {
            self.spans.begin(message);
        }
        self.events.push(event);
    }

    /// One passing event that everybody but its user gets.
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

    /// Whether a user's connections get it.
    pub(crate) fn is_for(&self, user: &UserName) -> bool {
        self.except.as_ref().is_none_or(|except| except != user)
    }

    /// Its frames in an encoding, made by the first who asks.
    pub(crate) fn frames(&self, encoding: Encoding, encode: impl FnOnce() -> Frames) -> &Frames {
        #[expect(clippy::indexing_slicing, reason = "an encoding is below the maximum")]
        self.encoded[encoding.index()].get_or_init(encode)
    }

    /// How many of its events are messages.
    pub(crate) fn messages(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Message(_))).count()
    }

    /// When the first of its messages was stored, in milliseconds since 1970.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.events.iter().find_map(|event| match event {
            Event::Message(message) => Some(message.ts),
            _ => None,
        })
    }

    /// It is about to be sent to so many members.
    pub(super) fn begin_write(&mut self, members: usize) {
        self.spans.begin_write(self.events.len(), members);
    }
}
