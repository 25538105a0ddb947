//! The room log in memory, step by step what `lua/log_*.lua` do.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_ops::trace::{Kind, Origin, Span};
use roomcast_protocol::{Body, Epoch, Position, RoomName, UserName};

use super::{
    Entry, Head, Opened, Page, PublishRequest, Published, ReadLimit, Replay, Retention, RoomLog,
    candidate_epoch,
};
use crate::bus::BusEvent;
use crate::bus::memory::Subscribers;
use crate::capacity::Capacity;
use crate::clock::{Clock, milliseconds};
use crate::error::{Result, StoreError};
use crate::images::StoredImage;
use crate::images::kept::Kept;
use crate::script;

pub(crate) struct MemoryLog {
    logs: Mutex<Logs>,
    clock: Clock,
    subscribers: Arc<Subscribers>,
    capacity: Capacity,
}

/// By how much a log's meta outlives the log.
const META_OUTLIVES_MS: u64 = 86_400_000;
/// Fewer rooms than this are never searched for expired ones.
const PURGE_ABOVE: usize = 256;

/// Every room's log.
struct Logs {
    rooms: HashMap<RoomName, Log>,
    retention: Retention,
    /// When there are so many rooms, expired ones are removed.
    purge_at: usize,
}

struct Log {
    epoch: Epoch,
    offset: u64,
    /// With their ids, and the images that they refer to.
    entries: VecDeque<Stored>,
    ids: HashMap<String, Known>,
    /// When the messages expire, and when all of it does, in ms since 1970.
    log_ends: u64,
    meta_ends: u64,
}

type Stored = (String, Entry, Option<Arc<Kept>>);

struct Known {
    user: UserName,
    position: Position,
    ts: u64,
}

impl Log {
    fn begin(now: u64, idle: u64) -> Self {
        Self {
            epoch: Epoch::new(&candidate_epoch()),
            offset: 0,
            entries: VecDeque::new(),
            ids: HashMap::new(),
            log_ends: u64::MAX,
            meta_ends: now.saturating_add(idle).saturating_add(META_OUTLIVES_MS),
        }
    }

    /// Removes what expired; false where that is everything.
    fn expire(&mut self, now: u64) -> bool {
        if self.log_ends <= now {
            self.entries.clear();
            self.ids.clear();
        }
        self.meta_ends > now
    }

    fn refresh(&mut self, now: u64, idle: u64) {
        self.log_ends = now.saturating_add(idle);
        self.meta_ends = self.log_ends.saturating_add(META_OUTLIVES_MS);
    }

    fn head(&self) -> Head {
        Head { position: Position { epoch: self.epoch.clone(), offset: self.offset }, prior: Vec::new() }
    }

    /// How many entries are at or below an offset.
    fn up_to(&self, offset: u64) -> usize {
        self.entries.partition_point(|(_, entry, _)| entry.offset <= offset)
    }

    /// The newest of the first `end` entries, oldest first.
    fn slice(&self, end: usize, limit: ReadLimit) -> Vec<Entry> {
        let newest = self.entries.range(..end).rev();
        let mut entries: Vec<Entry> = limited(newest, limit).collect();
        entries.reverse();
        entries
    }

    /// Two at most, so that trimming keeps up without ever being a burst.
    fn trim(&mut self, now: u64, retention: &Retention) {
        let young = now.saturating_sub(milliseconds(retention.age));
        for _ in 0..2 {
            let length = self.entries.len();
            let Some((_, oldest, _)) = self.entries.front() else { return };
            if length <= retention.len || (length <= retention.cap && oldest.ts >= young) {
                return;
            }
            if let Some((id, ..)) = self.entries.pop_front() {
                self.ids.remove(&id);
            }
        }
    }
}

/// The first entries, as many as the limit allows.
fn limited<'a>(entries: impl Iterator<Item = &'a Stored>, limit: ReadLimit) -> impl Iterator<Item = Entry> {
    let mut bytes = 0_usize;
    let fits = move |(index, (_, entry, _)): &(usize, &Stored)| {
        bytes = bytes.saturating_add(entry.body.len());
        *index == 0 || bytes <= limit.bytes
    };
    entries.take(limit.entries).enumerate().take_while(fits).map(|(_, (_, entry, _))| entry.clone())
}

impl Logs {
    fn new(retention: Retention) -> Self {
        Self { rooms: HashMap::new(), retention, purge_at: PURGE_ABOVE }
    }

    fn idle(&self) -> u64 {
        milliseconds(self.retention.idle)
    }

    /// The log of a room; a new one with a new epoch where there is none.
    fn log(&mut self, room: &RoomName, now: u64) -> &mut Log {
        let idle = self.idle();
        if !self.exists(room, now) {
            if self.rooms.len() >= self.purge_at {
                self.rooms.retain(|_, log| log.expire(now));
                self.purge_at = PURGE_ABOVE.max(2 * self.rooms.len());
            }
            self.rooms.remove(room);
        }
        self.rooms.entry(room.clone()).or_insert_with(|| Log::begin(now, idle))
    }

    /// Whether a room has a log that did not expire.
    fn exists(&mut self, room: &RoomName, now: u64) -> bool {
        self.rooms.get_mut(room).is_some_and(|log| log.expire(now))
    }

    fn publish(&mut self, request: PublishRequest<'_>, now: u64) -> Result<(Published, Option<Entry>)> {
        let (idle, retention) = (self.idle(), self.retention);
        let PublishRequest { room, body, image, .. } = request;
        let Body { id, user, .. } = body;
        let encoded = body.encode().map_err(|error| StoreError::Settings(error.to_string()))?;
        let log = self.log(room, now);
        if let Some(known) = log.ids.get(id) {
            if known.user != *user {
                return Err(StoreError::IdTaken);
            }
            let position = known.position.clone();
            return Ok((Published { position, ts: known.ts, duplicate: true }, None));
        }
        log.offset += 1;
        let position = log.head().position;
        let entry =
            Entry { epoch: log.epoch.clone(), offset: log.offset, ts: now, body: encoded, trace: None };
        let kept = image.and_then(StoredImage::kept).cloned();
        if let Some(kept) = &kept {
            kept.publish();
        }
        log.entries.push_back((id.clone(), entry.clone(), kept));
        log.ids.insert(id.clone(), Known { user: user.clone(), position: position.clone(), ts: now });
        if log.entries.len() == 1 || log.offset.is_multiple_of(64) {
            log.refresh(now, idle);
        }
        log.trim(now, &retention);
        Ok((Published { position, ts: now, duplicate: false }, Some(entry)))
    }
}

impl MemoryLog {
    pub(crate) fn new(retention: Retention, subscribers: Arc<Subscribers>, capacity: Capacity) -> Self {
        Self { logs: Mutex::new(Logs::new(retention)), clock: Clock::new(), subscribers, capacity }
    }

    /// Removes a room's log, unless it had a message. Returns whether there is none now.
    pub(crate) fn forget_if_empty(&self, room: &RoomName) -> bool {
        let mut logs = self.logs.lock();
        if logs.exists(room, self.clock.now()) && logs.rooms.get(room).is_some_and(|log| log.offset > 0) {
            return false;
        }
        logs.rooms.remove(room);
        true
    }

    /// Whether a room has a life that did not run out.
    pub(crate) fn exists(&self, room: &RoomName) -> bool {
        self.logs.lock().exists(room, self.clock.now())
    }
}

#[async_trait]
impl RoomLog for MemoryLog {
    async fn publish(&self, request: PublishRequest<'_>) -> Result<Published> {
        let span = Span::begin("publish", Kind::Producer);
        let (mut logs, now) = (self.logs.lock(), self.clock.now());
        // The script of a new log begins with a removal, after which Redis refuses nothing.
        if logs.exists(request.room, now) {
            self.capacity.check(&script::LOG_PUBLISH)?;
        }
        let (published, stored) = logs.publish(request, now)?;
        if let Some(mut entry) = stored {
            entry.trace = span.trace().map(Origin::now);
            self.subscribers.deliver(request.room, &BusEvent::Message(entry));
        }
        Ok(published)
    }

    async fn open(&self, room: &RoomName, newest: usize) -> Result<Opened> {
        let mut logs = self.logs.lock();
        let log = logs.log(room, self.clock.now());
        Ok(Opened { head: log.head(), newest: log.slice(log.entries.len(), ReadLimit::entries(newest)) })
    }

    async fn since(&self, room: &RoomName, position: &Position, limit: ReadLimit) -> Result<Replay> {
        let mut logs = self.logs.lock();
        let log = logs.log(room, self.clock.now());
        let after = log.entries.range(log.up_to(position.offset)..);
        let entries = limited(after, limit).collect();
        Ok(Replay::of(log.head(), position, entries, limit))
    }

    async fn before(&self, room: &RoomName, offset: Option<u64>, limit: ReadLimit) -> Result<Page> {
        let mut logs = self.logs.lock();
        let log = logs.log(room, self.clock.now());
        let end = offset.map_or(log.entries.len(), |offset| log.up_to(offset.saturating_sub(1)));
        let entries = log.slice(end, limit);
        Ok(Page { more: end > entries.len(), entries })
    }

    async fn touch(&self, room: &RoomName) -> Result<()> {
        let mut logs = self.logs.lock();
        let (now, idle) = (self.clock.now(), logs.idle());
        if logs.exists(room, now)
            && let Some(log) = logs.rooms.get_mut(room)
        {
            log.refresh(now, idle);
        }
        Ok(())
    }
}
