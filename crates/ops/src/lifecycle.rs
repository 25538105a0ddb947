//! Two-stage shutdown: the soft token (accept no new work, finish what has begun), the hard token (drop
//! everything), and a tracker that knows when every task has ended. `run_main` creates the one `Lifecycle` of a
//! process and binds it to signals; tests create their own and call `stop`. Everything that spawns, spawns here.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// How long tasks that watch the hard token may take to end; the runtime drops the others.
const HARD_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The life of one process. A clone is another handle on the same life.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    soft: CancellationToken,
    hard: CancellationToken,
    tracker: TaskTracker,
    /// Running tasks by name, for the log line when they do not end in time.
    running: Mutex<BTreeMap<&'static str, Arc<AtomicUsize>>>,
    /// The first crash: the later ones are usually its consequences.
    crash: Mutex<Option<String>>,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every tracked task ended by itself.
    Graceful,
    /// The deadline passed or a second signal came while tasks were still running.
    GaveUp,
    /// A task that must not end ended, see [`Lifecycle::crash`]; the others may or may not have finished.
    Crashed,
}

impl Outcome {
    /// What the process reports: 0 graceful, 1 crashed, 2 gave up.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Graceful => ExitCode::SUCCESS,
            Self::Crashed => ExitCode::FAILURE,
            Self::GaveUp => ExitCode::from(2),
        }
    }
}

impl Lifecycle {
    /// A life that has just begun, bound to no signal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `fut` as a task that [`finish`](Self::finish) waits for. `name` is shared by all tasks of a kind.
    ///
    /// The future should end soon after the soft token is cancelled; one that cannot must watch the hard token.
    /// A panic ends this task only and is logged.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, fut: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let running = Running::enter(&self.0, name);
        start(self.0.tracker.track_future(Tracked { fut, _running: running }))
    }

    /// Like [`spawn`](Self::spawn) for work that the hard token drops unfinished.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_until_hard<F>(&self, name: &'static str, fut: F) -> JoinHandle<()>
    where
        F: Future + Send + 'static,
    {
        self.spawn(name, UntilHard { fut, hard: self.0.hard.clone().cancelled_owned() })
    }

    /// Like [`spawn`](Self::spawn) for a task without which the process is useless: if it ends or panics before
    /// the soft token is cancelled, that is a [`crash`](Self::crash).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_critical<F>(&self, name: &'static str, fut: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guard = Critical { lifecycle: self.clone(), name };
        self.spawn(name, async move {
            let _guard = guard;
            fut.await;
        })
    }

    /// Cancelled first: accept no new work, finish what has begun.
    pub fn soft(&self) -> CancellationToken {
        self.0.soft.clone()
    }

    /// Cancelled last: drop everything now. It is never cancelled before the soft token.
    pub fn hard(&self) -> CancellationToken {
        self.0.hard.clone()
    }

    /// Begins the shutdown, as a first signal would. Calling it again changes nothing.
    pub fn stop(&self) {
        self.0.soft.cancel();
    }

    /// A task that must not end ended: begins the shutdown and makes the outcome [`Outcome::Crashed`].
    pub fn crash(&self, task: &'static str, why: impl Display) {
        tracing::error!(task, error = %why, "a task that must not end ended; shutting down");
        self.0.crash.lock().get_or_insert_with(|| format!("{task}: {why}"));
        self.0.soft.cancel();
    }

    /// The first crash as `task: why`, if there was one.
    pub fn crashed(&self) -> Option<String> {
        self.0.crash.lock().clone()
    }

    /// Resolves when the shutdown begins: first signal, [`stop`](Self::stop) or [`crash`](Self::crash).
    pub async fn stopped(&self) {
        self.0.soft.cancelled().await;
    }

    /// Running tasks by name; names without a running task are left out.
    pub fn running(&self) -> BTreeMap<&'static str, usize> {
        let running = self.0.running.lock();
        running.iter().map(|(name, n)| (*name, n.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0).collect()
    }

    /// Resolves when no tracked task is running any more. It stops nothing: cancel a token before, and bound the wait.
    pub async fn ended(&self) {
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }

    /// Waits for the shutdown to begin, then for the tracked tasks; after `deadline`, counted from the beginning
    /// of this wait, or on a second signal, cancels the hard token and gives up on those that still run.
    pub async fn finish(self, deadline: Duration) -> Outcome {
        self.stopped().await;
        self.0.tracker.close();
        let ended = tokio::select! {
            // In this order: tasks that ended because of the hard token did not end gracefully, but one that ends
            // in the last instant before the deadline did.
            biased;
            () = self.0.hard.cancelled() => false,
            () = self.0.tracker.wait() => true,
            () = tokio::time::sleep(deadline) => false,
        };
        if !ended {
            tracing::warn!(tasks = ?self.running(), ?deadline, "tasks did not finish before the deadline");
            self.0.hard.cancel();
            if tokio::time::timeout(HARD_STOP_TIMEOUT, self.0.tracker.wait()).await.is_err() {
                tracing::warn!(tasks = ?self.running(), "dropping tasks that do not watch the hard token");
            }
        }
        match (self.crashed(), ended) {
            (Some(why), _) => {
                tracing::error!(%why, "stopped after a crash");
                Outcome::Crashed
            }
            (None, true) => {
                tracing::info!("stopped gracefully");
                Outcome::Graceful
            }
            (None, false) => Outcome::GaveUp,
        }
    }

    /// From now on the first SIGINT or SIGTERM cancels the soft token and the second the hard one. If the process
    /// may not catch signals, says so in the log and goes on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn listen_for_signals(&self) {
        // Caught from here on, not from the first poll of the task: a signal in between must not kill us.
        let (mut interrupt, mut terminate) = match catch() {
            Ok(streams) => streams,
            Err(error) => {
                return tracing::error!(%error, "cannot catch signals; shutdown will not be graceful");
            }
        };
        let Self(life) = self.clone();
        // Not tracked: this task ends last.
        drop(start(async move {
            while !life.hard.is_cancelled() {
                let signal = tokio::select! {
                    Some(()) = interrupt.recv() => "SIGINT",
                    Some(()) = terminate.recv() => "SIGTERM",
                    () = life.hard.cancelled() => return,
                };
                if life.soft.is_cancelled() {
                    tracing::warn!(signal, "shutdown forced by a second signal");
                    life.hard.cancel();
                } else {
                    tracing::info!(signal, "shutdown requested; a second signal forces it");
                    life.soft.cancel();
                }
            }
        }));
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that catches signals")]
fn catch() -> std::io::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok((
        // Ctrl-C in a terminal; Docker with `stop_signal: SIGINT`.
        signal(SignalKind::interrupt())?,
        // The kubelet when a pod is deleted, `docker stop`, systemd, plain `kill`.
        signal(SignalKind::terminate())?,
    ))
}

#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
fn start<F>(fut: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(fut)
}

/// Counts a task as running until it is dropped, and logs its panic.
struct Running {
    name: &'static str,
    count: Arc<AtomicUsize>,
}

impl Running {
    fn enter(life: &Inner, name: &'static str) -> Self {
        let count = life.running.lock().entry(name).or_default().clone();
        count.fetch_add(1, Ordering::Relaxed);
        Self { name, count }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() {
            tracing::error!(task = self.name, "task panicked");
        }
    }
}

pin_project! {
    /// A task's work. No `async` block, which would hold what it awaits twice: the tasks of events are many.
    struct Tracked<F> {
        #[pin]
        fut: F,
        _running: Running,
    }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().fut.poll(cx)
    }
}

pin_project! {
    /// Work until it is done or the hard token is cancelled.
    struct UntilHard<F> {
        #[pin]
        fut: F,
        #[pin]
        hard: WaitForCancellationFutureOwned,
    }
}

impl<F: Future> Future for UntilHard<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.fut.poll(cx).is_ready() { Poll::Ready(()) } else { this.hard.poll(cx) }
    }
}

/// Turns the end of a critical task into a crash, unless the process was stopping anyway.
struct Critical {
    lifecycle: Lifecycle,
    name: &'static str,
}

impl Drop for Critical {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.lifecycle.crash(self.name, "panicked");
        } else if !self.lifecycle.0.soft.is_cancelled() {
            self.lifecycle.crash(self.name, "ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_every_tracked_task() {
        let life = Lifecycle::new();
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let soft = life.soft();
        life.spawn("worker", async move {
            soft.cancelled().await;
            released.await
        });
        let finish = life.spawn("waiter", std::future::ready(()));
        finish.await.unwrap();
        life.stop();
        let mut end = std::pin::pin!(life.clone().finish(Duration::from_secs(60)));
        tokio::select! {
            biased;
            _ = &mut end => panic!("did not wait for the worker"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(life.running(), BTreeMap::from([("worker", 1)]));
        release.send(()).unwrap();
        assert_eq!(end.await, Outcome::Graceful);
        assert!(life.running().is_empty());
        assert!(!life.hard().is_cancelled());
    }

    #[tokio::test]
    async fn ended_waits_for_the_last_task_and_needs_no_shutdown() {
        let life = Lifecycle::new();
        life.ended().await;
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        life.spawn("worker", released);
        let mut ended = std::pin::pin!(life.ended());
        tokio::select! {
            biased;
            () = &mut ended => panic!("did not wait for the worker"),
            () = tokio::task::yield_now() => {}
        }
        release.send(()).unwrap();
        ended.await;
        assert!(life.running().is_empty());
    }

    #[tokio::test]
    async fn finish_waits_for_the_shutdown_to_begin() {
        let life = Lifecycle::new();
        let mut end = std::pin::pin!(life.clone().finish(Duration::ZERO));
        tokio::select! {
            biased;
            _ = &mut end => panic!("the shutdown has not begun"),
            () = tokio::task::yield_now() => {}
        }
        life.stop();
        assert_eq!(end.await, Outcome::Graceful);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_cancels_the_hard_token() {
        let life = Lifecycle::new();
        let hard = life.hard();
        let task = life.spawn("stubborn", async move { hard.cancelled().await });
        life.stop();
        let begin = tokio::time::Instant::now();
        assert_eq!(life.clone().finish(Duration::from_secs(20)).await, Outcome::GaveUp);
        assert_eq!(begin.elapsed().as_secs(), 20);
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ignores_the_hard_token_does_not_block_the_process() {
        let life = Lifecycle::new();
        let task = life.spawn("stuck", std::future::pending::<()>());
        life.stop();
        assert_eq!(life.finish(Duration::from_secs(5)).await, Outcome::GaveUp);
        assert!(!task.is_finished());
    }

    #[tokio::test]
    async fn a_crash_stops_the_process_and_is_remembered() {
        let life = Lifecycle::new();
        life.crash("bus", "connection refused");
        life.crash("feed", "no bus");
        life.stopped().await;
        assert_eq!(life.crashed().as_deref(), Some("bus: connection refused"));
        let outcome = life.finish(Duration::from_secs(60)).await;
        assert_eq!(outcome, Outcome::Crashed);
        assert_eq!(outcome.exit_code(), ExitCode::FAILURE);
    }

    #[tokio::test]
    async fn a_critical_task_may_end_only_after_the_soft_token() {
        let life = Lifecycle::new();
        life.spawn_critical("listener", std::future::ready(())).await.unwrap();
        assert_eq!(life.crashed().as_deref(), Some("listener: ended"));

        let life = Lifecycle::new();
        life.spawn_critical("listener", async { panic!("bug") }).await.unwrap_err();
        assert_eq!(life.crashed().as_deref(), Some("listener: panicked"));

        let life = Lifecycle::new();
        let soft = life.soft();
        let task = life.spawn_critical("listener", async move { soft.cancelled().await });
        life.stop();
        task.await.unwrap();
        assert_eq!(life.crashed(), None);
    }

    #[tokio::test]
    async fn a_panic_ends_one_task_only() {
        let life = Lifecycle::new();
        life.spawn("connection", async { panic!("bug") }).await.unwrap_err();
        assert!(!life.soft().is_cancelled());
        life.stop();
        assert_eq!(life.finish(Duration::from_secs(60)).await, Outcome::Graceful);
    }
}
