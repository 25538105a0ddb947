//! Combines the in-memory implementations of the store's parts, each of which has its own file. Called by
//! [`crate::Store::in_memory`].

use std::sync::Arc;

use crate::bus::BusListener;
use crate::bus::memory::{MemoryBus, Subscribers};
use crate::capacity::Capacity;
use crate::health::Health;
use crate::images::memory::MemoryImages;
use crate::inbox::memory::MemoryInbox;
use crate::inbox::messages::Inboxes;
use crate::log::memory::MemoryLog;
use crate::names::memory::MemoryNames;
use crate::nodes::memory::MemoryNodes;
use crate::presence::memory::MemoryPresence;
use crate::settings::Settings;
use crate::store::Store;

/// The state that several nodes in one process share. [`node`](Self::node) creates the [`Store`] of one node.
///
/// Each part has its own lock, held for one step of one call and never across an await. Events are passed to the
/// listeners while the lock of the changed state is held, so that they arrive in the order of the changes. Locks are
/// taken in one order: presence, log, subscribers; and inbox, names, subscribers. Listeners cannot call back, because every method that locks is
/// async and a listener is not.
#[derive(Clone)]
pub struct Memory {
    log: Arc<MemoryLog>,
    inbox: Arc<MemoryInbox>,
    images: Arc<MemoryImages>,
    presence: Arc<MemoryPresence>,
    names: Arc<MemoryNames>,
    nodes: Arc<MemoryNodes>,
    subscribers: Arc<Subscribers>,
    capacity: Capacity,
}

impl Memory {
    /// An empty memory. The prefix does not matter: no other cluster is in it.
    pub fn new(settings: &Settings) -> Self {
        let subscribers = Arc::<Subscribers>::default();
        let capacity = Capacity::default();
        let log = MemoryLog::new(settings.retention, Arc::clone(&subscribers), capacity.clone());
        let log = Arc::new(log);
        let presence = MemoryPresence::new(Arc::clone(&log), Arc::clone(&subscribers), capacity.clone());
        let inboxes = Arc::new(Inboxes::new(settings));
        let names = Arc::new(MemoryNames::new(Arc::clone(&inboxes), capacity.clone()));
        let names_and_nodes = (Arc::clone(&names), Arc::clone(&subscribers));
        let inbox = Arc::new(MemoryInbox::new(settings, inboxes, names_and_nodes, capacity.clone()));
        Self {
            images: Arc::new(MemoryImages::new(
                (Arc::clone(&log), Arc::clone(&inbox)),
                settings.image_store_bytes,
                capacity.clone(),
            )),
            presence: Arc::new(presence),
            inbox,
            names,
            nodes: Arc::new(MemoryNodes::new(capacity.clone())),
            log,
            subscribers,
            capacity,
        }
    }

    /// Begins or ends to refuse what a Redis refuses that is out of memory (`maxmemory`, without eviction): what adds
    /// data, unless it is a script that is allowed to. For tests.
    pub fn set_full(&self, full: bool) {
        self.capacity.set_full(full);
    }

    /// Every entry about users and nodes, one line for each, sorted: for tests that check that no entry is left.
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
            inbox: Arc::<MemoryInbox>::clone(&self.inbox),
            images: Arc::<MemoryImages>::clone(&self.images),
            presence: Arc::<MemoryPresence>::clone(&self.presence),
            names: Arc::<MemoryNames>::clone(&self.names),
            nodes: Arc::<MemoryNodes>::clone(&self.nodes),
            bus: Arc::new(MemoryBus::new(Arc::clone(&self.subscribers), listener)),
            health: Health::always_up(),
        }
    }
}
