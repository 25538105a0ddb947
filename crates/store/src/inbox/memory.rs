//! Inboxes in memory, step by step what `lua/inbox_*.lua` do. Created by the store's `memory.rs`; `messages.rs` has the
//! messages.

use std::sync::Arc;

use async_trait::async_trait;
use roomcast_protocol::{Body, Epoch, Position, UserName};

use super::messages::{Copy, Inboxes, Known, Place};
use super::{Delivery, Inbox, InboxEntry, InboxEvent, InboxPage, Missed};
use crate::bus::memory::Subscribers;
use crate::capacity::Capacity;
use crate::error::{Result, StoreError};
use crate::images::StoredImage;
use crate::log::{Entry, Published, ReadLimit};
use crate::names::memory::MemoryNames;
use crate::person::Person;
use crate::script;
use crate::settings::Settings;

pub(crate) struct MemoryInbox {
    inboxes: Arc<Inboxes>,
    names: Arc<MemoryNames>,
    subscribers: Arc<Subscribers>,
    capacity: Capacity,
    kept: usize,
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
