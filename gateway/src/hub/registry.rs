//! Every connection of this node, by id and by user. Called by the edge (which adds and removes), by `app.rs`
//! (drain), by `users/` (names that were lost) and by `/debug/connections`.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use roomcast_protocol::UserName;

use super::connection::{Connection, ConnectionId, Outbound};
use super::test_drop::Drops;
use crate::telemetry::{Telemetry, TransportKind};

/// A handle; clones share the connections.
#[derive(Clone)]
pub(crate) struct Registry(Arc<Inner>);

struct Inner {
    next: AtomicU64,
    index: Mutex<Index>,
    telemetry: Telemetry,
    /// Which messages are dropped; none but in tests of tests.
    drops: Option<Drops>,
}

#[derive(Default)]
struct Index {
    by_id: HashMap<ConnectionId, Arc<Connection>>,
    by_user: HashMap<UserName, Vec<ConnectionId>>,
    /// Connections counted as long-polling.
    polling: HashSet<ConnectionId>,
}

impl Registry {
    /// Without connections. With `drop_every`, every so many-th message to a member is not sent.
    pub(crate) fn new(telemetry: Telemetry, drop_every: Option<NonZeroU64>) -> Self {
        let drops = drop_every.map(Drops::new);
        Self(Arc::new(Inner { next: AtomicU64::new(0), index: Mutex::default(), telemetry, drops }))
    }

    /// Adds a connection of a user, or one without a name; also returns the transport kind under which it is counted.
    pub(crate) fn add(
        &self,
        user: impl Into<Option<UserName>>,
        outbound: Box<dyn Outbound>,
    ) -> (Arc<Connection>, TransportKind) {
        let user = user.into();
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let kind = outbound.status().kind;
        let outbound = match &self.0.drops {
            None => outbound,
            Some(drops) => drops.around(outbound),
        };
        let connection = Connection::new(id, user.clone(), outbound, self.0.telemetry.clone());
        let mut index = self.0.index.lock();
        index.by_id.insert(id, Arc::clone(&connection));
        if let Some(user) = user {
            index.by_user.entry(user).or_default().push(id);
        }
        if kind == TransportKind::Polling {
            index.polling.insert(id);
        }
        (connection, kind)
    }

    /// Removes a connection; returns the transport kind under which it was counted.
    pub(crate) fn remove(&self, connection: &Connection) -> TransportKind {
        connection.ended();
        let id = connection.id();
        let mut index = self.0.index.lock();
        index.by_id.remove(&id);
        if let Some(user) = connection.user() {
            index.remove_user(&user, id);
        }
        if index.polling.remove(&id) { TransportKind::Polling } else { TransportKind::WebSocket }
    }

    /// Gives a connection a name in place of the former one, of whose rooms it must not be a member any more.
    pub(crate) fn rename(&self, connection: &Connection, user: UserName) {
        let id = connection.id();
        let mut index = self.0.index.lock();
        if let Some(former) = connection.set_user(user.clone()) {
            index.remove_user(&former, id);
        }
        // Not if it was removed meanwhile: nothing would remove this entry.
        if index.by_id.contains_key(&id) {
            index.by_user.entry(user).or_default().push(id);
        }
    }

    /// A snapshot of all connections.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.0.index.lock().by_id.values().cloned().collect()
    }

    /// A snapshot of a user's connections.
    pub(crate) fn of_user(&self, user: &UserName) -> Vec<Arc<Connection>> {
        let index = self.0.index.lock();
        let ids = index.by_user.get(user).into_iter().flatten();
        ids.filter_map(|id| index.by_id.get(id)).cloned().collect()
    }

    /// Closes all connections of a user.
    pub(crate) fn close_user(&self, user: &UserName, reason: &'static str) {
        self.of_user(user).iter().for_each(|connection| connection.close(reason));
    }

    /// Number of connections.
    pub(crate) fn count(&self) -> usize {
        self.0.index.lock().by_id.len()
    }

    /// A connection moved from long-polling to a WebSocket.
    pub(crate) fn upgraded(&self, connection: &Connection) {
        if self.0.index.lock().polling.remove(&connection.id()) {
            self.0.telemetry.connections.upgraded();
        }
    }
}

impl Index {
    fn remove_user(&mut self, user: &UserName, id: ConnectionId) {
        if let Some(ids) = self.by_user.get_mut(user) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_user.remove(user);
            }
        }
    }
}
