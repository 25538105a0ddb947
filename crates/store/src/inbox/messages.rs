//! The messages of every inbox in memory. Called by `memory.rs`, and by `names/memory.rs`, whose claims say where an inbox
//! ends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roomcast_protocol::{Epoch, Position, UserName};

use super::InboxEntry;
use crate::clock::{Clock, milliseconds};
use crate::images::kept::Kept;
use crate::log::{Entry, Head, candidate_epoch};
use crate::person::Person;
use crate::settings::Settings;

/// Fewer inboxes than this are never searched for expired ones.
const PURGE_ABOVE: usize = 256;
/// The epoch of an inbox that no message has ever reached.
const EPOCH_OF_NONE: &str = "-";

/// Every inbox.
pub(crate) struct Inboxes {
    pub(super) state: Mutex<State>,
    pub(super) clock: Clock,
    pub(super) idle: Duration,
}

pub(super) struct State {
    of: HashMap<Person, Messages>,
    /// When there are so many, expired ones are removed.
    purge_at: usize,
}

pub(super) struct Messages {
    epoch: Epoch,
    offset: u64,
    pub(super) entries: VecDeque<Copy>,
    pub(super) ids: HashMap<Key, Known>,
    /// When the messages expire, and when all of it does, in ms since 1970.
    expires: u64,
    ends: u64,
}

/// One of the two copies of a message.
#[derive(Clone)]
pub(super) struct Copy {
    pub(super) key: Key,
    /// The user at the other end.
    pub(super) other: UserName,
    pub(super) entry: InboxEntry,
    /// The image that it refers to.
    pub(super) image: Option<Arc<Kept>>,
}

/// The sender and the id.
pub(super) type Key = (UserName, String);

pub(super) struct Known {
    pub(super) position: Position,
    pub(super) ts: u64,
    pub(super) other: Person,
}

impl Messages {
    fn begin() -> Self {
        let (entries, ids) = (VecDeque::new(), HashMap::new());
        Self {
            epoch: Epoch::new(&candidate_epoch()),
            offset: 0,
            entries,
            ids,
            expires: u64::MAX,
            ends: u64::MAX,
        }
    }

    /// Removes what expired; false where that is everything.
    fn expire(&mut self, now: u64) -> bool {
        if self.expires <= now {
            self.entries.clear();
            self.ids.clear();
        }
        self.ends > now
    }

    fn keep(&mut self, now: u64, idle: Duration) {
        self.expires = now.saturating_add(milliseconds(idle));
        self.ends = self.expires.saturating_add(milliseconds(idle));
    }

    fn head(&self) -> Head {
        let none = Position { epoch: Epoch::new(EPOCH_OF_NONE), offset: 0 };
        Head { position: Position { epoch: self.epoch.clone(), offset: self.offset }, prior: vec![none] }
    }
}

/// Where a copy is.
pub(super) struct Place {
    pub(super) known: Known,
    pub(super) duplicate: bool,
}

impl Inboxes {
    pub(crate) fn new(settings: &Settings) -> Self {
        let state = Mutex::new(State { of: HashMap::new(), purge_at: PURGE_ABOVE });
        Self { state, clock: Clock::new(), idle: settings.retention.idle }
    }

    /// The position of the newest message, and the result of `step`, during which none comes.
    pub(crate) fn head_with<T>(&self, person: &Person, step: impl FnOnce() -> T) -> (Position, T) {
        let mut state = self.state.lock();
        (state.head(person, self.clock.now(), self.idle).position, step())
    }

    /// Removes what expired of a person's inbox, with the images.
    pub(super) fn expire(&self, person: &Person) {
        self.state.lock().expire(person, self.clock.now());
    }
}

impl State {
    /// Removes what expired of a person's messages.
    fn expire(&mut self, person: &Person, now: u64) {
        if self.of.get_mut(person).is_some_and(|messages| !messages.expire(now)) {
            self.of.remove(person);
        }
    }

    /// A person's messages, where there are any, or were lately.
    pub(super) fn find(&mut self, person: &Person, now: u64, idle: Duration) -> Option<&mut Messages> {
        self.expire(person, now);
        let messages = self.of.get_mut(person)?;
        messages.keep(now, person.idle(idle));
        Some(messages)
    }

    /// Stores one of the two copies, unless it is there.
    pub(super) fn store(
        &mut self,
        (owner, other): (&Person, &Person),
        (key, entry, image): (&Key, InboxEntry, Option<&Arc<Kept>>),
        (now, idle, kept): (u64, Duration, usize),
    ) -> Place {
        if self.of.len() >= self.purge_at {
            self.of.retain(|_, messages| messages.expire(now));
            self.purge_at = PURGE_ABOVE.max(2 * self.of.len());
        }
        let messages = self.of.entry(owner.clone()).or_insert_with(Messages::begin);
        messages.keep(now, owner.idle(idle));
        if let Some(Known { position, ts, other }) = messages.ids.get(key) {
            let known = Known { position: position.clone(), ts: *ts, other: other.clone() };
            return Place { known, duplicate: true };
        }
        messages.offset += 1;
        let position = messages.head().position;
        let Entry { ts, body, .. } = entry.entry;
        let placed = Entry { epoch: position.epoch.clone(), offset: position.offset, ts, body, trace: None };
        let entry = InboxEntry { entry: placed, to: entry.to };
        let (copied, image) = (key.clone(), image.cloned());
        messages.entries.push_back(Copy { key: copied, other: other.user.clone(), entry, image });
        let known = || Known { position: position.clone(), ts, other: other.clone() };
        messages.ids.insert(key.clone(), known());
        while messages.entries.len() > kept {
            if let Some(Copy { key, .. }) = messages.entries.pop_front() {
                messages.ids.remove(&key);
            }
        }
        Place { known: known(), duplicate: false }
    }

    pub(super) fn head(&mut self, person: &Person, now: u64, idle: Duration) -> Head {
        let none =
            || Head { position: Position { epoch: Epoch::new(EPOCH_OF_NONE), offset: 0 }, prior: Vec::new() };
        self.find(person, now, idle).map_or_else(none, |messages| messages.head())
    }
}
