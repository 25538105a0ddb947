//! Who is in one room, as this node sees it: the stays of its own users, their presence in the store (`writes.rs`), and
//! the presence updates that members get (`view.rs`). Pure. Called by `room/state.rs`.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use roomcast_protocol::UserName;
use roomcast_protocol::ack::Online;
use roomcast_store::{Incarnation, RoomState, Version};

pub(crate) use super::view::PresenceUpdate;
use super::view::{PresenceEvent, View};
use super::writes::Writes;
pub(crate) use super::writes::{Write, WriteOutcome};
use crate::hub::UserList;
use crate::users::stay::{Departure, Stays};

pub(crate) struct Roster {
    stays: Stays,
    /// The dialect of each open name among them.
    open: HashMap<UserName, &'static str>,
    writes: Writes,
    view: View,
}

impl Roster {
    /// A room that was just opened: its state in the store, and the incarnation that indexed it.
    pub(crate) fn begin(stays: Stays, state: RoomState, indexed: Option<Incarnation>) -> Self {
        let (open, writes, view) = (HashMap::new(), Writes::begin(indexed), View::begin(state));
        Self { stays, open, writes, view }
    }

    /// A connection joins, under an open name that was taken in a dialect, or a proved one.
    pub(crate) fn arrive(&mut self, user: &UserName, open_in: Option<&'static str>) {
        let before = self.stays.is_present(user);
        if before && self.open.get(user).copied() != open_in {
            // Another person: it is not the return of the one who dropped here.
            self.stays.end_graces(user);
        }
        match open_in {
            Some(dialect) => self.open.insert(user.clone(), dialect),
            None => self.open.remove(user),
        };
        if !self.stays.arrive(user) {
            self.writes.arrived(user);
        }
        self.presence_changed(user, before);
    }

    /// A connection leaves.
    pub(crate) fn depart(&mut self, user: &UserName, how: Departure, now: Instant) {
        let before = self.stays.is_present(user);
        self.stays.depart(user, how, now);
        self.presence_changed(user, before);
    }

    /// These users got a connection on another node: for each, one that dropped here has returned there.
    pub(crate) fn returned(&mut self, node: &Incarnation, users: &[UserName]) {
        if self.writes.is_own(node) {
            return;
        }
        for user in users {
            let before = self.stays.is_present(user);
            self.stays.returned_elsewhere(user);
            self.presence_changed(user, before);
        }
    }

    /// These names in the room belong to other persons now, who have connections on this node or another one.
    pub(crate) fn replaced(&mut self, node: &Incarnation, users: &[UserName]) {
        for user in users {
            self.view.replaced(user, &self.stays);
            if !self.writes.is_own(node) {
                let before = self.stays.is_present(user);
                self.stays.end_graces(user);
                self.presence_changed(user, before);
            }
        }
    }

    /// Ends the graces that are over.
    pub(crate) fn expire(&mut self, now: Instant) {
        for user in self.stays.expire(now) {
            self.presence_changed(&user, true);
        }
    }

    fn presence_changed(&mut self, user: &UserName, before: bool) {
        let present = self.stays.is_present(user);
        if !present {
            self.open.remove(user);
        }
        if before && !present {
            self.writes.set_urgent();
        }
        self.writes.recheck(user, &self.stays);
        if before != present {
            self.view.own_changed(user, present);
        }
    }

    /// The store is unreachable and last answered at `since`: graces are paused.
    pub(crate) fn pause(&mut self, since: Instant) {
        let writes = &self.writes;
        for user in self.stays.pause(since, |user| !writes.may_be_stored(user)) {
            self.presence_changed(&user, false);
        }
    }

    /// The store is reachable again.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.stays.resume(now);
    }

    /// No user of this node is in the room, and the store has recorded that.
    pub(crate) fn is_idle(&self) -> bool {
        self.stays.is_empty() && self.writes.is_idle()
    }

    /// The incarnations for which the room is to be closed in the store.
    pub(crate) fn writers(&self) -> Vec<Incarnation> {
        self.writes.writers()
    }

    /// The next write of presence, where none is in progress. Its outcome goes to [`Roster::wrote`].
    pub(crate) fn next_write(&mut self, now: Instant) -> Option<Write> {
        let mut write = self.writes.next(&self.stays, now)?;
        let change = &mut write.change;
        let dialect = |user: &UserName| Some((user.clone(), (*self.open.get(user)?).to_owned()));
        let open: BTreeMap<_, _> = change.here.iter().chain(&change.arrived).filter_map(dialect).collect();
        change.open = open.into_iter().collect();
        Some(write)
    }

    /// The outcome of a write.
    pub(crate) fn wrote(&mut self, outcome: WriteOutcome, now: Instant) {
        if !self.writes.wrote(outcome, &self.stays, now) {
            self.view.gap();
        }
    }

    /// The store's presence of this node may be wrong, and so may be what was read from it.
    pub(crate) fn rewrite(&mut self) {
        self.writes.rewrite(&self.stays);
        self.view.gap();
    }

    /// A presence event of the bus.
    pub(crate) fn on_event(
        &mut self,
        version: Version,
        count: usize,
        joined: Vec<UserName>,
        left: Vec<UserName>,
    ) {
        self.view.on_event(PresenceEvent { version, count, joined, left }, &self.stays);
    }

    /// Presence events may have been missed.
    pub(crate) fn gap(&mut self) {
        self.view.gap();
    }

    /// Whether the caller must read the state now and pass it to [`Roster::read`].
    pub(crate) fn wants_read(&mut self, now: Instant) -> bool {
        self.view.wants_read(&self.stays, now)
    }

    /// The state that was read; none where the store did not answer.
    pub(crate) fn read(&mut self, state: Option<RoomState>, now: Instant) -> Option<PresenceUpdate> {
        self.view.read(state, &self.stays, now)
    }

    /// Who is online, including users of this node that are not written to the store yet. For one member: changes after
    /// this list are sent to it later.
    pub(crate) fn list_for_member(&mut self) -> Online<UserList> {
        self.view.list_for_member(&self.stays)
    }

    /// Who is online, as the last update says.
    pub(crate) fn listed(&mut self) -> UserList {
        self.view.listed(&self.stays)
    }

    /// The presence update that is due to every member now, if any.
    pub(crate) fn next_update(&mut self, now: Instant) -> Option<PresenceUpdate> {
        self.view.next_update(&self.stays, now)
    }

    /// When the next grace ends, or a write, a read or an update is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = [self.stays.deadline(), self.writes.deadline(), self.view.deadline(&self.stays)];
        due.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
