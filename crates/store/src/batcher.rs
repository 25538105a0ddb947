//! Batches calls of one script: where a node makes many, those of one batch window are sent to Redis in one
//! write, and their answers come in one read. Called by `log/redis.rs`, calls `link.rs`. The first call
//! after a quiet moment is sent at once, so that a quiet node pays no latency.

use std::mem::ManuallyDrop;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::error::{Result, StoreError};
use crate::link::Link;
use crate::script::Script;

/// Most calls of one batch.
const MAX_BATCH: usize = 256;

pub(crate) struct PublishBatcher {
    link: Link,
    script: &'static Script,
    window: Duration,
    batch: Mutex<Batch>,
}

/// The batch that is being collected.
struct Batch {
    /// When the window that the last call or batch opened ends.
    window_ends: Instant,
    /// The calls. Whoever made the first of them sends the batch at that moment.
    calls: Pipeline,
    /// Where the answers of all calls but the first are awaited.
    answers: Vec<oneshot::Sender<Result<Value>>>,
}

/// What becomes of a call.
enum Placed {
    /// It is sent at once, alone.
    Alone(Cmd),
    /// It is the first of a batch, which its caller sends at that moment.
    First(Instant),
    /// It is sent with the batch; its answer comes here.
    Joined(oneshot::Receiver<Result<Value>>),
}

impl PublishBatcher {
    /// With a window of zero every call is sent at once.
    pub(crate) fn new(link: Link, script: &'static Script, window: Duration) -> Self {
        let batch = Batch { window_ends: Instant::now(), calls: Pipeline::new(), answers: Vec::new() };
        Self { link, script, window, batch: Mutex::new(batch) }
    }

    /// Makes a call: with the others of its window, or at once where it is `urgent` or the window is over.
    pub(crate) async fn call(&self, call: Cmd, urgent: bool) -> Result<Value> {
        let placed = self.batch.lock().place(call, urgent, Instant::now(), self.window);
        match placed {
            // Boxed: most calls join a batch, and the caller's future would have room for all three.
            Placed::Alone(call) => Box::pin(self.link.call(self.script, &call)).await,
            Placed::First(window_ends) => Box::pin(self.send_batch(window_ends)).await,
            Placed::Joined(answer) => answer.await.unwrap_or_else(|_| Err(dropped())),
        }
    }

    async fn send_batch(&self, window_ends: Instant) -> Result<Value> {
        let pending = PendingBatch(self);
        sleep_until(window_ends).await;
        let (calls, answers) = pending.take();
        let mut outcomes = self.link.call_batch(self.script, &calls).await.into_iter();
        let own = outcomes.next().unwrap_or_else(|| Err(dropped()));
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // A caller that does not wait any more needs no answer.
            answer.send(outcome).unwrap_or_default();
        }
        own
    }
}

/// A batch that waits for its window to end. If the caller that would send it is dropped, nobody would: the
/// batch is dropped with it, which answers the calls that joined it.
struct PendingBatch<'a>(&'a PublishBatcher);

impl PendingBatch<'_> {
    fn take(self) -> (Pipeline, Vec<oneshot::Sender<Result<Value>>>) {
        let batcher = ManuallyDrop::new(self).0;
        batcher.batch.lock().take(Instant::now(), batcher.window)
    }
}

impl Drop for PendingBatch<'_> {
    fn drop(&mut self) {
        drop(self.0.batch.lock().take(Instant::now(), self.0.window));
    }
}

impl Batch {
    fn place(&mut self, call: Cmd, urgent: bool, now: Instant, window: Duration) -> Placed {
        if self.calls.is_empty() {
            if urgent || now >= self.window_ends {
                self.window_ends = self.window_ends.max(now + window);
                return Placed::Alone(call);
            }
            self.calls.add_command(call);
            return Placed::First(self.window_ends);
        }
        if urgent || self.calls.len() >= MAX_BATCH {
            return Placed::Alone(call);
        }
        self.calls.add_command(call);
        let (sender, receiver) = oneshot::channel();
        self.answers.push(sender);
        Placed::Joined(receiver)
    }

    /// The calls collected so far; opens a window for the next batch.
    fn take(&mut self, now: Instant, window: Duration) -> (Pipeline, Vec<oneshot::Sender<Result<Value>>>) {
        self.window_ends = now + window;
        (std::mem::take(&mut self.calls), std::mem::take(&mut self.answers))
    }
}

/// The caller that would have sent the batch is gone: its client was disconnected with all others, when the
/// process ends.
fn dropped() -> StoreError {
    StoreError::Unknown("the batch was dropped".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::poll;

    use super::*;
    use crate::address::Address;
    use crate::observer::Unobserved;

    const WINDOW: Duration = Duration::from_millis(5);

    fn place(batch: &mut Batch, urgent: bool, now: Instant) -> Placed {
        batch.place(redis::cmd("PING"), urgent, now, WINDOW)
    }

    fn batch(now: Instant) -> Batch {
        Batch { window_ends: now, calls: Pipeline::new(), answers: Vec::new() }
    }

    #[test]
    fn the_first_is_sent_at_once_and_the_others_together() {
        let now = Instant::now();
        let mut batch = batch(now);
        assert!(matches!(place(&mut batch, false, now), Placed::Alone(_)));
        assert!(matches!(place(&mut batch, false, now), Placed::First(ends) if ends == now + WINDOW));
        let now = now + WINDOW;
        assert!(matches!(place(&mut batch, false, now), Placed::Joined(_)), "until the batch is taken");
        assert_eq!(batch.take(now, WINDOW).0.len(), 2);
        // Sending a batch opened a window.
        assert!(matches!(place(&mut batch, false, now), Placed::First(ends) if ends == now + WINDOW));
        assert_eq!(batch.take(now + WINDOW, WINDOW).0.len(), 1);
        assert!(matches!(place(&mut batch, false, now + 2 * WINDOW), Placed::Alone(_)), "a quiet moment");
    }

    #[test]
    fn an_urgent_call_joins_no_batch_and_a_batch_is_bounded() {
        let now = Instant::now();
        let mut batch = batch(now);
        assert!(matches!(place(&mut batch, true, now), Placed::Alone(_)));
        assert!(matches!(place(&mut batch, true, now), Placed::Alone(_)));
        assert!(matches!(place(&mut batch, false, now), Placed::First(_)));
        assert!(matches!(place(&mut batch, true, now), Placed::Alone(_)));
        let joined = (1..MAX_BATCH).filter(|_| matches!(place(&mut batch, false, now), Placed::Joined(_)));
        assert_eq!(joined.count(), MAX_BATCH - 1);
        assert!(matches!(place(&mut batch, false, now), Placed::Alone(_)));
    }

    #[tokio::test]
    async fn a_dropped_batch_leaves_nobody_waiting() {
        let link = Link::new(Address::parse("redis://127.0.0.1:1").unwrap(), Arc::new(Unobserved));
        let batcher = PublishBatcher::new(link, &crate::script::LOG_PUBLISH, Duration::from_secs(3_600));
        let call = |batcher| PublishBatcher::call(batcher, redis::cmd("PING"), false);
        assert!(matches!(call(&batcher).await, Err(StoreError::Unavailable(_))), "alone, and to nowhere");
        let mut first = Box::pin(call(&batcher));
        assert!(poll!(&mut first).is_pending());
        let mut joined = Box::pin(call(&batcher));
        assert!(poll!(&mut joined).is_pending());
        drop(first);
        assert!(matches!(joined.await, Err(StoreError::Unknown(_))));
        assert!(matches!(place(&mut batcher.batch.lock(), false, Instant::now()), Placed::First(_)));
    }

    #[test]
    fn without_a_window_nobody_waits() {
        let now = Instant::now();
        let mut batch = batch(now);
        let alone =
            |_: &i32| matches!(batch.place(redis::cmd("PING"), false, now, Duration::ZERO), Placed::Alone(_));
        assert_eq!((0..10).filter(alone).count(), 10);
    }
}
