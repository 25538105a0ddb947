//! Decides the next step for each dead node by the time since it was sealed and by what this replica has done. Pure.
//! Called by `sweeper.rs` in every round.

use std::collections::BTreeMap;
use std::time::Duration;

use roomcast_store::{Incarnation, Sealed};

/// How long after its sealing a node is swept at the earliest. A client that has come back under an open name waits for the
/// name until the lease is over; in this time its gateway notices that, gives it the name and writes that it is in its
/// rooms, so that it never was away. Half a lease, if that is less.
const RETURNS: Duration = Duration::from_millis(800);

/// A step for a dead node. Sorted by urgency: users who are wrongly shown online are removed before nodes are swept
/// again, which rarely removes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Remove its facts and names.
    Sweep,
    /// Remove what it may have written after the first sweep, and forget it.
    SweepAndForget,
}

/// What this replica has done for a dead node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// A step is in progress.
    running: bool,
    /// A sweep succeeded.
    swept: bool,
    /// The last step failed.
    failed: bool,
}

/// The next step. A replica that finds a node which was sealed a lease ago or earlier sweeps it once and forgets it:
/// all late writes of the node have been executed by then.
pub(super) fn decide(age: Duration, done: Progress, lease: Duration) -> Option<Step> {
    match done {
        Progress { running: true, .. } => None,
        _ if age >= lease => Some(Step::SweepAndForget),
        Progress { swept: false, .. } if age >= RETURNS.min(lease / 2) => Some(Step::Sweep),
        Progress { .. } => None,
    }
}

/// The progress of this replica with each dead node.
#[derive(Debug)]
pub(super) struct Plan {
    lease: Duration,
    progress: BTreeMap<Incarnation, Progress>,
}

/// The result of a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Dead nodes that this replica had not found before.
    pub(super) new: Vec<Sealed>,
    /// What to do, the most urgent first.
    pub(super) due: Vec<(Incarnation, Step)>,
}

impl Plan {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, progress: BTreeMap::new() }
    }

    /// Compares the sealed nodes with the progress. A node that is not listed any more was forgotten by some replica
    /// and is removed here.
    pub(super) fn round(&mut self, sealed: &[Sealed]) -> Round {
        let before = std::mem::take(&mut self.progress);
        let mut round = Round::default();
        for node in sealed {
            let done = before.get(&node.incarnation).copied().unwrap_or_else(|| {
                round.new.push(node.clone());
                Progress::default()
            });
            self.progress.insert(node.incarnation.clone(), done);
            round.due.extend(decide(node.age, done, self.lease).map(|step| (node.incarnation.clone(), step)));
        }
        round.due.sort_by_key(|(_, step)| *step);
        round
    }

    /// A step begins.
    pub(super) fn begin(&mut self, node: &Incarnation) {
        if let Some(done) = self.progress.get_mut(node) {
            done.running = true;
        }
    }

    /// A step ended. True where it failed and the one before had not.
    pub(super) fn end(&mut self, node: &Incarnation, step: Step, succeeded: bool) -> bool {
        // Absent where another replica forgot the node while this one swept it.
        let Some(done) = self.progress.get_mut(node) else { return !succeeded };
        let first_failure = !succeeded && !done.failed;
        *done = Progress {
            // A forgotten node stays "running" until a round does not list it: a listing that was in progress
            // meanwhile may still contain it, and nothing is left to do for it.
            running: succeeded && step == Step::SweepAndForget,
            swept: done.swept || succeeded,
            failed: !succeeded,
        };
        first_failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);
    const YOUNG: Duration = Duration::from_secs(1);

    fn sealed(word: &str, age: Duration) -> Sealed {
        Sealed { incarnation: Incarnation::new(word), age }
    }

    fn due(plan: &mut Plan, list: &[Sealed]) -> Vec<(String, Step)> {
        plan.round(list).due.into_iter().map(|(node, step)| (node.as_str().to_owned(), step)).collect()
    }

    #[test]
    fn the_next_step_depends_on_age_and_progress() {
        let (fresh, swept) = (Progress::default(), Progress { swept: true, ..Progress::default() });
        let table = [
            (RETURNS / 2, fresh, None),
            (YOUNG, fresh, Some(Step::Sweep)),
            (YOUNG, swept, None),
            (YOUNG, Progress { failed: true, ..fresh }, Some(Step::Sweep)),
            (LEASE, fresh, Some(Step::SweepAndForget)),
            (LEASE, swept, Some(Step::SweepAndForget)),
            (LEASE, Progress { failed: true, ..swept }, Some(Step::SweepAndForget)),
            (YOUNG, Progress { running: true, ..fresh }, None),
            (LEASE, Progress { running: true, ..swept }, None),
        ];
        for (age, done, step) in table {
            assert_eq!(decide(age, done, LEASE), step, "{age:?} {done:?}");
        }
    }

    #[test]
    fn a_dead_node_is_swept_twice_and_forgotten() {
        let (mut plan, node) = (Plan::new(LEASE), Incarnation::new("a"));
        let young = [sealed("a", YOUNG)];
        assert_eq!(plan.round(&[sealed("a", Duration::ZERO)]).new.len(), 1);
        assert_eq!(due(&mut plan, &young), [("a".into(), Step::Sweep)]);
        plan.begin(&node);
        assert_eq!(due(&mut plan, &young), [], "not twice at once");
        assert!(!plan.end(&node, Step::Sweep, true));
        assert_eq!(due(&mut plan, &young), [], "not again before a lease has passed");
        let old = [sealed("a", LEASE)];
        assert_eq!(due(&mut plan, &old), [("a".into(), Step::SweepAndForget)]);
        plan.begin(&node);
        plan.end(&node, Step::SweepAndForget, true);
        assert_eq!(due(&mut plan, &old), [], "a listing from before it was forgotten");
        assert!(plan.round(&old).new.is_empty(), "reported as new once");
        plan.round(&[]);
        assert_eq!(plan.progress.len(), 0);
    }

    #[test]
    fn failures_are_retried_and_reported_once() {
        let (mut plan, node) = (Plan::new(LEASE), Incarnation::new("a"));
        let list = [sealed("a", YOUNG)];
        for first in [true, false, false] {
            assert_eq!(due(&mut plan, &list), [("a".into(), Step::Sweep)]);
            plan.begin(&node);
            assert_eq!(plan.end(&node, Step::Sweep, false), first);
        }
        plan.begin(&node);
        assert!(!plan.end(&node, Step::Sweep, true));
        assert!(plan.end(&node, Step::SweepAndForget, false), "a new failure is reported again");
    }

    #[test]
    fn a_replica_that_starts_late_does_the_urgent_steps_first() {
        let mut plan = Plan::new(LEASE);
        let list = [sealed("old", LEASE * 2), sealed("young", YOUNG)];
        assert_eq!(
            due(&mut plan, &list),
            [("young".into(), Step::Sweep), ("old".into(), Step::SweepAndForget)]
        );
    }

    #[test]
    fn a_node_that_another_replica_forgot_during_a_sweep_is_removed() {
        let (mut plan, node) = (Plan::new(LEASE), Incarnation::new("a"));
        plan.round(&[sealed("a", LEASE)]);
        plan.begin(&node);
        plan.round(&[]);
        assert!(!plan.end(&node, Step::SweepAndForget, true));
        assert_eq!(plan.progress.len(), 0, "and is not added again");
    }
}
