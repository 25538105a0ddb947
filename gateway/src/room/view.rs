//! Who is in one room, as its members on this node are told: what the store says, this node's own users with
//! it, and which differences each member may not know. Pure. Called by `room/roster.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use roomcast_protocol::UserName;
use roomcast_protocol::ack::Online;
use roomcast_protocol::limits::MAX_LISTED_USERS;
use roomcast_store::{RoomState, Version};

use super::writes::RETRY;
use crate::users::stay::Stays;

/// Differences are told at most so often.
pub(super) const COALESCE: Duration = Duration::from_secs(1);
/// PresenceEvent that may wait while the state is being read; more make it be read again.
const STASH: usize = 256;

/// What members are told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PresenceUpdate {
    Differences { joined: Vec<UserName>, left: Vec<UserName>, count: usize },
    Snapshot(Online),
}

/// A change of the room's presence, as published on the bus.
pub(super) struct PresenceEvent {
    pub(super) version: Version,
    pub(super) count: usize,
    pub(super) joined: Vec<UserName>,
    pub(super) left: Vec<UserName>,
}

/// A user of whom some member may know something else than is true.
struct Unsent {
    shown: bool,
    /// How many lists had been given when that became so.
    lists: u64,
    /// Whether some member knows the opposite, by the last difference or by a list.
    opposite_known: bool,
    /// Whether some member, before that, knew the same.
    same_known: bool,
}

pub(super) struct View {
    version: Version,
    /// Users in the room, as the store says.
    count: usize,
    /// Which; absent where there are too many to list.
    users: Option<BTreeSet<UserName>>,
    /// How many are listed: those, and this node's own that the store has not heard of yet.
    shown: usize,
    reading: bool,
    /// PresenceEvent that came while the state is being read: applied behind it.
    stash: Vec<PresenceEvent>,
    missed: bool,
    read_not_before: Option<Instant>,
    unsent: BTreeMap<UserName, Unsent>,
    /// There were too many differences to keep: the list itself is to be told.
    list_unsent: bool,
    /// Lists given to single members.
    lists: u64,
    /// The count that every member knows, where it is one.
    sent_count: Option<usize>,
    sent_at: Option<Instant>,
}

impl View {
    pub(super) fn begin(state: RoomState) -> Self {
        let mut view = Self {
            version: Version::default(),
            count: 0,
            users: None,
            shown: 0,
            reading: false,
            stash: Vec::new(),
            missed: false,
            read_not_before: None,
            unsent: BTreeMap::new(),
            list_unsent: false,
            lists: 0,
            sent_count: None,
            sent_at: None,
        };
        view.shown = state.users.as_ref().map_or(0, Vec::len);
        view.set_state(state);
        view.sent_count = Some(view.shown.max(view.count));
        view
    }

    fn set_state(&mut self, state: RoomState) {
        self.version = state.version;
        self.count = state.count;
        self.users = state.users.map(BTreeSet::from_iter);
    }

    /// One of this node's own users came or went, by its stay.
    pub(super) fn own_changed(&mut self, user: &UserName, present: bool) {
        if self.users.as_ref().is_some_and(|users| !users.contains(user)) {
            self.flip(user, present);
            self.fit();
        }
    }

    /// A user is shown from now on, or is not any more.
    fn flip(&mut self, user: &UserName, shown: bool) {
        self.shown = if shown { self.shown + 1 } else { self.shown.saturating_sub(1) };
        let lists = self.lists;
        let unsent = match self.unsent.get(user) {
            // Every member knew what was true.
            None => Unsent { shown, lists, opposite_known: true, same_known: false },
            // A join and a leave cancel each other, unless some member was given a list in between.
            Some(before) => Unsent {
                shown,
                lists,
                opposite_known: before.same_known || lists > before.lists,
                same_known: before.opposite_known,
            },
        };
        if unsent.opposite_known {
            self.unsent.insert(user.clone(), unsent);
        } else {
            self.unsent.remove(user);
        }
    }

    /// News. Where a number is missing, the state must be read: [`View::wants_read`].
    pub(super) fn on_event(&mut self, event: PresenceEvent, stays: &Stays) {
        let version = &event.version;
        if self.reading && self.stash.len() < STASH {
            self.stash.push(event);
        } else if self.reading || self.missed {
            self.missed = true;
        } else if version.follows(&self.version) || self.version.generation.is_empty() && version.number == 1
        {
            self.version = event.version;
            self.count = event.count;
            self.apply(&event.joined, &event.left, stays);
            self.fit();
        } else if version.generation != self.version.generation || version.number > self.version.number {
            self.missed = true;
        }
    }

    fn apply(&mut self, joined: &[UserName], left: &[UserName], stays: &Stays) {
        let Some(mut users) = self.users.take() else { return };
        for user in joined {
            if users.insert(user.clone()) && !stays.is_present(user) {
                self.flip(user, true);
            }
        }
        for user in left {
            if users.remove(user) && !stays.is_present(user) {
                self.flip(user, false);
            }
        }
        self.users = Some(users);
    }

    /// Names are kept up to a size; when a large room has become small, they are read again.
    fn fit(&mut self) {
        if self.users.is_some() && self.shown > MAX_LISTED_USERS {
            self.users = None;
            self.unsent.clear();
        } else if self.users.is_none() && self.count < MAX_LISTED_USERS / 2 {
            self.missed = true;
        }
        if self.unsent.len() > 2 * MAX_LISTED_USERS {
            self.unsent.clear();
            self.list_unsent = true;
        }
    }

    /// PresenceEvent may have been missed.
    pub(super) fn gap(&mut self) {
        self.missed = true;
    }

    /// Whether the state should be read now; the caller hands it to [`View::read`].
    pub(super) fn wants_read(&mut self, now: Instant) -> bool {
        let wants = self.missed && !self.reading && self.read_not_before.is_none_or(|at| at <= now);
        if wants {
            self.missed = false;
            self.reading = true;
        }
        wants
    }

    /// The state, read; none where the store did not answer.
    pub(super) fn read(
        &mut self,
        state: Option<RoomState>,
        stays: &Stays,
        now: Instant,
    ) -> Option<PresenceUpdate> {
        self.reading = false;
        let Some(state) = state else {
            self.stash.clear();
            self.missed = true;
            self.read_not_before = Some(now + RETRY);
            return None;
        };
        let (before, unsent) = (self.list(stays), self.has_unsent(stays));
        self.set_state(state);
        self.shown = self.union(stays).count();
        for event in std::mem::take(&mut self.stash) {
            self.on_event(event, stays);
        }
        self.fit();
        let list = self.list(stays);
        // What was not told yet is told by the list, and where the list is what it was, too.
        self.unsent.clear();
        self.list_unsent = false;
        self.sent_count = Some(self.count(stays));
        (unsent || before != list).then_some(PresenceUpdate::Snapshot(list))
    }

    /// A list for one member: what differs from it later must be told.
    pub(super) fn give_list(&mut self, stays: &Stays) -> Online {
        self.lists += 1;
        if self.sent_count != Some(self.count(stays)) {
            // Some know the one count and some the other.
            self.sent_count = None;
        }
        self.list(stays)
    }

    fn count(&self, stays: &Stays) -> usize {
        if self.users.is_some() { self.shown } else { self.count.max(stays.len()) }
    }

    fn list(&self, stays: &Stays) -> Online {
        let count = self.count(stays);
        let listed = self.users.is_some() && count <= MAX_LISTED_USERS;
        let users = if listed { self.union(stays).cloned().collect() } else { Vec::new() };
        Online { count, users }
    }

    /// Everybody shown, in order. A walk along two sorted sets: every join of a batch asks.
    fn union<'a>(&'a self, stays: &'a Stays) -> impl Iterator<Item = &'a UserName> {
        let (mut told, mut own) = (self.users.iter().flatten().peekable(), stays.users().peekable());
        std::iter::from_fn(move || match (told.peek(), own.peek()) {
            (Some(a), Some(b)) if a == b => {
                own.next();
                told.next()
            }
            (Some(a), Some(b)) if a > b => own.next(),
            (None, _) => own.next(),
            _ => told.next(),
        })
    }

    /// What is to be told to every member now, if anything, and if it is time.
    pub(super) fn tell(&mut self, stays: &Stays, now: Instant) -> Option<PresenceUpdate> {
        if !self.has_unsent(stays) || self.sent_at.is_some_and(|at| now < at + COALESCE) {
            return None;
        }
        self.sent_at = Some(now);
        let count = self.count(stays);
        self.sent_count = Some(count);
        let unsent = std::mem::take(&mut self.unsent);
        if std::mem::take(&mut self.list_unsent) {
            return Some(PresenceUpdate::Snapshot(self.list(stays)));
        }
        let side = |shown| unsent.iter().filter(move |(_, unsent)| unsent.shown == shown);
        let names = |shown| side(shown).map(|(user, _)| user.clone()).collect();
        Some(PresenceUpdate::Differences { joined: names(true), left: names(false), count })
    }

    fn has_unsent(&self, stays: &Stays) -> bool {
        !self.unsent.is_empty() || self.list_unsent || self.sent_count != Some(self.count(stays))
    }

    /// When something is due next.
    pub(super) fn deadline(&self, stays: &Stays) -> Option<Instant> {
        let tell = self.sent_at.filter(|_| self.has_unsent(stays)).map(|at| at + COALESCE);
        let read = self.read_not_before.filter(|_| self.missed && !self.reading);
        [tell, read].into_iter().flatten().min()
    }
}
