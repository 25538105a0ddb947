//! What the store knows of this node's users in one room, and what it is to be told. Pure. One write is under
//! way at a time; whatever becomes of it, what the store should know stays due until the store took it. Called
//! by `room/roster.rs`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use roomcast_protocol::UserName;
use roomcast_store::{Change, Incarnation};

use crate::users::stay::Stays;

/// Arrivals are written at most so often: the first at once, those of a batch behind it together.
pub(super) const PACE: Duration = Duration::from_millis(100);
/// What failed is tried again after so long.
pub(super) const RETRY: Duration = Duration::from_millis(500);
/// Users of one write, at most.
const WRITE_AT_ONCE: usize = 500;

/// One write, as the room wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) change: Change,
    /// The only incarnation under which it is right; absent where any is, as all is written.
    pub(crate) only_under: Option<Incarnation>,
}

impl Write {
    /// What this incarnation writes; none where the write is not its. Unless the change continues others, the
    /// room is to be indexed just before, whenever that was done last: the store may have lost it since.
    pub(crate) fn under(mut self, node: &Incarnation) -> Option<Change> {
        if self.only_under.is_some_and(|only| only != *node) {
            return None;
        }
        self.change.former.retain(|former| former != node);
        Some(self.change)
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// The store took it from this incarnation.
    Taken(Incarnation),
    /// The store does not know what it continues.
    Refused(Incarnation),
    /// It failed; `unknown` where it may have been done all the same, now or later.
    Failed { under: Incarnation, unknown: bool },
    /// It was not tried: the node has no lease, or is another incarnation.
    NotTried,
}

pub(super) struct Writes {
    written: HashSet<UserName>,
    /// Those who are present or written and not both, so that finding what to write costs what changed and
    /// not what there is.
    unwritten: HashSet<UserName>,
    /// Users with a connection that came since the last write, and is no return of one that dropped here.
    arrived: HashSet<UserName>,
    writing: Option<Write>,
    paced_until: Option<Instant>,
    /// Somebody left since the last write: that is written at once.
    urgent: bool,
    whole: bool,
    not_before: Option<Instant>,
    /// Incarnations of this node of which the store may know something in this room. More than one, and all
    /// must be written anew.
    authors: Vec<Incarnation>,
    /// The store took a write of the author.
    begun: bool,
    /// A write of the author may still be done: its sequence number must stay, or it would be taken.
    doubtful: bool,
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
            authors: indexed.into_iter().collect(),
            begun: false,
            doubtful: false,
        }
    }

    /// After a change of who is present.
    pub(super) fn compare(&mut self, user: &UserName, stays: &Stays) {
        if stays.is_present(user) == self.written.contains(user) {
            self.unwritten.remove(user);
        } else {
            self.unwritten.insert(user.clone());
        }
    }

    /// A connection came that may be the return of one that dropped on another node.
    pub(super) fn arrived(&mut self, user: &UserName) {
        self.arrived.insert(user.clone());
    }

    /// Somebody left.
    pub(super) fn hurry(&mut self) {
        self.urgent = true;
    }

    /// Whether the store may have a fact of the user.
    pub(super) fn may_know(&self, user: &UserName) -> bool {
        self.whole
            || self.written.contains(user)
            || self.writing.as_ref().is_some_and(|write| write.change.here.contains(user))
    }

    /// The store knows of nobody here, as it should.
    pub(super) fn is_clear(&self) -> bool {
        self.written.is_empty() && self.arrived.is_empty() && self.writing.is_none() && !self.whole
    }

    /// Under which incarnations the room is to be closed in the store. Where a write may still be done, nothing
    /// is: the sweeper does it, when the incarnation ends.
    pub(super) fn authors(&self) -> Vec<Incarnation> {
        if self.doubtful { Vec::new() } else { self.authors.clone() }
    }

    /// Whether this incarnation is this node, as far as the room knows.
    pub(super) fn is_own(&self, node: &Incarnation) -> bool {
        self.authors.contains(node)
    }

    /// What the store should be told, where nothing is under way. The caller hands the outcome to
    /// [`Writes::wrote`].
    pub(super) fn next(&mut self, stays: &Stays, now: Instant) -> Option<Write> {
        if self.writing.is_some() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        self.not_before = None;
        let due = !self.unwritten.is_empty() || !self.arrived.is_empty();
        self.whole |= due && self.authors.len() != 1;
        if !self.whole && (!due || !self.urgent && self.paced_until.is_some_and(|at| at > now)) {
            return None;
        }
        let write = if self.whole { self.all(stays) } else { self.changes(stays) };
        self.whole = false;
        self.urgent = false;
        self.paced_until = Some(now + PACE);
        self.writing = Some(write.clone());
        Some(write)
    }

    /// Nobody arrives by it: it may be written because the store lost everything.
    fn all(&self, stays: &Stays) -> Write {
        let here = stays.users().cloned().collect();
        let change = Change { whole: true, here, former: self.authors.clone(), ..Change::default() };
        Write { change, only_under: None }
    }

    fn changes(&mut self, stays: &Stays) -> Write {
        let some = self.unwritten.iter().take(WRITE_AT_ONCE).cloned();
        let (here, gone): (Vec<_>, Vec<_>) = some.partition(|user| stays.is_present(user));
        // An arrival ends graces elsewhere: not before the fact of it is written.
        let is_written = |user: &UserName| !self.unwritten.contains(user);
        let now: HashSet<UserName> = here.iter().chain(&gone).cloned().collect();
        let (arrived, later) = std::mem::take(&mut self.arrived)
            .into_iter()
            .partition::<HashSet<_>, _>(|user| is_written(user) || now.contains(user));
        self.arrived = later;
        let arrived = arrived.into_iter().collect();
        let change = Change { continues: self.begun, here, gone, arrived, ..Change::default() };
        Write { change, only_under: self.authors.first().cloned() }
    }

    /// The outcome of the write. False where the store could not be told.
    pub(super) fn wrote(&mut self, outcome: WriteOutcome, stays: &Stays, now: Instant) -> bool {
        let Some(Write { change, .. }) = self.writing.take() else { return true };
        match outcome {
            WriteOutcome::Taken(node) => {
                self.taken(node, &change, stays);
                return true;
            }
            WriteOutcome::Failed { under, unknown } => {
                self.doubtful |= unknown;
                if !self.authors.contains(&under) {
                    self.authors.push(under);
                }
            }
            WriteOutcome::Refused(_) | WriteOutcome::NotTried => {}
        }
        // It may have been done or not: writing all of it is right in either case.
        self.whole = true;
        self.not_before = Some(now + RETRY);
        self.arrived.extend(change.arrived);
        false
    }

    fn taken(&mut self, node: Incarnation, change: &Change, stays: &Stays) {
        self.begun = true;
        if change.whole {
            // What a former one may still write is swept with it.
            self.doubtful &= self.authors.contains(&node);
            self.authors = vec![node];
            let known: Vec<UserName> = self.written.drain().collect();
            known.iter().for_each(|user| self.compare(user, stays));
        }
        self.written.extend(change.here.iter().cloned());
        for user in &change.gone {
            self.written.remove(user);
        }
        change.here.iter().chain(&change.gone).for_each(|user| self.compare(user, stays));
    }

    /// What the store knows of this node may be wrong: write all of it.
    pub(super) fn rewrite(&mut self, stays: &Stays) {
        self.whole |= !stays.is_empty() || !self.written.is_empty();
        self.not_before = None;
    }

    /// When a write is due next. Only what can be done once it is due: the room is woken then, and would be again
    /// at once.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.whole || !self.unwritten.is_empty() || !self.arrived.is_empty();
        let paced = self.paced_until.filter(|_| !self.whole && !self.urgent);
        paced.max(self.not_before).filter(|_| due && self.writing.is_none())
    }
}
