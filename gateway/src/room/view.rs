//! Who is in one room, as sent to its members on this node: the store's state merged with this node's own users, and
//! the differences that some member has not received yet. Pure. Called by `room/roster.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use roomcast_protocol::UserName;
use roomcast_protocol::ack::Online;
use roomcast_protocol::limits::MAX_LISTED_USERS;
use roomcast_store::{RoomState, Version};

use super::writes::RETRY;
use crate::hub::UserList;
use crate::users::stay::Stays;

/// Presence updates are sent at most this often.
pub(super) const COALESCE: Duration = Duration::from_secs(1);
/// The names of a room that was too large to list are read again at most this often.
pub(super) const RELIST_INTERVAL: Duration = Duration::from_secs(10);
/// Presence events stashed while the state is being read. Where there are more, it is read again.
const STASH: usize = 256;

/// A presence update for members.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PresenceUpdate {
    Differences { joined: Vec<UserName>, left: Vec<UserName>, count: usize },
    Snapshot(Online<UserList>),
}

/// A change of the room's presence, as published on the bus.
pub(super) struct PresenceEvent {
    pub(super) version: Version,
    pub(super) count: usize,
    pub(super) joined: Vec<UserName>,
    pub(super) left: Vec<UserName>,
}

/// A change of a user that some member has not received yet.
struct Unsent {
    /// Whether the user is in the room now.
    shown: bool,
    /// The value of `View::lists` when the user changed last.
    lists: u64,
    /// Some member received the opposite last, in a difference or in a list.
    opposite_sent: bool,
    /// Before the last change, some member had received what is true now.
    same_sent: bool,
}

pub(super) struct View {
    version: Version,
    /// How many users are in the room, by the store's state.
    count: usize,
    /// Who they are; absent where there are too many to list.
    users: Option<BTreeSet<UserName>>,
    /// How many are listed: `users`, and users of this node that are not in the store's state yet.
    shown: usize,
    /// The list of these, until they change.
    listed: Option<UserList>,
    reading: bool,
    /// Presence events that arrived while the state was being read: applied after it.
    stash: Vec<PresenceEvent>,
    missed: bool,
    read_not_before: Option<Instant>,
    /// When names were read last, if they were.
    listed_at: Option<Instant>,
    unsent: BTreeMap<UserName, Unsent>,
    /// Users who are other persons than members know: they are sent as left, and after that as joined.
    replaced: BTreeSet<UserName>,
    /// There were too many differences to keep, or names are left out from now on: a snapshot is sent instead.
    list_unsent: bool,
    /// How many lists were sent to single members.
    lists: u64,
    /// The count that every member received last; absent where they received different ones.
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
            listed: None,
            reading: false,
            stash: Vec::new(),
            missed: false,
            read_not_before: None,
            listed_at: None,
            unsent: BTreeMap::new(),
            replaced: BTreeSet::new(),
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
        self.listed = None;
    }

    /// A user of this node became present or absent.
    pub(super) fn own_changed(&mut self, user: &UserName, present: bool) {
        if self.users.as_ref().is_some_and(|users| !users.contains(user)) {
            self.set_shown(user, present);
            self.limit_size();
        }
    }

    /// Records that a user is in the room now, or is not any more.
    fn set_shown(&mut self, user: &UserName, shown: bool) {
        self.shown = if shown { self.shown + 1 } else { self.shown.saturating_sub(1) };
        self.listed = None;
        let lists = self.lists;
        let unsent = match self.unsent.get(user) {
            // Every member had received the former state.
            None => Unsent { shown, lists, opposite_sent: true, same_sent: false },
            // A join and a leave cancel each other, unless some member received a list in between.
            Some(before) => Unsent {
                shown,
                lists,
                opposite_sent: before.same_sent || lists > before.lists,
                same_sent: before.opposite_sent,
            },
        };
        if unsent.opposite_sent {
            self.unsent.insert(user.clone(), unsent);
        } else {
            self.unsent.remove(user);
        }
    }

    /// A name in the room belongs to another person now.
    pub(super) fn replaced(&mut self, user: &UserName, stays: &Stays) {
        let unknown = self.unsent.get(user).is_some_and(|unsent| unsent.shown && !unsent.same_sent);
        if !unknown && self.is_shown(user, stays) {
            self.replaced.insert(user.clone());
        }
    }

    fn is_shown(&self, user: &UserName, stays: &Stays) -> bool {
        self.users.as_ref().is_some_and(|users| users.contains(user) || stays.is_present(user))
    }

    /// Applies an event. Where its number is not the next one, the state must be read: [`View::wants_read`].
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
            self.limit_size();
        } else if version.generation != self.version.generation || version.number > self.version.number {
            self.missed = true;
        }
    }

    fn apply(&mut self, joined: &[UserName], left: &[UserName], stays: &Stays) {
        let Some(mut users) = self.users.take() else { return };
        for user in joined {
            if users.insert(user.clone()) && !stays.is_present(user) {
                self.set_shown(user, true);
            }
        }
        for user in left {
            if users.remove(user) && !stays.is_present(user) {
                self.set_shown(user, false);
            }
        }
        self.users = Some(users);
    }

    /// Drops the names of a room that has become too large to list. Members get a snapshot without names, or the list
    /// that they have would seem to be complete.
    fn limit_size(&mut self) {
        if self.users.is_some() && self.shown > MAX_LISTED_USERS {
            self.users = None;
            self.listed = None;
            self.unsent.clear();
            self.replaced.clear();
            self.list_unsent = true;
        }
        if self.unsent.len() > 2 * MAX_LISTED_USERS {
            self.unsent.clear();
            self.list_unsent = true;
        }
    }

    /// Presence events may have been missed.
    pub(super) fn gap(&mut self) {
        self.missed = true;
    }

    /// Whether the caller must read the state now and pass it to [`View::read`].
    pub(super) fn wants_read(&mut self, stays: &Stays, now: Instant) -> bool {
        self.missed |= self.relist_at(stays).is_some_and(|at| at.is_none_or(|at| at <= now));
        let due = self.missed && !self.reading && self.read_not_before.is_none_or(|at| at <= now);
        if due {
            self.missed = false;
            self.reading = true;
        }
        due
    }

    /// When the names of a room must be read that was too large to list and is not any more: at a time, or at once.
    fn relist_at(&self, stays: &Stays) -> Option<Option<Instant>> {
        let relist = self.users.is_none() && !self.reading && self.count(stays) <= MAX_LISTED_USERS;
        relist.then(|| self.listed_at.map(|at| at + RELIST_INTERVAL))
    }

    /// The state that was read; none where the store did not answer.
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
        if state.users.is_some() {
            self.listed_at = Some(now);
        }
        self.set_state(state);
        self.shown = self.union(stays).count();
        for event in std::mem::take(&mut self.stash) {
            self.on_event(event, stays);
        }
        self.limit_size();
        let list = self.list(stays);
        // The snapshot contains every unsent difference. It is sent also where the list is the same as before.
        self.unsent.clear();
        self.list_unsent = false;
        self.sent_count = Some(self.count(stays));
        (unsent || before != list).then_some(PresenceUpdate::Snapshot(list))
    }

    /// A list for one member: later differences from it must be sent.
    pub(super) fn list_for_member(&mut self, stays: &Stays) -> Online<UserList> {
        self.lists += 1;
        if self.sent_count != Some(self.count(stays)) {
            // From now on members have received different counts.
            self.sent_count = None;
        }
        self.list(stays)
    }

    /// A list that goes with an update to every member.
    pub(super) fn listed(&mut self, stays: &Stays) -> UserList {
        self.list(stays).users
    }

    fn count(&self, stays: &Stays) -> usize {
        if self.users.is_some() { self.shown } else { self.count.max(stays.len()) }
    }

    fn list(&mut self, stays: &Stays) -> Online<UserList> {
        let count = self.count(stays);
        if self.users.is_none() || count > MAX_LISTED_USERS {
            return Online { count, users: UserList::default() };
        }
        let listed = self.listed.take();
        let users = listed.unwrap_or_else(|| self.union(stays).cloned().collect::<Vec<_>>().into());
        debug_assert!(self.union(stays).eq(users.iter()), "every change of the users clears the list");
        self.listed = Some(users.clone());
        Online { count, users }
    }

    /// All listed users, sorted. Merges two sorted sets, because each user who joins changes the list.
    fn union<'a>(&'a self, stays: &'a Stays) -> impl Iterator<Item = &'a UserName> {
        let (mut stored, mut own) = (self.users.iter().flatten().peekable(), stays.users().peekable());
        std::iter::from_fn(move || match (stored.peek(), own.peek()) {
            (Some(a), Some(b)) if a == b => {
                own.next();
                stored.next()
            }
            (Some(a), Some(b)) if a > b => own.next(),
            (None, _) => own.next(),
            _ => stored.next(),
        })
    }

    /// The presence update that is due to every member now, if any.
    pub(super) fn next_update(&mut self, stays: &Stays, now: Instant) -> Option<PresenceUpdate> {
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
        let (joined, mut left): (Vec<_>, Vec<_>) = (names(true), names(false));
        for user in std::mem::take(&mut self.replaced) {
            // One who left meanwhile is among those already.
            if self.is_shown(&user, stays) && !unsent.contains_key(&user) {
                left.push(user.clone());
                let lists = self.lists;
                self.unsent
                    .insert(user, Unsent { shown: true, lists, opposite_sent: true, same_sent: false });
            }
        }
        Some(PresenceUpdate::Differences { joined, left, count })
    }

    fn has_unsent(&self, stays: &Stays) -> bool {
        !self.unsent.is_empty()
            || !self.replaced.is_empty()
            || self.list_unsent
            || self.sent_count != Some(self.count(stays))
    }

    /// When the next update or read is due.
    pub(super) fn deadline(&self, stays: &Stays) -> Option<Instant> {
        let update = self.sent_at.filter(|_| self.has_unsent(stays)).map(|at| at + COALESCE);
        let read = self.read_not_before.filter(|_| self.missed && !self.reading);
        let relist = self.relist_at(stays).flatten();
        let relist = relist.map(|at| self.read_not_before.map_or(at, |retry| at.max(retry)));
        [update, read, relist].into_iter().flatten().min()
    }
}
