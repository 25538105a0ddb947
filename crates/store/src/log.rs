//! The room log: every acknowledged message of a room, numbered without a hole. Called by the gateway's
//! rooms and by its `send_message`; implemented in `log/memory.rs` and `log/redis.rs`.

pub(crate) mod memory;
pub(crate) mod redis;

use std::time::Duration;

use async_trait::async_trait;
use roomcast_ops::trace::Origin;
use roomcast_protocol::{Body, Epoch, Position, RoomName};

use crate::error::Result;
use crate::images::StoredImage;

/// How much of a log is kept. A message is removed when it is beyond the newest `len` *and* older than `age`,
/// or beyond the newest `cap`. This is also how long a retried send is recognised.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Messages that are kept however old they are.
    pub len: usize,
    /// Messages this young are kept however many they are, up to `cap`.
    pub age: Duration,
    /// Messages that are kept at most.
    pub cap: usize,
    /// A room that nobody uses for so long is removed whole.
    pub idle: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            len: 1_000,
            age: Duration::from_secs(600),
            cap: 10_000,
            idle: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// One message, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The epoch of the log in which it was stored.
    pub epoch: Epoch,
    /// Its number.
    pub offset: u64,
    /// When it was stored, in milliseconds since 1970, by the store's clock.
    pub ts: u64,
    /// The encoded [`Body`], whichever layout it was stored in.
    pub body: String,
    /// The request that stored it, where that is traced and the entry came by the bus.
    pub trace: Option<Box<Origin>>,
}

/// A log's head, and what is known of its earlier epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The position of the newest message.
    pub position: Position,
    /// Earlier epochs, newest first, each with the greatest offset that survived its end. A position of an
    /// earlier epoch is still valid at or below all of these since.
    pub prior: Vec<Position>,
}

impl Head {
    /// Whether nothing of what a reader at `position` has was rolled back or lost.
    pub fn covers(&self, position: &Position) -> bool {
        if position.epoch == self.position.epoch {
            return position.offset <= self.position.offset;
        }
        for prior in &self.prior {
            if position.offset > prior.offset {
                return false;
            }
            if prior.epoch == position.epoch {
                return true;
            }
        }
        false
    }
}

/// The name of an epoch that may begin; `math.random` in a script repeats after a server's start.
pub(crate) fn candidate_epoch() -> String {
    format!("{:012x}", rand::random::<u64>() >> 16)
}

/// What a node learns when it begins to follow a room.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Where the log stands.
    pub head: Head,
    /// The newest messages, oldest first.
    pub newest: Vec<Entry>,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Messages at most.
    pub entries: usize,
    /// Bytes of their bodies at most, but always one message.
    pub bytes: usize,
}

impl ReadLimit {
    /// So many messages, however long they are.
    pub const fn entries(entries: usize) -> Self {
        Self { entries, bytes: usize::MAX }
    }
}

/// What a reader missed.
#[derive(Debug, Clone)]
pub enum Replay {
    /// Exactly what came after the position, oldest first, up to the head.
    Whole(Opened),
    /// The first messages that came after the position, oldest first, as many as the limit of bytes allows. More follow.
    Part(Vec<Entry>),
    /// The log cannot fill the gap.
    Lost(Head),
}

impl Replay {
    /// Decides whether `entries`, read after `position`, are all that a reader missed, or the first of them.
    pub(crate) fn of(head: Head, position: &Position, entries: Vec<Entry>, limit: ReadLimit) -> Self {
        let mut expected = position.offset;
        let contiguous = entries.iter().all(|entry| {
            expected += 1;
            entry.offset == expected
        });
        if !head.covers(position) || !contiguous {
            return Self::Lost(head);
        }
        let missed = head.position.offset - position.offset;
        if expected == head.position.offset {
            Self::Whole(Opened { head, newest: entries })
        } else if !entries.is_empty() && missed <= u64::try_from(limit.entries).unwrap_or(u64::MAX) {
            Self::Part(entries)
        } else {
            Self::Lost(head)
        }
    }
}

/// A page of the past, oldest first.
#[derive(Debug, Clone)]
pub struct Page {
    /// The messages.
    pub entries: Vec<Entry>,
    /// Whether older ones are kept.
    pub more: bool,
}

/// A message to be stored.
#[derive(Debug, Clone, Copy)]
pub struct PublishRequest<'a> {
    /// The room.
    pub room: &'a RoomName,
    /// The message. Its id is unique in the room.
    pub body: &'a Body,
    /// The image that it refers to, which was stored for this room.
    pub image: Option<&'a StoredImage>,
    /// True where it is sent to Redis at once instead of waiting for the batch window: its sender has more
    /// messages queued behind it, and each of them would wait in turn.
    pub urgent: bool,
}

/// A stored message's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where it is.
    pub position: Position,
    /// When it was stored.
    pub ts: u64,
    /// Whether the id was there already, so that nothing was stored now.
    pub duplicate: bool,
}

/// The log of every room.
#[async_trait]
pub trait RoomLog: Send + Sync {
    /// Stores a message and sends it to every subscribed node, in one step: order in the log is order on the
    /// bus. The same id by the same user answers with the first result.
    ///
    /// # Errors
    /// [`IdTaken`](crate::StoreError::IdTaken), `Unavailable` (nothing was stored), `Unknown`.
    async fn publish(&self, request: PublishRequest<'_>) -> Result<Published>;

    /// The head and the newest messages. Begins an epoch where the room has none.
    async fn open(&self, room: &RoomName, newest: usize) -> Result<Opened>;

    /// What came after a position; `Lost` where that is more messages than the limit, too, and `Part` where it is more
    /// bytes.
    async fn since(&self, room: &RoomName, position: &Position, limit: ReadLimit) -> Result<Replay>;

    /// A page of messages before an offset, or the newest.
    async fn before(&self, room: &RoomName, offset: Option<u64>, limit: ReadLimit) -> Result<Page>;

    /// Postpones the expiry of a room that is in use.
    async fn touch(&self, room: &RoomName) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, offset: u64) -> Position {
        Position { epoch: Epoch::new(epoch), offset }
    }

    #[test]
    fn a_position_survives_a_failover_only_at_or_below_every_surviving_offset() {
        let head = Head { position: at("c", 120), prior: vec![at("b", 100), at("a", 95)] };
        for (position, valid) in [
            (at("c", 120), true),
            (at("c", 121), false),
            (at("b", 100), true),
            (at("b", 101), false),
            (at("a", 95), true),
            (at("a", 96), false),
            (at("x", 1), false),
        ] {
            assert_eq!(head.covers(&position), valid, "{position:?}");
        }
        let shrunk = Head { position: at("c", 60), prior: vec![at("b", 50), at("a", 95)] };
        assert!(!shrunk.covers(&at("a", 90)), "the second failover lost what the first had saved");
    }
}
