//! Memberships: that a connection is in a room stands once, in a [`Membership`] that the connection and the
//! room's [`Members`] share. Called by `room/worker.rs`, which adds and removes; read by `fanout.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use roomcast_protocol::RoomName;

use super::connection::{Connection, ConnectionId};

/// One connection in one room.
pub(crate) struct Membership {
    room: RoomName,
    connection: Arc<Connection>,
    /// Held while something is sent, so that nothing of the room is once the connection left it, even by a
    /// fan-out over an earlier list of members.
    ended: Mutex<bool>,
}

impl Membership {
    pub(super) fn room(&self) -> &RoomName {
        &self.room
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether it has ended, held still for as long as the answer is kept.
    pub(super) fn ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock()
    }
}

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
        let (connection, ended) = (Arc::clone(connection), Mutex::new(false));
        let membership = Arc::new(Membership { room: room.clone(), connection, ended });
        membership.connection.add_membership(&membership);
        self.at.insert(membership.connection.id(), self.list.len());
        Arc::make_mut(&mut self.list).push(membership);
    }

    /// Ends a membership, if there is one. Nothing of the room reaches the connection any more, whatever is
    /// under way.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        let Some(at) = self.at.remove(&id) else { return };
        let list = Arc::make_mut(&mut self.list);
        let membership = list.swap_remove(at);
        *membership.ended.lock() = true;
        membership.connection.remove_membership(&membership.room);
        if let Some(moved) = list.get(at) {
            self.at.insert(moved.connection.id(), at);
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
