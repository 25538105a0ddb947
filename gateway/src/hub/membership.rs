//! The members of one room on this node. Changed by `room/worker.rs`, read by `fanout.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roomcast_protocol::RoomName;

use super::connection::{Connection, ConnectionId, Membership};

/// The members of one room. The list is shared with running fan-outs and copied only if it changes during one.
#[derive(Default)]
pub(crate) struct Members {
    list: Arc<Vec<Arc<Membership>>>,
    index: HashMap<ConnectionId, usize>,
    under_way: Arc<AtomicUsize>,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Makes a connection a member of this room, whose name is `room`. Does nothing if it is a member already.
    pub(crate) fn add(&mut self, room: &RoomName, connection: &Arc<Connection>) {
        match self.find(connection.id()) {
            Some(membership) => membership.join(),
            None => self.begin(Membership::begin(room, connection, false)),
        }
    }

    /// Lets a connection observe this room. Does nothing if it does so, or is a member.
    pub(crate) fn observe(&mut self, room: &RoomName, connection: &Arc<Connection>) {
        if self.find(connection.id()).is_none() {
            self.begin(Membership::begin(room, connection, true));
        }
    }

    /// A connection's membership of this room, or its observation, if there is one.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<Membership>> {
        self.find(id).cloned()
    }

    fn find(&self, id: ConnectionId) -> Option<&Arc<Membership>> {
        self.list.get(*self.index.get(&id)?)
    }

    fn begin(&mut self, membership: Arc<Membership>) {
        self.index.insert(membership.connection().id(), self.list.len());
        Arc::make_mut(&mut self.list).push(membership);
    }

    /// Ends a membership, if there is one. No event of the room is sent to the connection any more, not even by a
    /// running fan-out.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        let Some(at) = self.index.remove(&id) else { return };
        let list = Arc::make_mut(&mut self.list);
        list.swap_remove(at).end();
        if let Some(moved) = list.get(at) {
            self.index.insert(moved.connection().id(), at);
        }
    }

    pub(super) fn list(&self) -> &Arc<Vec<Arc<Membership>>> {
        &self.list
    }

    /// Number of the room's fan-outs that the shard's task has not finished; later ones must not overtake them.
    pub(super) fn under_way(&self) -> &Arc<AtomicUsize> {
        &self.under_way
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }
}
