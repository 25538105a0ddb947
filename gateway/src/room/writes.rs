//! Which of this node's users in one room are written to the store, and what must be written next. Pure. One write is
//! in progress at a time; a change stays due until the store has accepted it. Called by `room/roster.rs`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use roomcast_protocol::UserName;
use roomcast_store::{Change, Incarnation};

use crate::users::stay::Stays;

/// Arrivals are written at most this often: the first at once, those that follow it in one batch.
pub(super) const WRITE_INTERVAL: Duration = Duration::from_millis(100);
/// How long after a failure a write or a read is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(500);
/// Users of one write at most.
const MAX_USERS_PER_WRITE: usize = 500;

/// One write of presence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) change: Change,
    /// The only incarnation that may write it; absent where any may, because the change is whole.
    pub(crate) only_under: Option<Incarnation>,
}

impl Write {
    /// The change as this incarnation writes it; none where it may not. Unless the change continues others, the room
    /// must be indexed just before, also if it was indexed earlier: the store may have lost the index entry.
    pub(crate) fn under(mut self, node: &Incarnation) -> Option<Change> {
        if self.only_under.is_some_and(|only| only != *node) {
            return None;
        }
        self.change.former.retain(|former| former != node);
        Some(self.change)
    }
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// The store accepted it from this incarnation.
    Accepted(Incarnation),
    /// The store does not have the writes that it continues.
    Refused(Incarnation),
    /// It failed. `unknown`: the store may have executed it, or may still do so.
    Failed { under: Incarnation, unknown: bool },
    /// It was not sent: the node has no lease, or is another incarnation.
    NotTried,
}

pub(super) struct Writes {
    /// Users that the store has recorded as present here.
    written: HashSet<UserName>,
    /// Users that are either present or written, but not both: the cost of the next write depends on what changed, not
    /// on the size of the room.
    unwritten: HashSet<UserName>,
    /// Users with a new connection since the last write that is not the return of one that dropped here.
    arrived: HashSet<UserName>,
    writing: Option<Write>,
    paced_until: Option<Instant>,
    /// A user left since the last write: that is written at once.
    urgent: bool,
    whole: bool,
    not_before: Option<Instant>,
    /// Incarnations of this node of which the store may keep facts in this room. Where there is more than one,
    /// everything must be written again.
    writers: Vec<Incarnation>,
    /// The store accepted a write of the one writer.
    has_written: bool,
    /// The store may still execute an earlier write: its sequence number must be kept, or that write would be accepted.
    outcome_unknown: bool,
}

impl Writes {
    /// `indexed` is the incarnation that indexed the room when it was opened.
    pub(super) fn begin(indexed: Option<Incarnation>) -> Self {
        Self {
            written: HashSet::new(),
            unwritten: HashSet::new(),
            arrived: HashSet::new(),
            writing: None,
            paced_until: None,
            urgent: false,
            whole: false,
            not_before: None,
            writers: indexed.into_iter().collect(),
            has_written: false,
            outcome_unknown: false,
        }
    }

    /// Must be called when a user became present or absent.
    pub(super) fn recheck(&mut self, user: &UserName, stays: &Stays) {
        if stays.is_present(user) == self.written.contains(user) {
            self.unwritten.remove(user);
        } else {
            self.unwritten.insert(user.clone());
        }
    }

    /// A connection arrived that may be the return of one that dropped on another node.
    pub(super) fn arrived(&mut self, user: &UserName) {
        self.arrived.insert(user.clone());
    }

    /// A user left: the next write must not wait.
    pub(super) fn set_urgent(&mut self) {
        self.urgent = true;
    }

    /// Whether the store may have a fact of the user.
    pub(super) fn may_be_stored(&self, user: &UserName) -> bool {
        self.whole
            || self.written.contains(user)
            || self.writing.as_ref().is_some_and(|write| write.change.here.contains(user))
    }

    /// The store has recorded no user of this node, and nothing is due.
    pub(super) fn is_idle(&self) -> bool {
        self.written.is_empty() && self.arrived.is_empty() && self.writing.is_none() && !self.whole
    }

    /// The incarnations for which the room is to be closed in the store. None where the store may still execute a
    /// write: then the sweeper closes the room when the incarnation ends.
    pub(super) fn writers(&self) -> Vec<Incarnation> {
        if self.outcome_unknown { Vec::new() } else { self.writers.clone() }
    }

    /// Whether this incarnation is one of this node's that wrote in the room.
    pub(super) fn is_own(&self, node: &Incarnation) -> bool {
        self.writers.contains(node)
    }

    /// The next write, where one is due and none is in progress. The caller passes its outcome to [`Writes::wrote`].
    pub(super) fn next(&mut self, stays: &Stays, now: Instant) -> Option<Write> {
        if self.writing.is_some() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        self.not_before = None;
        let due = !self.unwritten.is_empty() || !self.arrived.is_empty();
        self.whole |= due && self.writers.len() != 1;
        if !self.whole && (!due || !self.urgent && self.paced_until.is_some_and(|at| at > now)) {
            return None;
        }
        let write = if self.whole { self.all(stays) } else { self.changes(stays) };
        self.whole = false;
        self.urgent = false;
        self.paced_until = Some(now + WRITE_INTERVAL);
        self.writing = Some(write.clone());
        Some(write)
    }

    /// Everything. It contains no arrivals: it may be written because the store lost its data.
    fn all(&self, stays: &Stays) -> Write {
        let here = stays.users().cloned().collect();
        let change = Change { whole: true, here, former: self.writers.clone(), ..Change::default() };
        Write { change, only_under: None }
    }

    fn changes(&mut self, stays: &Stays) -> Write {
        let some = self.unwritten.iter().take(MAX_USERS_PER_WRITE).cloned();
        let (here, gone): (Vec<_>, Vec<_>) = some.partition(|user| stays.is_present(user));
        // An arrival ends a grace on another node: it must not be written before the user's fact here.
        let is_written = |user: &UserName| !self.unwritten.contains(user);
        let now: HashSet<UserName> = here.iter().chain(&gone).cloned().collect();
        let (arrived, later) = std::mem::take(&mut self.arrived)
            .into_iter()
            .partition::<HashSet<_>, _>(|user| is_written(user) || now.contains(user));
        self.arrived = later;
        let arrived = arrived.into_iter().collect();
        let change = Change { continues: self.has_written, here, gone, arrived, ..Change::default() };
        Write { change, only_under: self.writers.first().cloned() }
    }

    /// The outcome of the write. False where the store did not accept it.
    pub(super) fn wrote(&mut self, outcome: WriteOutcome, stays: &Stays, now: Instant) -> bool {
        let Some(Write { change, .. }) = self.writing.take() else { return true };
        match outcome {
            WriteOutcome::Accepted(node) => {
                self.accepted(node, &change, stays);
                return true;
            }
            WriteOutcome::Failed { under, unknown } => {
                self.outcome_unknown |= unknown;
                if !self.writers.contains(&under) {
                    self.writers.push(under);
                }
            }
            WriteOutcome::Refused(_) | WriteOutcome::NotTried => {}
        }
        // Whether it was executed or not, writing everything is correct.
        self.whole = true;
        self.not_before = Some(now + RETRY);
        self.arrived.extend(change.arrived);
        false
    }

    fn accepted(&mut self, node: Incarnation, change: &Change, stays: &Stays) {
        self.has_written = true;
        if change.whole {
            // What a former incarnation may still write is swept with it.
            self.outcome_unknown &= self.writers.contains(&node);
            self.writers = vec![node];
            let stored: Vec<UserName> = self.written.drain().collect();
            stored.iter().for_each(|user| self.recheck(user, stays));
        }
        self.written.extend(change.here.iter().cloned());
        for user in &change.gone {
            self.written.remove(user);
        }
        change.here.iter().chain(&change.gone).for_each(|user| self.recheck(user, stays));
    }

    /// What the store has recorded of this node may be wrong: everything must be written again.
    pub(super) fn rewrite(&mut self, stays: &Stays) {
        self.whole |= !stays.is_empty() || !self.written.is_empty();
        self.not_before = None;
    }

    /// When the next write is due. None while one is in progress: the room would be woken without being able to write.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.whole || !self.unwritten.is_empty() || !self.arrived.is_empty();
        let paced = self.paced_until.filter(|_| !self.whole && !self.urgent);
        paced.max(self.not_before).filter(|_| due && self.writing.is_none())
    }
}
