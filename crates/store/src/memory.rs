//! Puts the memory twins together: one state behind one lock, gone with the process. Called by
//! [`crate::Store::in_memory`]; each twin's part of the state stands in its own file.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::bus::BusListener;
use crate::bus::memory::{MemoryBus, Subscribers};
use crate::health::Health;
use crate::log::memory::{Logs, MemoryLog};
use crate::names::memory::{MemoryNames, Owners};
use crate::nodes::memory::{Leases, MemoryNodes};
use crate::presence::memory::{MemoryPresence, Rooms};
use crate::settings::Settings;
use crate::store::Store;

/// What several nodes in one process share: each node's own [`Store`] on it is made by
/// [`node`](Self::node).
#[derive(Clone)]
pub struct Memory(Arc<Mutex<State>>);

/// Everything. The lock is held for one step of one call, never across a wait.
///
/// Listeners are called under it, which makes the order of events the order of the state. They cannot
/// call back: every method that locks is async and a listener is not, and the one that is not async
/// ([`crate::Bus::subscriptions`]) does not lock.
pub(crate) struct State {
    pub(crate) clock: Clock,
    pub(crate) logs: Logs,
    pub(crate) rooms: Rooms,
    pub(crate) owners: Owners,
    pub(crate) leases: Leases,
    pub(crate) subscribers: Subscribers,
}

/// Milliseconds since 1970 that never go back, however the machine's clock is set.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    at: Duration,
}

impl Clock {
    fn new() -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), at }
    }

    pub(crate) fn now(&self) -> u64 {
        milliseconds(self.at + self.began.elapsed())
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Memory {
    /// An empty memory. The prefix does not matter: no other cluster is in it.
    pub fn new(settings: &Settings) -> Self {
        Self(Arc::new(Mutex::new(State {
            clock: Clock::new(),
            logs: Logs::new(settings.retention),
            rooms: Rooms::default(),
            owners: Owners::default(),
            leases: Leases::default(),
            subscribers: Subscribers::default(),
        })))
    }

    /// The store of one node, whose events go to `listener`.
    pub fn node(&self, listener: Arc<dyn BusListener>) -> Store {
        Store {
            log: Arc::new(MemoryLog(self.clone())),
            presence: Arc::new(MemoryPresence(self.clone())),
            names: Arc::new(MemoryNames(self.clone())),
            nodes: Arc::new(MemoryNodes(self.clone())),
            bus: Arc::new(MemoryBus::new(self.clone(), listener)),
            health: Health::always_up(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}
