//! Who is in one room, as this node sees it: its own users' stays, what the store knows of them (`writes.rs`),
//! and what members are told (`view.rs`). Pure. Called by `room/state.rs`.

use std::time::Instant;

use roomcast_protocol::UserName;
use roomcast_protocol::ack::Online;
use roomcast_store::{Incarnation, RoomState, Version};

pub(crate) use super::view::PresenceUpdate;
use super::view::{PresenceEvent, View};
use super::writes::Writes;
pub(crate) use super::writes::{Write, WriteOutcome};
use crate::users::stay::{Departure, Stays};

pub(crate) struct Roster {
    stays: Stays,
    writes: Writes,
    view: View,
}

impl Roster {
    /// A room that was just opened: as the store says, and indexed by this incarnation.
    pub(crate) fn begin(stays: Stays, state: RoomState, indexed: Option<Incarnation>) -> Self {
        Self { stays, writes: Writes::begin(indexed), view: View::begin(state) }
    }

    /// A connection joins.
    pub(crate) fn arrive(&mut self, user: &UserName) {
        let before = self.stays.is_present(user);
        if !self.stays.arrive(user) {
            self.writes.arrived(user);
        }
        self.compare(user, before);
    }

    /// A connection leaves.
    pub(crate) fn depart(&mut self, user: &UserName, how: Departure, now: Instant) {
        let before = self.stays.is_present(user);
        self.stays.depart(user, how, now);
        self.compare(user, before);
    }

    /// Users got a connection on another node: of those who dropped here, one came back there.
    pub(crate) fn returned(&mut self, node: &Incarnation, users: &[UserName]) {
        if self.writes.is_own(node) {
            return;
        }
        for user in users {
            let before = self.stays.is_present(user);
            self.stays.returned_elsewhere(user);
            self.compare(user, before);
        }
    }

    /// Ends the graces whose time is up.
    pub(crate) fn expire(&mut self, now: Instant) {
        for user in self.stays.expire(now) {
            self.compare(&user, true);
        }
    }

    fn compare(&mut self, user: &UserName, before: bool) {
        let present = self.stays.is_present(user);
        if before && !present {
            self.writes.hurry();
        }
        self.writes.compare(user, &self.stays);
        if before != present {
            self.view.own_changed(user, present);
        }
    }

    /// The store is away, and was last heard of then: graces stand still.
    pub(crate) fn pause(&mut self, since: Instant) {
        let writes = &self.writes;
        for user in self.stays.pause(since, |user| !writes.may_know(user)) {
            self.compare(&user, false);
        }
    }

    /// It is back.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.stays.resume(now);
    }

    /// Nobody of this node is here, and the store knows it.
    pub(crate) fn is_clear(&self) -> bool {
        self.stays.is_empty() && self.writes.is_clear()
    }

    /// Under which incarnations the room is to be closed in the store.
    pub(crate) fn authors(&self) -> Vec<Incarnation> {
        self.writes.authors()
    }

    /// What the store should be told, where nothing is under way; its outcome goes to [`Roster::wrote`].
    pub(crate) fn next_write(&mut self, now: Instant) -> Option<Write> {
        self.writes.next(&self.stays, now)
    }

    /// What became of the write.
    pub(crate) fn wrote(&mut self, outcome: WriteOutcome, now: Instant) {
        if !self.writes.wrote(outcome, &self.stays, now) {
            self.view.gap();
        }
    }

    /// What the store knows of this node may be wrong, and what it told.
    pub(crate) fn rewrite(&mut self) {
        self.writes.rewrite(&self.stays);
        self.view.gap();
    }

    /// PresenceEvent of the bus.
    pub(crate) fn on_event(
        &mut self,
        version: Version,
        count: usize,
        joined: Vec<UserName>,
        left: Vec<UserName>,
    ) {
        self.view.on_event(PresenceEvent { version, count, joined, left }, &self.stays);
    }

    /// PresenceEvent may have been missed.
    pub(crate) fn gap(&mut self) {
        self.view.gap();
    }

    /// Whether the state should be read now; the caller hands it to [`Roster::read`].
    pub(crate) fn wants_read(&mut self, now: Instant) -> bool {
        self.view.wants_read(now)
    }

    /// The state, read; none where the store did not answer.
    pub(crate) fn read(&mut self, state: Option<RoomState>, now: Instant) -> Option<PresenceUpdate> {
        self.view.read(state, &self.stays, now)
    }

    /// Who is here, this node's own users included even where the store has not heard of them yet. The member
    /// that is given the list is told what differs from it later.
    pub(crate) fn give_list(&mut self) -> Online {
        self.view.give_list(&self.stays)
    }

    /// What every member is to be told now, if anything.
    pub(crate) fn tell(&mut self, now: Instant) -> Option<PresenceUpdate> {
        self.view.tell(&self.stays, now)
    }

    /// When something here is due next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = [self.stays.deadline(), self.writes.deadline(), self.view.deadline(&self.stays)];
        due.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
