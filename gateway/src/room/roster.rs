//! Who is in one room, as this node sees it: its own users (with their grace), what of that the store
//! knows, the cluster's view, and the coalesced news of it. Pure. Called by `room/state.rs`.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::{Duration, Instant};

use roomcast_protocol::UserName;
use roomcast_protocol::ack::Online;
use roomcast_protocol::limits::MAX_LISTED_USERS;
use roomcast_store::{Change, RoomState, Version};

/// Differences are told at most so often.
pub(crate) const COALESCE: Duration = Duration::from_secs(1);
/// Arrivals are written at most so often: the first at once, those of a flock behind it together.
const PACE: Duration = Duration::from_millis(100);
/// A write that failed is tried again after so long.
const RETRY: Duration = Duration::from_millis(500);
/// News that may wait while the state is being read; more make it be read again.
const STASH: usize = 256;
/// Users of one write, at most.
const WRITE_AT_ONCE: usize = 500;

/// How a connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It said so: at once.
    Left,
    /// Its transport went: the user may come back.
    Vanished,
}

/// What members are told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Differences { joined: Vec<UserName>, left: Vec<UserName>, count: usize },
    Snapshot(Online),
}

#[derive(Default)]
struct Local {
    connections: usize,
    grace_until: Option<Instant>,
}

pub(crate) struct Roster {
    grace: Duration,
    local: BTreeMap<UserName, Local>,
    /// Ends of graces, oldest first; one whose user came back or went for good is stale.
    graces: VecDeque<(Instant, UserName)>,
    written: HashSet<UserName>,
    /// Those who are in one of the two and not in the other, so that finding what to write costs what
    /// changed and not what there is.
    unwritten: HashSet<UserName>,
    writing: Option<Change>,
    paced_until: Option<Instant>,
    /// Somebody left since the last write: that is written at once.
    urgent: bool,
    whole: bool,
    not_before: Option<Instant>,
    version: Version,
    count: usize,
    users: Option<BTreeSet<UserName>>,
    reading: bool,
    /// News that came while the state is being read: applied behind it.
    stash: Vec<(Version, usize, Vec<UserName>, Vec<UserName>)>,
    missed: bool,
    joined: BTreeSet<UserName>,
    left: BTreeSet<UserName>,
    told_count: usize,
    told_at: Option<Instant>,
}

impl Roster {
    pub(crate) fn begin(grace: Duration, state: RoomState) -> Self {
        let mut roster = Self {
            grace,
            local: BTreeMap::new(),
            graces: VecDeque::new(),
            written: HashSet::new(),
            unwritten: HashSet::new(),
            writing: None,
            paced_until: None,
            urgent: false,
            whole: false,
            not_before: None,
            version: Version::default(),
            count: 0,
            users: None,
            reading: false,
            stash: Vec::new(),
            missed: false,
            joined: BTreeSet::new(),
            left: BTreeSet::new(),
            told_count: 0,
            told_at: None,
        };
        roster.take(state);
        roster.told_count = roster.count;
        roster
    }

    // --- this node's own users ---------------------------------------------------------------

    pub(crate) fn arrive(&mut self, user: &UserName) {
        let local = self.local.entry(user.clone()).or_default();
        local.connections += 1;
        local.grace_until = None;
        self.compare(user);
    }

    pub(crate) fn depart(&mut self, user: &UserName, how: Departure, now: Instant) {
        let Some(local) = self.local.get_mut(user) else { return };
        local.connections = local.connections.saturating_sub(1);
        if local.connections > 0 {
            return;
        }
        match how {
            Departure::Left => {
                self.local.remove(user);
                self.urgent = true;
                self.compare(user);
            }
            Departure::Vanished => {
                let until = now + self.grace;
                local.grace_until = Some(until);
                self.graces.push_back((until, user.clone()));
            }
        }
    }

    /// Nobody of this node is here, and the store knows it.
    pub(crate) fn is_clear(&self) -> bool {
        self.local.is_empty() && self.written.is_empty() && self.writing.is_none()
    }

    /// What the store should be told, where nothing is under way. The caller hands the result to
    /// [`Roster::wrote`].
    pub(crate) fn next_write(&mut self, now: Instant) -> Option<Change> {
        if self.writing.is_some() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        self.not_before = None;
        if !self.whole && !self.urgent && self.paced_until.is_some_and(|at| at > now) {
            return None;
        }
        let change = if self.whole {
            Change { whole: true, here: self.local.keys().cloned().collect(), gone: Vec::new() }
        } else {
            let some = self.unwritten.iter().take(WRITE_AT_ONCE).cloned();
            let (here, gone) = some.partition(|user| self.local.contains_key(user));
            Change { whole: false, here, gone }
        };
        if !change.whole && change.here.is_empty() && change.gone.is_empty() {
            return None;
        }
        self.whole = false;
        self.urgent = false;
        self.paced_until = Some(now + PACE);
        self.writing = Some(change.clone());
        Some(change)
    }

    /// The write's outcome: whether the store took it.
    pub(crate) fn wrote(&mut self, taken: bool, now: Instant) {
        let Some(change) = self.writing.take() else { return };
        if !taken {
            // It may have been done or not: writing all of it is right in either case.
            self.whole = true;
            self.not_before = Some(now + RETRY);
            self.show_locally(change);
            return;
        }
        if change.whole {
            let known: Vec<UserName> = self.written.drain().collect();
            known.iter().for_each(|user| self.compare(user));
        }
        self.written.extend(change.here.iter().cloned());
        for user in &change.gone {
            self.written.remove(user);
        }
        change.here.iter().chain(&change.gone).for_each(|user| self.compare(user));
    }

    /// After a change of `local` or `written`.
    fn compare(&mut self, user: &UserName) {
        if self.local.contains_key(user) == self.written.contains(user) {
            self.unwritten.remove(user);
        } else {
            self.unwritten.insert(user.clone());
        }
    }

    /// What the store knows of this node may be wrong: write all of it.
    pub(crate) fn rewrite(&mut self) {
        self.whole = !self.local.is_empty() || !self.written.is_empty();
        self.not_before = None;
    }

    /// The store cannot be told, but within the node presence goes on.
    fn show_locally(&mut self, change: Change) {
        let here = self.local.keys().cloned().collect::<Vec<_>>();
        let gone = change.gone.into_iter().filter(|user| !self.local.contains_key(user)).collect();
        if self.users.is_some() {
            self.apply(here, gone);
            self.count = self.users.as_ref().map_or(self.count, BTreeSet::len);
        }
        self.missed = true;
    }

    // --- the cluster's view --------------------------------------------------------------------

    /// News. Where a number is missing, the state must be read: [`Roster::wants_read`].
    pub(crate) fn news(
        &mut self,
        version: Version,
        count: usize,
        joined: Vec<UserName>,
        left: Vec<UserName>,
    ) {
        if self.reading && self.stash.len() < STASH {
            self.stash.push((version, count, joined, left));
        } else if self.reading || self.missed {
            self.missed = true;
        } else if version.follows(&self.version) || self.version.generation.is_empty() && version.number == 1
        {
            self.version = version;
            self.count = count;
            self.apply(joined, left);
            self.fit();
        } else if version.generation != self.version.generation || version.number > self.version.number {
            self.missed = true;
        }
    }

    /// News may have been missed.
    pub(crate) fn gap(&mut self) {
        self.missed = true;
    }

    /// Whether the state should be read now; the caller hands it to [`Roster::read`].
    pub(crate) fn wants_read(&mut self, now: Instant) -> bool {
        let wants = self.missed && !self.reading && self.not_before.is_none_or(|at| at <= now);
        if wants {
            self.missed = false;
            self.reading = true;
        }
        wants
    }

    /// The state, read; none where the store did not answer.
    pub(crate) fn read(&mut self, state: Option<RoomState>, now: Instant) -> Option<Told> {
        self.reading = false;
        let Some(state) = state else {
            self.stash.clear();
            self.missed = true;
            self.not_before = Some(now + RETRY);
            return None;
        };
        let before = (self.count, self.users.clone());
        self.take(state);
        for (version, count, joined, left) in std::mem::take(&mut self.stash) {
            self.news(version, count, joined, left);
        }
        self.joined.clear();
        self.left.clear();
        self.told_count = self.count;
        (before != (self.count, self.users.clone())).then(|| Told::Snapshot(self.online()))
    }

    fn take(&mut self, state: RoomState) {
        self.version = state.version;
        self.count = state.count;
        self.users = state.users.map(BTreeSet::from_iter);
    }

    fn apply(&mut self, joined: Vec<UserName>, left: Vec<UserName>) {
        for user in joined {
            if let Some(users) = &mut self.users {
                users.insert(user.clone());
            }
            if !self.left.remove(&user) {
                self.joined.insert(user);
            }
        }
        for user in left {
            if let Some(users) = &mut self.users {
                users.remove(&user);
            }
            if !self.joined.remove(&user) {
                self.left.insert(user);
            }
        }
    }

    /// Names are kept up to a size; when a large room has become small, they are read again.
    fn fit(&mut self) {
        if self.count > MAX_LISTED_USERS {
            self.users = None;
        } else if self.users.is_none() && self.count < MAX_LISTED_USERS / 2 {
            self.missed = true;
        }
        if self.joined.len() + self.left.len() > 2 * MAX_LISTED_USERS {
            self.joined.clear();
            self.left.clear();
        }
    }

    // --- what members are told -------------------------------------------------------------------

    /// The view, this node's own users included even where the store has not heard of them yet.
    pub(crate) fn online(&self) -> Online {
        let Some(users) = &self.users else {
            return Online { count: self.count.max(self.local.len()), users: Vec::new() };
        };
        // Both are sorted: a walk along both, for every join of a flock asks.
        let mut all = Vec::with_capacity(users.len().max(self.local.len()));
        let (mut told, mut own) = (users.iter().peekable(), self.local.keys().peekable());
        loop {
            let next = match (told.peek(), own.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if a == b => {
                    own.next();
                    told.next()
                }
                (Some(a), Some(b)) if a > b => own.next(),
                (None, Some(_)) => own.next(),
                _ => told.next(),
            };
            all.extend(next.cloned());
        }
        let count = all.len();
        if count > MAX_LISTED_USERS {
            all.clear();
        }
        Online { count, users: all }
    }

    /// The differences to be told now, if any, and if it is time.
    pub(crate) fn tell(&mut self, now: Instant) -> Option<Told> {
        if !self.has_untold() || self.told_at.is_some_and(|at| now < at + COALESCE) {
            return None;
        }
        self.told_at = Some(now);
        self.told_count = self.count;
        let (mut joined, mut left) = (std::mem::take(&mut self.joined), std::mem::take(&mut self.left));
        if self.users.is_none() {
            joined.clear();
            left.clear();
        }
        let count = self.count;
        Some(Told::Differences {
            joined: joined.into_iter().collect(),
            left: left.into_iter().collect(),
            count,
        })
    }

    fn has_untold(&self) -> bool {
        !self.joined.is_empty() || !self.left.is_empty() || self.count != self.told_count
    }

    /// Ends the grace of those whose time is up.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((until, user)) = self.graces.pop_front_if(|(until, _)| *until <= now) {
            if self.local.get(&user).is_some_and(|local| local.grace_until == Some(until)) {
                self.local.remove(&user);
                self.urgent = true;
                self.compare(&user);
            }
        }
    }

    /// When something here is due next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let grace = self.graces.front().map(|(until, _)| *until);
        let tell = self.told_at.filter(|_| self.has_untold()).map(|at| at + COALESCE);
        // Only what can be done once it is due: the room is woken then, and would be again at once.
        let paced = self.paced_until.filter(|_| !self.whole && !self.urgent);
        let writes = self.writing.is_none() && (self.whole || !self.unwritten.is_empty());
        let write = paced.max(self.not_before).filter(|_| writes);
        let read = self.not_before.filter(|_| self.missed && !self.reading);
        [grace, tell, write, read].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
