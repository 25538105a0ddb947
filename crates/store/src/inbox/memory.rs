//! Inboxes in memory, step by step what `lua/inbox_*.lua` do.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_protocol::{Body, Epoch, Position, UserName};

use super::{Delivery, Inbox, InboxEntry, InboxEvent, InboxPage, Missed};
use crate::bus::memory::Subscribers;
use crate::capacity::Capacity;
use crate::clock::{Clock, milliseconds};
use crate::error::{Result, StoreError};
use crate::images::StoredImage;
use crate::images::kept::Kept;
use crate::log::{Entry, Head, Published, ReadLimit, candidate_epoch};
use crate::names::memory::MemoryNames;
use crate::person::Person;
use crate::script;
use crate::settings::Settings;

/// Fewer inboxes than this are never searched for expired ones.
const PURGE_ABOVE: usize = 256;
/// The epoch of an inbox that no message has ever reached.
const EPOCH_OF_NONE: &str = "-";

pub(crate) struct MemoryInbox {
    inboxes: Arc<Inboxes>,
    names: Arc<MemoryNames>,
    subscribers: Arc<Subscribers>,
    capacity: Capacity,
    kept: usize,
}

/// Every inbox.
pub(crate) struct Inboxes {
    state: Mutex<State>,
    clock: Clock,
    idle: Duration,
}

struct State {
    of: HashMap<Person, Messages>,
    /// When there are so many, expired ones are removed.
    purge_at: usize,
}

struct Messages {
    epoch: Epoch,
    offset: u64,
    entries: VecDeque<Copy>,
    ids: HashMap<Key, Known>,
    /// When the messages expire, and when all of it does, in ms since 1970.
    expires: u64,
    ends: u64,
}

/// One of the two copies of a message.
#[derive(Clone)]
struct Copy {
    key: Key,
    /// The user at the other end.
    other: UserName,
    entry: InboxEntry,
    /// The image that it refers to.
    image: Option<Arc<Kept>>,
}

/// The sender and the id.
type Key = (UserName, String);

struct Known {
    position: Position,
    ts: u64,
    other: Person,
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
struct Place {
    known: Known,
    duplicate: bool,
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
    fn expire(&self, person: &Person) {
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
    fn find(&mut self, person: &Person, now: u64, idle: Duration) -> Option<&mut Messages> {
        self.expire(person, now);
        let messages = self.of.get_mut(person)?;
        messages.keep(now, person.idle(idle));
        Some(messages)
    }

    /// Stores one of the two copies, unless it is there.
    fn store(
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

    fn head(&mut self, person: &Person, now: u64, idle: Duration) -> Head {
        let none =
            || Head { position: Position { epoch: Epoch::new(EPOCH_OF_NONE), offset: 0 }, prior: Vec::new() };
        self.find(person, now, idle).map_or_else(none, |messages| messages.head())
    }
}

/// The first entries, as many as the limit allows; and whether its bytes ended the list.
fn limited<'a>(entries: impl Iterator<Item = &'a InboxEntry>, limit: ReadLimit) -> (Vec<InboxEntry>, bool) {
    let (mut bytes, mut taken) = (0_usize, Vec::new());
    for entry in entries.take(limit.entries) {
        bytes = bytes.saturating_add(entry.entry.body.len());
        if bytes > limit.bytes && !taken.is_empty() {
            return (taken, true);
        }
        taken.push(entry.clone());
    }
    (taken, false)
}

impl MemoryInbox {
    pub(crate) fn new(
        settings: &Settings,
        inboxes: Arc<Inboxes>,
        (names, subscribers): (Arc<MemoryNames>, Arc<Subscribers>),
        capacity: Capacity,
    ) -> Self {
        Self { inboxes, names, subscribers, capacity, kept: settings.inbox_len }
    }

    /// Removes what expired of a person's inbox, with the images.
    pub(crate) fn expire(&self, person: &Person) {
        self.inboxes.expire(person);
    }

    /// Tells the nodes on which the owner of a copy is connected. Returns whether one received it.
    fn tell(&self, owner: &Person, place: &Place, entry: &InboxEntry) -> bool {
        let Known { position, ts, .. } = &place.known;
        let entry = (!place.duplicate).then(|| {
            let (epoch, offset, body) = (position.epoch.clone(), position.offset, entry.entry.body.clone());
            InboxEntry { entry: Entry { epoch, offset, ts: *ts, body, trace: None }, to: entry.to.clone() }
        });
        let event = InboxEvent { position: position.clone(), entry };
        let online = self.names.owner(&owner.user).filter(|(secret, _)| *secret == owner.secret);
        let nodes = online.map(|(_, nodes)| nodes).unwrap_or_default();
        let receivers = nodes.iter().filter(|node| self.subscribers.deliver_private(node, owner, &event));
        receivers.count() > 0
    }
}

#[async_trait]
impl Inbox for MemoryInbox {
    async fn send(
        &self,
        from: &Person,
        to: &UserName,
        body: &Body,
        image: Option<&StoredImage>,
    ) -> Result<Delivery> {
        let encoded = body.encode().map_err(|error| StoreError::Settings(error.to_string()))?;
        let Inboxes { state, clock, idle } = &*self.inboxes;
        let (key, now) = ((body.user.clone(), body.id.clone()), clock.now());
        let mut inboxes = state.lock();
        let messages = inboxes.find(from, now, *idle);
        let known = messages.as_ref().and_then(|messages| messages.ids.get(&key));
        let recipient = match known {
            Some(known) if known.other.user != *to => return Err(StoreError::IdTaken),
            Some(known) => known.other.clone(),
            None => match self.names.owner(to) {
                Some((secret, _)) => {
                    self.capacity.check(&script::INBOX_STORE)?;
                    Person { user: to.clone(), secret }
                }
                None => return Ok(Delivery::Offline),
            },
        };
        // What an earlier attempt stored stands.
        let first =
            messages.and_then(|messages| messages.entries.iter().find(|copy| copy.key == key)).cloned();
        let (first, image) = match first {
            Some(Copy { entry, image, .. }) => (Some(entry.entry.body), image),
            None => (None, image.and_then(StoredImage::kept).cloned()),
        };
        let encoded = first.clone().unwrap_or(encoded);
        let kept = (now, *idle, self.kept);
        let entry = Entry { epoch: Epoch::new(""), offset: 0, ts: now, body: encoded, trace: None };
        let mut entry = InboxEntry { entry, to: to.clone() };
        let place = inboxes.store((from, &recipient), (&key, entry.clone(), image.as_ref()), kept);
        let Known { position, ts, .. } = &place.known;
        let published = Published { position: position.clone(), ts: *ts, duplicate: place.duplicate };
        let mut delivered = self.tell(from, &place, &entry);
        if recipient != *from {
            entry.entry.ts = *ts;
            let received = inboxes.store((&recipient, from), (&key, entry.clone(), image.as_ref()), kept);
            delivered = self.tell(&recipient, &received, &entry);
        }
        if let Some(image) = &image {
            image.publish_to(&recipient);
        }
        Ok(Delivery::Sent { published, delivered, first })
    }

    async fn head(&self, person: &Person) -> Result<Position> {
        Ok(self.inboxes.head_with(person, || ()).0)
    }

    async fn since(&self, person: &Person, position: &Position, limit: ReadLimit) -> Result<Missed> {
        let Inboxes { state, clock, idle } = &*self.inboxes;
        let (mut inboxes, now) = (state.lock(), clock.now());
        let head = inboxes.head(person, now, *idle);
        let messages = inboxes.find(person, now, *idle);
        let entries = messages.iter().flat_map(|messages| &messages.entries).map(|copy| &copy.entry);
        let (entries, _) = limited(entries.filter(|at| at.entry.offset > position.offset), limit);
        Ok(Missed::of(head, position, entries))
    }

    async fn conversation(
        &self,
        person: &Person,
        other: &UserName,
        before: Option<u64>,
        limit: ReadLimit,
    ) -> Result<InboxPage> {
        let Inboxes { state, clock, idle } = &*self.inboxes;
        let mut inboxes = state.lock();
        let messages = inboxes.find(person, clock.now(), *idle);
        let newest = messages.iter().flat_map(|messages| messages.entries.iter().rev());
        let with = newest.filter(|copy| copy.other == *other).map(|copy| &copy.entry);
        let with = with.filter(|at| before.is_none_or(|before| at.entry.offset < before));
        let one_more = ReadLimit { entries: limit.entries + 1, ..limit };
        let (mut entries, cut) = limited(with, one_more);
        let more = entries.len() > limit.entries;
        entries.truncate(limit.entries);
        entries.reverse();
        Ok(InboxPage { entries, more: more || cut })
    }
}
