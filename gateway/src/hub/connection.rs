//! One connection: its user (if it has taken a name), its transport and its memberships. Each membership is one [`Membership`], shared with the
//! room's list of members. Created and kept by `registry.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use roomcast_protocol::{RoomName, UserName};

use super::batch::Batch;
use super::event::Event;
use crate::telemetry::{Telemetry, TransportKind, Written};

/// How soon sending is tried again while the queue is full.
const QUEUE_RETRY: Duration = Duration::from_millis(20);

/// Identifies a connection on this node; never reused within a process.
pub(crate) type ConnectionId = u64;

/// Why a transport did not accept what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The events are volatile, and the client has not yet read what was sent before.
    Skipped,
    /// The queue would exceed its bound.
    SlowReader,
    /// The transport is closed; the connection is about to be removed.
    Gone,
}

/// The hub's interface to a transport. No method blocks, and everything sent arrives in the order of the calls. The
/// methods return what was written at once; the transport itself counts what it queued when that is written.
pub(crate) trait Outbound: Send + Sync {
    /// Sends a batch that all members of a room receive, with the bytes from the batch's cache if possible.
    ///
    /// # Errors
    /// It was not accepted.
    fn send(&self, batch: &Batch) -> Result<Written, SendError>;

    /// Sends what a connection that observes a room, without being a member, is shown of a batch. `user` is its own.
    ///
    /// # Errors
    /// It was not accepted.
    fn send_observed(&self, _batch: &Batch, _user: Option<&UserName>) -> Result<Written, SendError> {
        Ok(Written::default())
    }

    /// Sends an event to this connection only.
    ///
    /// # Errors
    /// It was not accepted.
    fn send_own(&self, event: &Event) -> Result<Written, SendError>;

    /// Closes the transport without a disconnect packet, so that official clients reconnect.
    fn close(&self);

    /// What operators are shown of the transport.
    fn status(&self) -> OutboundStatus;
}

/// The state of a transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutboundStatus {
    /// The current transport: long-polling may have upgraded to a WebSocket.
    pub(crate) kind: TransportKind,
    /// Path of the namespace.
    pub(crate) namespace: &'static str,
    /// Queued bytes, and the total of written bytes; none if they are not known.
    pub(crate) queued_and_sent: Option<(usize, u64)>,
}

/// A connection.
pub(crate) struct Connection {
    id: ConnectionId,
    /// None until it takes a name. Changed only while it is in no room, except from none.
    user: Mutex<Option<UserName>>,
    outbound: Box<dyn Outbound>,
    memberships: Mutex<HashMap<RoomName, Arc<Membership>>>,
    telemetry: Telemetry,
    connected_at: Instant,
    closed: AtomicBool,
}

impl Connection {
    pub(super) fn new(
        id: ConnectionId,
        user: Option<UserName>,
        outbound: Box<dyn Outbound>,
        telemetry: Telemetry,
    ) -> Arc<Self> {
        let (user, memberships, closed) = (Mutex::new(user), Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { id, user, outbound, memberships, telemetry, connected_at: Instant::now(), closed })
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Its user; none if it has no name.
    pub(crate) fn user(&self) -> Option<UserName> {
        self.user.lock().clone()
    }

    /// Gives it a name; returns the former one.
    pub(super) fn set_user(&self, user: UserName) -> Option<UserName> {
        self.user.lock().replace(user)
    }

    pub(crate) fn connected_at(&self) -> Instant {
        self.connected_at
    }

    pub(crate) fn outbound(&self) -> &dyn Outbound {
        &*self.outbound
    }

    /// Whether it is a member of a room.
    pub(crate) fn is_in(&self, room: &RoomName) -> bool {
        self.memberships.lock().get(room).is_some_and(|membership| !membership.observes())
    }

    /// The rooms it is a member of.
    pub(crate) fn rooms(&self) -> Vec<RoomName> {
        let memberships = self.memberships.lock();
        let joined = memberships.iter().filter(|(_, membership)| !membership.observes());
        joined.map(|(room, _)| room.clone()).collect()
    }

    /// How many rooms it is a member of.
    pub(crate) fn room_count(&self) -> usize {
        self.memberships.lock().values().filter(|membership| !membership.observes()).count()
    }

    /// The rooms whose events it receives: those it is a member of, and those it observes.
    pub(crate) fn received_rooms(&self) -> Vec<RoomName> {
        self.memberships.lock().keys().cloned().collect()
    }

    /// Sends a batch that all members of a room receive; returns what was written at once.
    pub(crate) fn send(&self, batch: &Batch) -> Option<Written> {
        self.on_sent(self.outbound.send(batch))
    }

    /// The same for a room that it observes.
    pub(super) fn send_observed(&self, batch: &Batch) -> Option<Written> {
        self.on_sent(self.outbound.send_observed(batch, self.user().as_ref()))
    }

    /// Sends an event to this connection only.
    pub(crate) fn send_own(&self, event: &Event) {
        if let Some(sent) = self.on_sent(self.outbound.send_own(event)) {
            self.telemetry.wire.written(&sent);
        }
    }

    /// Sends something as soon as the queue has room for it. False where the connection has ended.
    pub(crate) async fn send_when_ready(
        &self,
        send: impl Fn(&dyn Outbound) -> Result<Written, SendError>,
    ) -> bool {
        while !self.is_closed() {
            match send(self.outbound()) {
                Ok(sent) => {
                    self.telemetry.wire.written(&sent);
                    return true;
                }
                Err(SendError::Skipped) => return true,
                Err(SendError::Gone) => return false,
                Err(SendError::SlowReader) => tokio::time::sleep(QUEUE_RETRY).await,
            }
        }
        false
    }

    /// Whether it has ended, or was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// It has ended.
    pub(super) fn ended(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Closes the transport, once; official clients reconnect.
    pub(crate) fn close(&self, reason: &'static str) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.telemetry.connections.cut(reason);
            self.outbound.close();
        }
    }

    /// Handles the result of sending: a slow reader is closed, and recovers by `since`. Nothing is dropped silently.
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
    /// Locked while the fan-out task sends, so that nothing is sent once the connection has left the room, even over an
    /// earlier list of members. Inline sends need no lock: the worker that sends is the one that ends memberships.
    ended: Mutex<bool>,
    /// The connection has not joined the room: it is shown less of it, and has no rights there.
    observes: AtomicBool,
}

impl Membership {
    pub(super) fn begin(room: &RoomName, connection: &Arc<Connection>, observes: bool) -> Arc<Self> {
        let (connection, ended) = (Arc::clone(connection), Mutex::new(false));
        let observes = AtomicBool::new(observes);
        let membership = Arc::new(Self { room: room.clone(), connection, ended, observes });
        membership.connection.memberships.lock().insert(room.clone(), Arc::clone(&membership));
        membership
    }

    /// Ends it: from now on no event of the room is sent to the connection.
    pub(super) fn end(&self) {
        *self.ended.lock() = true;
        self.connection.memberships.lock().remove(&self.room);
    }

    /// Whether the connection observes the room without being a member.
    pub(super) fn observes(&self) -> bool {
        self.observes.load(Ordering::Acquire)
    }

    /// The connection, which may have observed the room, has joined it.
    pub(crate) fn join(&self) {
        self.observes.store(false, Ordering::Release);
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether it has ended; it cannot end while the guard is held.
    pub(super) fn ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock()
    }
}
