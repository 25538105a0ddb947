//! What is to be done about each dead node, decided by its age and by what this replica did already. No
//! I/O and no clock: called by `sweeper.rs` in every round.

use std::collections::BTreeMap;
use std::time::Duration;

use roomcast_store::{Incarnation, Sealed};

/// What is to be done about a dead node. The order is the order of urgency: users that are seen online
/// and are not come before what is nearly always nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Remove what it left.
    Sweep,
    /// Remove what it wrote while it was swept, if anything, and forget it.
    SweepAndForget,
}

/// What this replica did about a dead node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// A step is under way.
    running: bool,
    /// A sweep ended well.
    swept: bool,
    /// The last step failed.
    failed: bool,
}

/// The one decision. A replica that finds a node which was sealed long ago sweeps it once and forgets it:
/// whatever the node wrote has been written by then.
pub(super) fn decide(age: Duration, done: Progress, lease: Duration) -> Option<Step> {
    match done {
        Progress { running: true, .. } => None,
        _ if age >= lease => Some(Step::SweepAndForget),
        Progress { swept: false, .. } => Some(Step::Sweep),
        Progress { swept: true, .. } => None,
    }
}

/// What this replica knows about the dead nodes there are.
#[derive(Debug)]
pub(super) struct Plan {
    lease: Duration,
    progress: BTreeMap<Incarnation, Progress>,
}

/// What a round found.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Dead nodes that this replica had not seen.
    pub(super) new: Vec<Sealed>,
    /// What to do, the most urgent first.
    pub(super) due: Vec<(Incarnation, Step)>,
}

impl Plan {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, progress: BTreeMap::new() }
    }

    /// Compares what is sealed with what was done. A node that is no longer among the sealed was forgotten,
    /// by whomever, and is forgotten here.
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
    pub(super) fn end(&mut self, node: &Incarnation, step: Step, well: bool) -> bool {
        // Absent where another replica forgot the node while this one swept it.
        let Some(done) = self.progress.get_mut(node) else { return !well };
        let first_failure = !well && !done.failed;
        *done = Progress {
            // A forgotten node stays "running" until a round no longer lists it: a round that was under way
            // meanwhile may still do so, and there is nothing left to do about it.
            running: well && step == Step::SweepAndForget,
            swept: done.swept || well,
            failed: !well,
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
    fn the_decision() {
        let (fresh, swept) = (Progress::default(), Progress { swept: true, ..Progress::default() });
        let table = [
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
    fn a_life_of_a_dead_node() {
        let (mut plan, node) = (Plan::new(LEASE), Incarnation::new("a"));
        let young = [sealed("a", YOUNG)];
        assert_eq!(plan.round(&young).new.len(), 1);
        assert_eq!(due(&mut plan, &young), [("a".into(), Step::Sweep)]);
        plan.begin(&node);
        assert_eq!(due(&mut plan, &young), [], "not twice at once");
        assert!(!plan.end(&node, Step::Sweep, true));
        assert_eq!(due(&mut plan, &young), [], "not again before a lease has passed");
        let old = [sealed("a", LEASE)];
        assert_eq!(due(&mut plan, &old), [("a".into(), Step::SweepAndForget)]);
        plan.begin(&node);
        plan.end(&node, Step::SweepAndForget, true);
        assert_eq!(due(&mut plan, &old), [], "a round from before the forgetting");
        assert!(plan.round(&old).new.is_empty(), "seen as new once");
        plan.round(&[]);
        assert_eq!(plan.progress.len(), 0);
    }

    #[test]
    fn failures_are_retried_and_told_once() {
        let (mut plan, node) = (Plan::new(LEASE), Incarnation::new("a"));
        let list = [sealed("a", YOUNG)];
        for told in [true, false, false] {
            assert_eq!(due(&mut plan, &list), [("a".into(), Step::Sweep)]);
            plan.begin(&node);
            assert_eq!(plan.end(&node, Step::Sweep, false), told);
        }
        plan.begin(&node);
        assert!(!plan.end(&node, Step::Sweep, true));
        assert!(plan.end(&node, Step::SweepAndForget, false), "a new failure is told again");
    }

    #[test]
    fn a_replica_that_starts_late_does_what_is_left_and_urgent_things_first() {
        let mut plan = Plan::new(LEASE);
        let list = [sealed("old", LEASE * 2), sealed("young", YOUNG)];
        assert_eq!(
            due(&mut plan, &list),
            [("young".into(), Step::Sweep), ("old".into(), Step::SweepAndForget)]
        );
    }

    #[test]
    fn a_node_forgotten_elsewhere_while_it_is_swept_here() {
        let (mut plan, node) = (Plan::new(LEASE), Incarnation::new("a"));
        plan.round(&[sealed("a", LEASE)]);
        plan.begin(&node);
        plan.round(&[]);
        assert!(!plan.end(&node, Step::SweepAndForget, true));
        assert_eq!(plan.progress.len(), 0, "and does not come back");
    }
}
