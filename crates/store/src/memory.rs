//! Puts the memory twins together. Each owns its part of the state in its own file; here is only which node
//! shares what. Called by [`crate::Store::in_memory`].

use std::sync::Arc;

use crate::bus::BusListener;
use crate::bus::memory::{MemoryBus, Subscribers};
use crate::health::Health;
use crate::log::memory::MemoryLog;
use crate::names::memory::MemoryNames;
use crate::nodes::memory::MemoryNodes;
use crate::presence::memory::MemoryPresence;
use crate::settings::Settings;
use crate::store::Store;

/// What several nodes in one process share: each node's own [`Store`] on it is made by
/// [`node`](Self::node).
///
/// Each part has a lock of its own, held for one step of one call, never across a wait. Events are passed to the
/// listeners while the lock of what it tells of is held, which is what makes the order of news the order of the
/// state. Locks are taken in one order: presence, log, subscribers; listeners cannot call back, for every method
/// that locks is async and a listener is not.
#[derive(Clone)]
pub struct Memory {
    log: Arc<MemoryLog>,
    presence: Arc<MemoryPresence>,
    names: Arc<MemoryNames>,
    nodes: Arc<MemoryNodes>,
    subscribers: Arc<Subscribers>,
}

impl Memory {
    /// An empty memory. The prefix does not matter: no other cluster is in it.
    pub fn new(settings: &Settings) -> Self {
        let subscribers = Arc::<Subscribers>::default();
        let log = Arc::new(MemoryLog::new(settings.retention, Arc::clone(&subscribers)));
        Self {
            presence: Arc::new(MemoryPresence::new(Arc::clone(&log), Arc::clone(&subscribers))),
            names: Arc::default(),
            nodes: Arc::default(),
            log,
            subscribers,
        }
    }

    /// Everything that is kept about users and nodes, a line each and in order: for tests that ask whether
    /// anything was left behind.
    pub fn entries(&self) -> Vec<String> {
        let mut entries: Vec<String> = self
            .presence
            .entries()
            .into_iter()
            .chain(self.names.entries())
            .chain(self.nodes.entries())
            .collect();
        entries.sort();
        entries
    }

    /// The store of one node, whose events go to `listener`.
    pub fn node(&self, listener: Arc<dyn BusListener>) -> Store {
        Store {
            log: Arc::<MemoryLog>::clone(&self.log),
            presence: Arc::<MemoryPresence>::clone(&self.presence),
            names: Arc::<MemoryNames>::clone(&self.names),
            nodes: Arc::<MemoryNodes>::clone(&self.nodes),
            bus: Arc::new(MemoryBus::new(Arc::clone(&self.subscribers), listener)),
            health: Health::always_up(),
        }
    }
}
