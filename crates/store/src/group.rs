//! Lets calls of one script leave together where a node makes many: one write, one wake of Redis and one
//! read of its answers for all of them. Called by `log/redis.rs`, calls `link.rs`. The first after a quiet
//! moment leaves at once, so that a quiet node pays no latency.

use std::mem::ManuallyDrop;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::error::{Result, StoreError};
use crate::link::Link;
use crate::script::Script;

/// Calls that leave together at most.
const MOST: usize = 256;

pub(crate) struct Group {
    link: Link,
    script: &'static Script,
    window: Duration,
    state: Mutex<State>,
}

struct State {
    /// When the window of the last departure ends.
    ends: Instant,
    /// Those that leave then. The first of them leads: it waits for that moment and carries the answers.
    waiting: Pipeline,
    /// Where the answers of all but the first are waited for.
    answers: Vec<oneshot::Sender<Result<Value>>>,
}

enum Place {
    Alone(Cmd),
    Leads(Instant),
    Follows(oneshot::Receiver<Result<Value>>),
}

impl Group {
    /// With a window of zero every call leaves at once.
    pub(crate) fn new(link: Link, script: &'static Script, window: Duration) -> Self {
        let state = State { ends: Instant::now(), waiting: Pipeline::new(), answers: Vec::new() };
        Self { link, script, window, state: Mutex::new(state) }
    }

    /// Makes a call: with the others of its window, or at once where it is `urgent` or there is none.
    pub(crate) async fn call(&self, call: Cmd, urgent: bool) -> Result<Value> {
        let place = self.state.lock().place(call, urgent, Instant::now(), self.window);
        match place {
            // Boxed: most follow, and whoever calls has room for all three.
            Place::Alone(call) => Box::pin(self.link.call(self.script, &call)).await,
            Place::Leads(ends) => Box::pin(self.lead(ends)).await,
            Place::Follows(answer) => answer.await.unwrap_or_else(|_| Err(abandoned())),
        }
    }

    async fn lead(&self, ends: Instant) -> Result<Value> {
        let leader = Leader(self);
        sleep_until(ends).await;
        let (calls, answers) = leader.depart();
        let mut settled = self.link.calls(self.script, &calls).await.into_iter();
        let own = settled.next().unwrap_or_else(|| Err(abandoned()));
        for (answer, settled) in answers.into_iter().zip(settled) {
            // Whoever does not wait any more does not want to know.
            answer.send(settled).unwrap_or_default();
        }
        own
    }
}

/// Whoever leads a group that has not left. Without it nobody would: those who followed are told, if it goes.
struct Leader<'a>(&'a Group);

impl Leader<'_> {
    fn depart(self) -> (Pipeline, Vec<oneshot::Sender<Result<Value>>>) {
        let group = ManuallyDrop::new(self).0;
        group.state.lock().depart(Instant::now(), group.window)
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        drop(self.0.state.lock().depart(Instant::now(), self.0.window));
    }
}

impl State {
    fn place(&mut self, call: Cmd, urgent: bool, now: Instant, window: Duration) -> Place {
        if self.waiting.is_empty() {
            if urgent || now >= self.ends {
                self.ends = self.ends.max(now + window);
                return Place::Alone(call);
            }
            self.waiting.add_command(call);
            return Place::Leads(self.ends);
        }
        if urgent || self.waiting.len() >= MOST {
            return Place::Alone(call);
        }
        self.waiting.add_command(call);
        let (sender, receiver) = oneshot::channel();
        self.answers.push(sender);
        Place::Follows(receiver)
    }

    /// What waits, and a window for the next.
    fn depart(&mut self, now: Instant, window: Duration) -> (Pipeline, Vec<oneshot::Sender<Result<Value>>>) {
        self.ends = now + window;
        (std::mem::take(&mut self.waiting), std::mem::take(&mut self.answers))
    }
}

/// The client that led the group is cut off with all others, when the process ends.
fn abandoned() -> StoreError {
    StoreError::Unknown("nobody waited for the answer".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::poll;

    use super::*;
    use crate::link::Address;
    use crate::observer::Unobserved;

    const WINDOW: Duration = Duration::from_millis(5);

    fn place(state: &mut State, urgent: bool, now: Instant) -> Place {
        state.place(redis::cmd("PING"), urgent, now, WINDOW)
    }

    fn state(now: Instant) -> State {
        State { ends: now, waiting: Pipeline::new(), answers: Vec::new() }
    }

    #[test]
    fn the_first_goes_at_once_and_the_others_together() {
        let now = Instant::now();
        let mut state = state(now);
        assert!(matches!(place(&mut state, false, now), Place::Alone(_)));
        assert!(matches!(place(&mut state, false, now), Place::Leads(ends) if ends == now + WINDOW));
        let now = now + WINDOW;
        assert!(matches!(place(&mut state, false, now), Place::Follows(_)), "until the leader takes them");
        assert_eq!(state.depart(now, WINDOW).0.len(), 2);
        // The group's own departure opened a window.
        assert!(matches!(place(&mut state, false, now), Place::Leads(ends) if ends == now + WINDOW));
        assert_eq!(state.depart(now + WINDOW, WINDOW).0.len(), 1);
        assert!(matches!(place(&mut state, false, now + 2 * WINDOW), Place::Alone(_)), "a quiet moment");
    }

    #[test]
    fn who_is_urgent_waits_for_nobody_and_a_group_is_bounded() {
        let now = Instant::now();
        let mut state = state(now);
        assert!(matches!(place(&mut state, true, now), Place::Alone(_)));
        assert!(matches!(place(&mut state, true, now), Place::Alone(_)));
        assert!(matches!(place(&mut state, false, now), Place::Leads(_)));
        assert!(matches!(place(&mut state, true, now), Place::Alone(_)));
        let followers = (1..MOST).filter(|_| matches!(place(&mut state, false, now), Place::Follows(_)));
        assert_eq!(followers.count(), MOST - 1);
        assert!(matches!(place(&mut state, false, now), Place::Alone(_)));
    }

    #[tokio::test]
    async fn a_leader_that_goes_leaves_nobody_waiting() {
        let link = Link::new(Address::parse("redis://127.0.0.1:1").unwrap(), Arc::new(Unobserved));
        let group = Group::new(link, &crate::script::LOG_PUBLISH, Duration::from_secs(3_600));
        let call = |group| Group::call(group, redis::cmd("PING"), false);
        assert!(matches!(call(&group).await, Err(StoreError::Unavailable(_))), "alone, and to nowhere");
        let mut leader = Box::pin(call(&group));
        assert!(poll!(&mut leader).is_pending());
        let mut follower = Box::pin(call(&group));
        assert!(poll!(&mut follower).is_pending());
        drop(leader);
        assert!(matches!(follower.await, Err(StoreError::Unknown(_))));
        assert!(matches!(place(&mut group.state.lock(), false, Instant::now()), Place::Leads(_)));
    }

    #[test]
    fn without_a_window_nobody_waits() {
        let now = Instant::now();
        let mut state = state(now);
        let alone =
            |_: &i32| matches!(state.place(redis::cmd("PING"), false, now, Duration::ZERO), Place::Alone(_));
        assert_eq!((0..10).filter(alone).count(), 10);
    }
}
