//! The sessions of this node: those that began with long-polling, by id, and the timer of all. Called by
//! `../requests.rs`, which finds sessions, by the sessions themselves, and by `edge/mod.rs`, which runs the timer.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::ended::Ended;
use super::session::{Session, Table};

/// A handle; clones share the tables.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Those that a request may name.
    by_id: Mutex<HashMap<String, Arc<Session>>>,
    timers: Mutex<Timers>,
    /// A timer was set that fires before all others.
    sooner: Notify,
    /// No session may be opened any more.
    closed: CancellationToken,
}

#[derive(Default)]
struct Timers {
    due: BinaryHeap<Reverse<Timer>>,
    next_number: u64,
}

/// The next time at which a session must be called.
struct Timer {
    at: Instant,
    number: u64,
    session: Weak<Session>,
}

impl Timer {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Table for Sessions {
    fn add(&self, session: &Arc<Session>, named: bool) {
        if named {
            self.0.by_id.lock().insert(session.id().to_owned(), Arc::clone(session));
        }
        self.call(session, Instant::now());
        if self.0.closed.is_cancelled() {
            session.close(Ended::Server);
        }
    }

    fn wake(&self, session: &Arc<Session>) {
        self.call(session, Instant::now());
    }

    fn remove(&self, session: &Session) {
        self.0.by_id.lock().remove(session.id());
    }
}

impl Sessions {
    /// The session with this id, if it began with long-polling.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.0.by_id.lock().get(id).cloned()
    }

    fn call(&self, session: &Arc<Session>, now: Instant) {
        let Some(at) = session.on_timer(now) else { return };
        let mut timers = self.0.timers.lock();
        timers.next_number += 1;
        let timer = Timer { at, number: timers.next_number, session: Arc::downgrade(session) };
        let sooner = timers.due.peek().is_none_or(|Reverse(first)| at < first.at);
        timers.due.push(Reverse(timer));
        drop(timers);
        if sooner {
            self.0.sooner.notify_one();
        }
    }

    /// Calls each session when it is due, until `drained`; then closes those that are left.
    pub(crate) async fn keep(self, drained: CancellationToken) {
        tokio::select! {
            () = self.run_timers() => {}
            () = drained.cancelled() => {}
        }
        self.0.closed.cancel();
        let left = std::mem::take(&mut self.0.timers.lock().due);
        for Reverse(timer) in left {
            if let Some(session) = timer.session.upgrade() {
                session.close(Ended::Server);
            }
        }
    }

    async fn run_timers(&self) {
        loop {
            let now = Instant::now();
            while let Some(session) = self.next_due(now) {
                if let Some(session) = session.upgrade() {
                    self.call(&session, now);
                }
            }
            let next = self.0.timers.lock().due.peek().map(|Reverse(timer)| timer.at);
            let sooner = self.0.sooner.notified();
            match next {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = sooner => {}
                },
                None => sooner.await,
            }
        }
    }

    fn next_due(&self, now: Instant) -> Option<Weak<Session>> {
        let mut timers = self.0.timers.lock();
        timers.due.peek().filter(|Reverse(timer)| timer.at <= now)?;
        timers.due.pop().map(|Reverse(timer)| timer.session)
    }
}
