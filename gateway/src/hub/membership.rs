//! The members of one room on this node. Called by `room/worker.rs`, which adds and removes; read by `fanout.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roomcast_protocol::RoomName;

use super::connection::{Connection, ConnectionId, Membership};

/// The members of one room, shared with fan-outs under way and copied only when it changes meanwhile.
#[derive(Default)]
pub(crate) struct Members {
    list: Arc<Vec<Arc<Membership>>>,
    at: HashMap<ConnectionId, usize>,
    under_way: Arc<AtomicUsize>,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Makes a connection a member of this room, which is `room`. Does nothing where it is one.
    pub(crate) fn add(&mut self, room: &RoomName, connection: &Arc<Connection>) {
        if self.at.contains_key(&connection.id()) {
            return;
        }
        let membership = Membership::begin(room, connection);
        self.at.insert(connection.id(), self.list.len());
        Arc::make_mut(&mut self.list).push(membership);
    }

    /// Ends a membership, if there is one. Nothing of the room reaches the connection any more, whatever is
    /// under way.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        let Some(at) = self.at.remove(&id) else { return };
        let list = Arc::make_mut(&mut self.list);
        list.swap_remove(at).end();
        if let Some(moved) = list.get(at) {
            self.at.insert(moved.connection().id(), at);
        }
    }

    pub(super) fn list(&self) -> &Arc<Vec<Arc<Membership>>> {
        &self.list
    }

    /// Fan-outs of the room that the shard's task has not finished: none may overtake them.
    pub(super) fn under_way(&self) -> &Arc<AtomicUsize> {
        &self.under_way
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }
}
