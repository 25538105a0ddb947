//! Stops reading from a client whose events are handled more slowly than it sends them, and tells transports of the end of
//! their session. Set by the event queues of a session's sockets; awaited by its transport.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Pause {
    /// How many queues of the session are too long.
    queues: AtomicUsize,
    ended: AtomicBool,
    changed: Notify,
}

impl Pause {
    /// A queue became too long, or short enough again.
    pub(crate) fn set(&self, paused: bool) {
        if paused {
            self.queues.fetch_add(1, Ordering::AcqRel);
        } else {
            self.queues.fetch_sub(1, Ordering::AcqRel);
            self.changed.notify_waiters();
        }
    }

    /// The session has ended: nobody waits any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Waits until the session has ended.
    pub(crate) async fn ended(&self) {
        self.until(|| self.ended.load(Ordering::Acquire)).await;
    }

    /// Waits while any queue is too long.
    pub(crate) async fn resumed(&self) {
        self.until(|| self.queues.load(Ordering::Acquire) == 0 || self.ended.load(Ordering::Acquire)).await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if condition() {
                return;
            }
            changed.await;
        }
    }
}
