//! Presence in memory: the same steps as `lua/presence_*.lua`.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_protocol::{RoomName, UserName};

use super::{Change, MAX_NAMES_PER_EVENT, Presence, RoomState, RoomsPage, SWEEP_STEP, UsersPage, Version};
use crate::bus::BusEvent;
use crate::bus::memory::Subscribers;
use crate::capacity::Capacity;
use crate::clock::Clock;
use crate::error::Result;
use crate::log::memory::MemoryLog;
use crate::nodes::Incarnation;

pub(crate) struct MemoryPresence {
    rooms: Mutex<Rooms>,
    clock: Clock,
    /// Has the rooms that are not forgotten.
    log: Arc<MemoryLog>,
    subscribers: Arc<Subscribers>,
    capacity: Capacity,
}

/// For how long the numbering of an empty room is kept.
const EMPTY_KEPT_MS: u64 = 86_400_000;
/// Fewer rooms than this are never searched for forgotten ones.
const PURGE_ABOVE: usize = 256;

/// The facts of each room, and the indexes.
#[derive(Default)]
struct Rooms {
    rooms: HashMap<RoomName, Room>,
    index: BTreeSet<RoomName>,
    /// Rooms in which an incarnation may have facts, for its sweep.
    of_node: HashMap<Incarnation, BTreeSet<RoomName>>,
    /// With this many rooms, those that were empty for too long are removed.
    purge_at: usize,
}

#[derive(Default)]
struct Room {
    users: HashMap<UserName, BTreeSet<Incarnation>>,
    facts: HashMap<Incarnation, BTreeSet<UserName>>,
    /// The dialect of each open name.
    dialects: HashMap<UserName, String>,
    sequences: HashMap<Incarnation, u64>,
    version: Version,
    /// When an empty room is forgotten.
    ends: Option<u64>,
}

/// The changes of the whole room.
#[derive(Default)]
struct Difference {
    joined: Vec<UserName>,
    left: Vec<UserName>,
}

impl Room {
    /// A user's first fact is a join.
    fn add(&mut self, node: &Incarnation, user: &UserName, difference: &mut Difference) {
        if self.facts.entry(node.clone()).or_default().insert(user.clone()) {
            let by = self.users.entry(user.clone()).or_default();
            if by.is_empty() {
                difference.joined.push(user.clone());
            }
            by.insert(node.clone());
        }
    }

    /// The removal of the last fact is a leave.
    fn drop(&mut self, node: &Incarnation, user: &UserName, difference: &mut Difference) {
        let Some(facts) = self.facts.get_mut(node) else { return };
        if !facts.remove(user) {
            return;
        }
        if facts.is_empty() {
            self.facts.remove(node);
        }
        if let Some(by) = self.users.get_mut(user) {
            by.remove(node);
            if by.is_empty() {
                self.users.remove(user);
                self.dialects.remove(user);
                difference.left.push(user.clone());
            }
        }
    }

    /// Whether a user who arrives is another person than the one that the room has under the name.
    fn replaces(&mut self, user: &UserName, dialect: Option<&String>) -> bool {
        let replaced = self.users.contains_key(user) && self.dialects.get(user) != dialect;
        if replaced {
            match dialect {
                Some(dialect) => self.dialects.insert(user.clone(), dialect.clone()),
                None => self.dialects.remove(user),
            };
        }
        replaced
    }

    fn facts_of(&self, node: &Incarnation, limit: usize) -> Vec<UserName> {
        self.facts.get(node).into_iter().flatten().take(limit).cloned().collect()
    }

    /// Publishes the changes in chunks of limited size, each with the next number and with the count after it.
    fn publish_changes(
        &mut self,
        room: &RoomName,
        difference: Difference,
        now: u64,
        subscribers: &Subscribers,
    ) {
        self.ends = self.users.is_empty().then(|| now.saturating_add(EMPTY_KEPT_MS));
        let Difference { joined, left } = difference;
        if joined.is_empty() && left.is_empty() {
            return;
        }
        if self.version.generation.is_empty() {
            self.version.generation = format!("{:08x}", rand::random::<u32>());
        }
        let mut count = (self.users.len() + left.len()).saturating_sub(joined.len());
        let changes: Vec<(bool, UserName)> = joined
            .into_iter()
            .map(|user| (true, user))
            .chain(left.into_iter().map(|user| (false, user)))
            .collect();
        for chunk in changes.chunks(MAX_NAMES_PER_EVENT) {
            let side = |is_join| {
                chunk.iter().filter(move |(side, _)| *side == is_join).map(|(_, user)| user.clone())
            };
            let (joined, left): (Vec<_>, Vec<_>) = (side(true).collect(), side(false).collect());
            count = (count + joined.len()).saturating_sub(left.len());
            self.version.number += 1;
            let version = self.version.clone();
            subscribers.deliver(room, &BusEvent::Presence { version, count, joined, left });
        }
    }
}

impl Rooms {
    /// A room, unless it was empty for too long.
    fn get(&mut self, room: &RoomName, now: u64) -> Option<&mut Room> {
        if self.rooms.get(room)?.ends.is_some_and(|ends| ends <= now) {
            self.rooms.remove(room);
        }
        self.rooms.get_mut(room)
    }

    fn write(
        &mut self,
        room: &RoomName,
        node: &Incarnation,
        sequence: u64,
        change: &Change,
        now: u64,
        (subscribers, capacity): (&Subscribers, &Capacity),
    ) -> Result<bool> {
        if self.get(room, now).is_none() && self.rooms.len() >= self.purge_at.max(PURGE_ABOVE) {
            self.rooms.retain(|_, room| room.ends.is_none_or(|ends| ends > now));
            self.purge_at = 2 * self.rooms.len();
        }
        let facts = self.rooms.entry(room.clone()).or_default();
        let last = facts.sequences.get(node);
        if last.is_some_and(|last| *last >= sequence) || last.is_none() && change.continues {
            return Ok(false);
        }
        capacity.check(change.script())?;
        facts.sequences.insert(node.clone(), sequence);
        let dialects: HashMap<_, _> = change.open.iter().map(|(user, dialect)| (user, dialect)).collect();
        let (replaced, same): (Vec<UserName>, Vec<UserName>) = change
            .arrived
            .iter()
            .cloned()
            .partition(|user| facts.replaces(user, dialects.get(user).copied()));
        let has_others =
            |user: &UserName| facts.users.get(user).is_some_and(|by| by.iter().any(|by| by != node));
        let returned: Vec<UserName> = same.into_iter().filter(has_others).collect();
        let mut difference = Difference::default();
        for user in &change.here {
            facts.add(node, user, &mut difference);
        }
        for user in &difference.joined {
            if let Some(&dialect) = dialects.get(user) {
                facts.dialects.insert(user.clone(), dialect.clone());
            }
        }
        for user in &change.gone {
            facts.drop(node, user, &mut difference);
        }
        if change.whole {
            let kept: BTreeSet<_> = change.here.iter().collect();
            for user in facts.facts_of(node, usize::MAX) {
                if !kept.contains(&user) {
                    facts.drop(node, &user, &mut difference);
                }
            }
        }
        // After the new facts, so that no leave is published for users who are still here.
        for former in &change.former {
            for user in facts.facts_of(former, usize::MAX) {
                facts.drop(former, &user, &mut difference);
            }
            facts.sequences.remove(former);
        }
        facts.publish_changes(room, difference, now, subscribers);
        for users in returned.chunks(MAX_NAMES_PER_EVENT) {
            subscribers.deliver(room, &BusEvent::Returned { node: node.clone(), users: users.to_vec() });
        }
        for users in replaced.chunks(MAX_NAMES_PER_EVENT) {
            subscribers.deliver(room, &BusEvent::Replaced { node: node.clone(), users: users.to_vec() });
        }
        Ok(true)
    }

    /// Removes some facts of a dead incarnation; fewer than `most` means that none are left.
    fn sweep(
        &mut self,
        room: &RoomName,
        node: &Incarnation,
        most: usize,
        now: u64,
        subscribers: &Subscribers,
    ) -> usize {
        let Some(facts) = self.get(room, now) else { return 0 };
        let found = facts.facts_of(node, most);
        let mut difference = Difference::default();
        for user in &found {
            facts.drop(node, user, &mut difference);
        }
        if found.len() < most {
            facts.sequences.remove(node);
        }
        facts.publish_changes(room, difference, now, subscribers);
        found.len()
    }

    fn count(&self, room: &RoomName) -> usize {
        self.rooms.get(room).map_or(0, |room| room.users.len())
    }

    /// Removes all of a room without a user, which no node has open and whose log never had a message.
    fn forget_if_unused(&mut self, name: &RoomName, log: &MemoryLog) {
        let used = |room: &Room| !room.users.is_empty() || !room.sequences.is_empty();
        if !self.rooms.get(name).is_some_and(used) && log.forget_if_empty(name) {
            self.rooms.remove(name);
            self.index.remove(name);
        }
    }
}

impl MemoryPresence {
    pub(crate) fn new(log: Arc<MemoryLog>, subscribers: Arc<Subscribers>, capacity: Capacity) -> Self {
        Self { rooms: Mutex::default(), clock: Clock::new(), log, subscribers, capacity }
    }

    /// `fact NODE ROOM USER`, `sequence NODE ROOM`, `room NODE ROOM`.
    pub(crate) fn entries(&self) -> Vec<String> {
        let (rooms, mut entries) = (self.rooms.lock(), Vec::new());
        for (name, room) in &rooms.rooms {
            for (node, users) in &room.facts {
                entries.extend(users.iter().map(|user| format!("fact {node:?} {name} {user}")));
            }
            entries.extend(room.sequences.keys().map(|node| format!("sequence {node:?} {name}")));
        }
        for (node, names) in &rooms.of_node {
            entries.extend(names.iter().map(|name| format!("room {node:?} {name}")));
        }
        entries
    }
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn write(
        &self,
        room: &RoomName,
        node: &Incarnation,
        sequence: u64,
        change: &Change,
    ) -> Result<bool> {
        let context = (&*self.subscribers, &self.capacity);
        self.rooms.lock().write(room, node, sequence, change, self.clock.now(), context)
    }

    async fn index(&self, room: &RoomName, node: &Incarnation) -> Result<()> {
        self.capacity.check_command()?;
        let rooms = &mut *self.rooms.lock();
        rooms.of_node.entry(node.clone()).or_default().insert(room.clone());
        // One that was empty for too long is replaced.
        rooms.get(room, self.clock.now());
        rooms.rooms.entry(room.clone()).or_default().sequences.entry(node.clone()).or_insert(0);
        rooms.index.insert(room.clone());
        Ok(())
    }

    async fn close(&self, room: &RoomName, node: &Incarnation, sequence: u64) -> Result<()> {
        let mut rooms = self.rooms.lock();
        if let Some(facts) = rooms.get(room, self.clock.now()) {
            if facts.sequences.get(node).is_some_and(|last| *last > sequence) {
                return Ok(());
            }
            facts.sequences.remove(node);
        }
        if let Some(indexed) = rooms.of_node.get_mut(node) {
            indexed.remove(room);
        }
        rooms.forget_if_unused(room, &self.log);
        Ok(())
    }

    async fn sweep(&self, node: &Incarnation) -> Result<(usize, usize)> {
        let rooms: Vec<_> = self.rooms.lock().of_node.get(node).into_iter().flatten().cloned().collect();
        let mut facts = 0;
        for room in &rooms {
            loop {
                let now = self.clock.now();
                let mut rooms = self.rooms.lock();
                let removed = rooms.sweep(room, node, SWEEP_STEP, now, &self.subscribers);
                facts += removed;
                if removed < SWEEP_STEP {
                    rooms.forget_if_unused(room, &self.log);
                    break;
                }
            }
        }
        Ok((rooms.len(), facts))
    }

    async fn forget(&self, node: &Incarnation) -> Result<()> {
        self.rooms.lock().of_node.remove(node);
        Ok(())
    }

    async fn read(&self, room: &RoomName, max_users: usize) -> Result<RoomState> {
        let mut rooms = self.rooms.lock();
        let Some(room) = rooms.get(room, self.clock.now()) else {
            return Ok(RoomState { users: Some(Vec::new()), ..RoomState::default() });
        };
        let count = room.users.len();
        let users = (count <= max_users).then(|| room.users.keys().cloned().collect());
        Ok(RoomState { version: room.version.clone(), count, users })
    }

    async fn is_present(&self, room: &RoomName, user: &UserName) -> Result<bool> {
        let mut rooms = self.rooms.lock();
        Ok(rooms.get(room, self.clock.now()).is_some_and(|room| room.users.contains_key(user)))
    }

    async fn users(&self, room: &RoomName, cursor: Option<&str>, limit: usize) -> Result<UsersPage> {
        let users = self.rooms.lock().rooms.get(room).map(|room| room.users.keys().cloned().collect());
        let after = cursor.and_then(|cursor| cursor.strip_prefix('n'));
        Ok(UsersPage::of(users.unwrap_or_default(), after, limit))
    }

    async fn rooms(&self, cursor: Option<&str>, limit: usize) -> Result<RoomsPage> {
        let mut rooms = self.rooms.lock();
        let after = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut found, mut forgotten, mut last) = (Vec::new(), Vec::new(), None);
        for room in rooms.index.range::<str, _>((after, Bound::Unbounded)) {
            if found.len() == limit {
                last = found.last().map(|(room, _): &(RoomName, usize)| room.to_string());
                break;
            }
            match rooms.count(room) {
                0 if !self.log.exists(room) && !rooms.rooms.contains_key(room) => {
                    forgotten.push(room.clone())
                }
                count => found.push((room.clone(), count)),
            }
        }
        for room in forgotten {
            rooms.index.remove(&room);
        }
        Ok(RoomsPage { rooms: found, cursor: last })
    }

    async fn rooms_of(&self, user: &UserName, nodes: &[Incarnation]) -> Result<Vec<RoomName>> {
        let rooms = self.rooms.lock();
        let is_here = |room: &&RoomName, node: &Incarnation| {
            let facts = rooms.rooms.get(*room).and_then(|room| room.facts.get(node));
            facts.is_some_and(|users| users.contains(user))
        };
        let mut found = BTreeSet::new();
        for node in nodes {
            let indexed = rooms.of_node.get(node).into_iter().flatten();
            found.extend(indexed.filter(|room| is_here(room, node)).cloned());
        }
        Ok(found.into_iter().collect())
    }
}
