//! The room log in memory, step by step what `lua/log_*.lua` do.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_ops::trace::{Kind, Origin, Span};
use roomcast_protocol::{Epoch, Position, RoomName, UserName};

use super::{Entry, Head, Opened, Page, Published, Replay, Retention, RoomLog, SendRequest};
use crate::bus::News;
use crate::bus::memory::Subscribers;
use crate::clock::{Clock, milliseconds};
use crate::error::{Result, StoreError};

pub(crate) struct MemoryLog {
    logs: Mutex<Logs>,
    clock: Clock,
    subscribers: Arc<Subscribers>,
}

/// By how much a log's meta outlives the log.
const META_OUTLIVES_MS: u64 = 86_400_000;
/// Fewer rooms than this are never searched for forgotten ones.
const PURGE_ABOVE: usize = 256;

/// Every room's log.
struct Logs {
    rooms: HashMap<RoomName, Log>,
    retention: Retention,
    /// So many rooms, and those that nobody uses are looked for.
    purge_at: usize,
}

struct Log {
    epoch: Epoch,
    offset: u64,
    entries: VecDeque<(String, Entry)>,
    ids: HashMap<String, Known>,
    log_ends: u64,
    meta_ends: u64,
}

struct Known {
    user: UserName,
    position: Position,
    ts: u64,
}

impl Log {
    fn begin(now: u64, idle: u64) -> Self {
        Self {
            epoch: Epoch::new(&format!("{:012x}", rand::random::<u64>() >> 16)),
            offset: 0,
            entries: VecDeque::new(),
            ids: HashMap::new(),
            log_ends: u64::MAX,
            meta_ends: now.saturating_add(idle).saturating_add(META_OUTLIVES_MS),
        }
    }

    /// Forgets what nobody used for too long; false where that is everything.
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
        self.entries.partition_point(|(_, entry)| entry.offset <= offset)
    }

    /// The newest so many of the first `end` entries, oldest first.
    fn slice(&self, end: usize, limit: usize) -> Vec<Entry> {
        let begin = end.saturating_sub(limit);
        self.entries.range(begin..end).map(|(_, entry)| entry.clone()).collect()
    }

    /// Two at most, so that trimming keeps up without ever being a burst.
    fn trim(&mut self, now: u64, retention: &Retention) {
        let young = now.saturating_sub(milliseconds(retention.age));
        for _ in 0..2 {
            let length = self.entries.len();
            let Some((_, oldest)) = self.entries.front() else { return };
            if length <= retention.len || (length <= retention.cap && oldest.ts >= young) {
                return;
            }
            if let Some((id, _)) = self.entries.pop_front() {
                self.ids.remove(&id);
            }
        }
    }
}

impl Logs {
    fn new(retention: Retention) -> Self {
        Self { rooms: HashMap::new(), retention, purge_at: PURGE_ABOVE }
    }

    fn idle(&self) -> u64 {
        milliseconds(self.retention.idle)
    }

    /// The log of a room, begun where it has no life.
    fn life(&mut self, room: &RoomName, now: u64) -> &mut Log {
        let idle = self.idle();
        if !self.is_remembered(room, now) {
            if self.rooms.len() >= self.purge_at {
                self.rooms.retain(|_, log| log.expire(now));
                self.purge_at = PURGE_ABOVE.max(2 * self.rooms.len());
            }
            self.rooms.remove(room);
        }
        self.rooms.entry(room.clone()).or_insert_with(|| Log::begin(now, idle))
    }

    /// Whether a room has a life that did not run out.
    fn is_remembered(&mut self, room: &RoomName, now: u64) -> bool {
        self.rooms.get_mut(room).is_some_and(|log| log.expire(now))
    }

    fn publish(&mut self, request: SendRequest<'_>, now: u64) -> Result<(Published, Option<Entry>)> {
        let (idle, retention) = (self.idle(), self.retention);
        let SendRequest { room, id, user, tail, .. } = request;
        let log = self.life(room, now);
        if let Some(known) = log.ids.get(id) {
            if known.user != *user {
                return Err(StoreError::IdTaken);
            }
            let position = known.position.clone();
            return Ok((Published { position, ts: known.ts, duplicate: true }, None));
        }
        log.offset += 1;
        let position = log.head().position;
        let entry = Entry {
            epoch: log.epoch.clone(),
            offset: log.offset,
            ts: now,
            tail: tail.to_owned(),
            trace: None,
        };
        log.entries.push_back((id.to_owned(), entry.clone()));
        log.ids.insert(id.to_owned(), Known { user: user.clone(), position: position.clone(), ts: now });
        if log.entries.len() == 1 || log.offset.is_multiple_of(64) {
            log.refresh(now, idle);
        }
        log.trim(now, &retention);
        Ok((Published { position, ts: now, duplicate: false }, Some(entry)))
    }
}

impl MemoryLog {
    pub(crate) fn new(retention: Retention, subscribers: Arc<Subscribers>) -> Self {
        Self { logs: Mutex::new(Logs::new(retention)), clock: Clock::new(), subscribers }
    }

    /// Whether a room has a life that did not run out.
    pub(crate) fn is_remembered(&self, room: &RoomName) -> bool {
        self.logs.lock().is_remembered(room, self.clock.now())
    }
}

#[async_trait]
impl RoomLog for MemoryLog {
    async fn publish(&self, request: SendRequest<'_>) -> Result<Published> {
        let span = Span::begin("publish", Kind::Producer);
        let mut logs = self.logs.lock();
        let (published, stored) = logs.publish(request, self.clock.now())?;
        if let Some(mut entry) = stored {
            entry.trace = span.trace().map(Origin::now);
            self.subscribers.tell(request.room, &News::Message(entry));
        }
        Ok(published)
    }

    async fn open(&self, room: &RoomName, newest: usize) -> Result<Opened> {
        let mut logs = self.logs.lock();
        let log = logs.life(room, self.clock.now());
        Ok(Opened { head: log.head(), newest: log.slice(log.entries.len(), newest) })
    }

    async fn since(&self, room: &RoomName, position: &Position, limit: usize) -> Result<Replay> {
        let mut logs = self.logs.lock();
        let log = logs.life(room, self.clock.now());
        let after = log.entries.range(log.up_to(position.offset)..);
        let entries = after.take(limit).map(|(_, entry)| entry.clone()).collect();
        Ok(Replay::judge(log.head(), position, entries))
    }

    async fn before(&self, room: &RoomName, offset: Option<u64>, limit: usize) -> Result<Page> {
        let mut logs = self.logs.lock();
        let log = logs.life(room, self.clock.now());
        let end = offset.map_or(log.entries.len(), |offset| log.up_to(offset.saturating_sub(1)));
        Ok(Page { entries: log.slice(end, limit), more: end > limit })
    }

    async fn touch(&self, room: &RoomName) -> Result<()> {
        let mut logs = self.logs.lock();
        let (now, idle) = (self.clock.now(), logs.idle());
        if logs.is_remembered(room, now)
            && let Some(log) = logs.rooms.get_mut(room)
        {
            log.refresh(now, idle);
        }
        Ok(())
    }
}
