//! Private messages: each person has an inbox with those that they sent and received, numbered like a room's log. A
//! person is a name together with its secret, so that nobody reads what was written to an earlier owner of the name.
//! Called by the gateway's commands and by its `inbox/`; implemented in `inbox/memory.rs` and `inbox/redis.rs`.

pub(crate) mod memory;
pub(crate) mod messages;
pub(crate) mod redis;

use std::time::Duration;

use async_trait::async_trait;
use roomcast_protocol::{Body, Position, UserName};

use crate::error::Result;
use crate::images::StoredImage;
use crate::log::{Entry, Head, Published, ReadLimit};
use crate::person::Person;

/// How long the inbox of an open name is kept after its last message. Nobody can ever read it again once the
/// connection is gone, for nobody has its secret.
const OPEN_IDLE: Duration = Duration::from_secs(600);

impl Person {
    /// How long the person's inbox is kept without use, where those of proved names are for `idle`.
    pub(crate) fn idle(&self, idle: Duration) -> Duration {
        if self.secret.is_proved() { idle } else { idle.min(OPEN_IDLE) }
    }
}

/// A message in an inbox. The sender is in its body; either the sender or `to` is the owner of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// The message, at its place in this inbox.
    pub entry: Entry,
    /// Whom it was sent to.
    pub to: UserName,
}

/// What a node is told of one person's inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEvent {
    /// The place of the message.
    pub position: Position,
    /// The message; none where it was stored by an earlier attempt, so that it must be read.
    pub entry: Option<InboxEntry>,
}

/// The result of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It is in both inboxes.
    Sent {
        /// Its place in the sender's inbox.
        published: Published,
        /// Whether a node on which the recipient is connected took it.
        delivered: bool,
        /// The body that an earlier attempt stored, which stands.
        first: Option<String>,
    },
    /// No user of that name is online. Nothing was stored.
    Offline,
}

/// What a reader of an inbox missed.
#[derive(Debug, Clone)]
pub struct Missed {
    /// The position of the newest message.
    pub head: Position,
    /// What came after the reader's position, oldest first, as much as the limit allows; empty where some of it is lost.
    pub entries: Vec<InboxEntry>,
    /// Some messages after the position cannot be read any more.
    pub lost: bool,
}

impl Missed {
    /// Decides whether `entries` are the first of those that a reader at `position` missed.
    fn of(head: Head, position: &Position, mut entries: Vec<InboxEntry>) -> Self {
        let contiguous =
            entries.iter().zip(position.offset + 1..).all(|(at, offset)| at.entry.offset == offset);
        let any = !entries.is_empty() || head.position.offset <= position.offset;
        // Whoever had nothing has lost nothing where there is nothing.
        let covered = head.covers(position) || (position.offset == 0 && head.position.offset == 0);
        let lost = !(contiguous && any && covered);
        if lost {
            entries.clear();
        }
        Self { head: head.position, entries, lost }
    }

    /// Whether the entries reach up to the head.
    pub fn is_complete(&self) -> bool {
        self.lost || self.entries.last().is_none_or(|last| last.entry.offset == self.head.offset)
    }
}

/// A page of the private messages of two users, oldest first.
#[derive(Debug, Clone)]
pub struct InboxPage {
    /// The messages.
    pub entries: Vec<InboxEntry>,
    /// Whether older ones are kept.
    pub more: bool,
}

/// The inbox of every person.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Stores a message in the inboxes of both users and sends it to the nodes on which they are connected. The same id
    /// of the same sender answers with the first result, whether or not the recipient is still online. The image is what
    /// the body refers to, stored for this sender; it stays as long as one of the inboxes keeps the message.
    ///
    /// # Errors
    /// [`IdTaken`](crate::StoreError::IdTaken) where the id is that of a message to another user, `Unavailable` (nothing
    /// was stored), `Unknown` (repeating it with the same id completes it).
    async fn send(
        &self,
        from: &Person,
        to: &UserName,
        body: &Body,
        image: Option<&StoredImage>,
    ) -> Result<Delivery>;

    /// The position of the newest message.
    async fn head(&self, person: &Person) -> Result<Position>;

    /// What came after a position. The limit of entries has no effect on whether some are lost.
    async fn since(&self, person: &Person, position: &Position, limit: ReadLimit) -> Result<Missed>;

    /// A page of what a person and another user wrote to each other, before an offset, or the newest.
    async fn conversation(
        &self,
        person: &Person,
        other: &UserName,
        before: Option<u64>,
        limit: ReadLimit,
    ) -> Result<InboxPage>;
}

#[cfg(test)]
mod tests {
    use roomcast_protocol::Epoch;

    use super::*;

    fn missed(position: (&str, u64), head: (&str, u64), prior: &[(&str, u64)], offsets: &[u64]) -> Missed {
        let at = |(epoch, offset): (&str, u64)| Position { epoch: Epoch::new(epoch), offset };
        let head = Head { position: at(head), prior: prior.iter().map(|prior| at(*prior)).collect() };
        let entry = |offset: &u64| InboxEntry {
            entry: Entry {
                epoch: head.position.epoch.clone(),
                offset: *offset,
                ts: 1,
                body: "{}".into(),
                trace: None,
            },
            to: UserName::parse("bob").unwrap(),
        };
        let entries = offsets.iter().map(entry).collect();
        Missed::of(head.clone(), &at(position), entries)
    }

    #[test]
    fn what_was_missed_is_whole_or_lost() {
        let whole = missed(("a", 3), ("a", 5), &[], &[4, 5]);
        assert!(!whole.lost && whole.is_complete());
        let part = missed(("a", 3), ("a", 5), &[], &[4]);
        assert!(!part.lost && !part.is_complete());
        assert!(!missed(("a", 5), ("a", 5), &[], &[]).lost);
        assert!(missed(("a", 3), ("a", 5), &[], &[5]).lost, "trimmed");
        assert!(missed(("a", 3), ("a", 5), &[], &[]).lost, "expired");
        assert!(missed(("x", 3), ("a", 4), &[], &[4]).lost, "another epoch");
        assert!(missed(("a", 6), ("a", 5), &[], &[]).lost, "rolled back");
        assert!(!missed(("-1", 0), ("a", 1), &[("-1", 0)], &[1]).lost, "the first message");
        assert!(missed(("-2", 0), ("a", 1), &[("-1", 0)], &[1]).lost, "another server");
        assert!(!missed(("-2", 0), ("-1", 0), &[], &[]).lost, "nothing on either server");
    }
}
