//! One connection: whose it is, the transport that reaches it, and its memberships. That it is in a room stands once,
//! in a [`Membership`] that it shares with the room's members. Made and kept by `registry.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use roomcast_protocol::{RoomName, UserName};

use super::batch::Batch;
use super::event::Event;
use crate::telemetry::{Telemetry, TransportKind, Written};

/// A connection of this node, for as long as the process lives.
pub(crate) type ConnectionId = u64;

/// Why a transport did not take what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The events are volatile, and the peer has not yet taken what came before.
    Skipped,
    /// More waits for the peer than may.
    SlowReader,
    /// The transport is gone already: the connection's end is on its way.
    Gone,
}

/// A transport, as the hub sees it. Nothing here blocks, and everything sent arrives in the order of the calls.
/// What was written at once is answered; what waits is counted when it leaves.
pub(crate) trait Outbound: Send + Sync {
    /// Sends what all members of a room get: the bytes come from the batch's cache wherever they can.
    ///
    /// # Errors
    /// It was not taken.
    fn send(&self, batch: &Batch) -> Result<Written, SendError>;

    /// Sends an event that only this connection gets.
    ///
    /// # Errors
    /// It was not taken.
    fn send_own(&self, event: &Event) -> Result<Written, SendError>;

    /// Closes the transport, without taking leave: stock clients come back by themselves.
    fn close(&self);

    /// Stops or resumes reading from the client, where that can be done.
    fn pause(&self, paused: bool);

    /// How the client is connected now: long-polling may become a WebSocket.
    fn kind(&self) -> TransportKind;

    /// Whether the peer took nothing for so long that the transport was closed.
    fn stalled(&self) -> bool;

    /// Bytes that wait for the peer, and bytes written to it ever; none where that is not known.
    fn carried(&self) -> Option<(usize, u64)>;

    /// The vocabulary's mount point, for operators.
    fn namespace(&self) -> &str;
}

/// A connection.
pub(crate) struct Connection {
    id: ConnectionId,
    user: UserName,
    outbound: Box<dyn Outbound>,
    memberships: Mutex<HashMap<RoomName, Arc<Membership>>>,
    telemetry: Telemetry,
    connected_at: Instant,
    cut: AtomicBool,
}

impl Connection {
    pub(super) fn new(
        id: ConnectionId,
        user: UserName,
        outbound: Box<dyn Outbound>,
        telemetry: Telemetry,
    ) -> Arc<Self> {
        let (memberships, cut) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { id, user, outbound, memberships, telemetry, connected_at: Instant::now(), cut })
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn user(&self) -> &UserName {
        &self.user
    }

    pub(crate) fn connected_at(&self) -> Instant {
        self.connected_at
    }

    pub(crate) fn outbound(&self) -> &dyn Outbound {
        &*self.outbound
    }

    /// Whether it is a member of a room.
    pub(crate) fn is_in(&self, room: &RoomName) -> bool {
        self.memberships.lock().contains_key(room)
    }

    /// The rooms it is a member of.
    pub(crate) fn rooms(&self) -> Vec<RoomName> {
        self.memberships.lock().keys().cloned().collect()
    }

    /// How many rooms it is a member of.
    pub(crate) fn room_count(&self) -> usize {
        self.memberships.lock().len()
    }

    /// Sends what all members of a room get; says what was written.
    pub(crate) fn send(&self, batch: &Batch) -> Option<Written> {
        self.on_sent(self.outbound.send(batch))
    }

    /// Sends an event that only this connection gets.
    pub(crate) fn send_own(&self, event: &Event) {
        if let Some(sent) = self.on_sent(self.outbound.send_own(event)) {
            self.telemetry.wire.written(&sent);
        }
    }

    /// Closes the transport: the stock client comes back by itself.
    pub(crate) fn close(&self, reason: &'static str) {
        if !self.cut.swap(true, Ordering::AcqRel) {
            self.telemetry.connections.cut(reason);
            self.outbound.close();
        }
    }

    /// A reader that is too slow is closed, and recovers by `since`: nothing is dropped silently.
    pub(crate) fn on_sent<T>(&self, sent: Result<T, SendError>) -> Option<T> {
        match sent {
            Ok(sent) => Some(sent),
            Err(SendError::Gone | SendError::Skipped) => None,
            Err(SendError::SlowReader) => {
                self.close("slow_reader");
                None
            }
        }
    }
}

/// One connection in one room.
pub(crate) struct Membership {
    room: RoomName,
    connection: Arc<Connection>,
    /// Held while something is sent, so that nothing of the room is once the connection left it, even by a
    /// fan-out over an earlier list of members.
    ended: Mutex<bool>,
}

impl Membership {
    pub(super) fn begin(room: &RoomName, connection: &Arc<Connection>) -> Arc<Self> {
        let (connection, ended) = (Arc::clone(connection), Mutex::new(false));
        let membership = Arc::new(Self { room: room.clone(), connection, ended });
        membership.connection.memberships.lock().insert(room.clone(), Arc::clone(&membership));
        membership
    }

    /// From now on nothing of the room reaches the connection.
    pub(super) fn end(&self) {
        *self.ended.lock() = true;
        self.connection.memberships.lock().remove(&self.room);
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether it has ended, held still for as long as the answer is kept.
    pub(super) fn ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock()
    }
}
