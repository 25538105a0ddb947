//! The commands of a room's worker, and the signal that it may have missed events. Sent by `mod.rs` (for clients and
//! the bus) and by `store_tasks.rs` (results of its tasks); received by `worker.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use roomcast_ops::trace::Trace;
use roomcast_protocol::ack::Online;
use roomcast_protocol::{Refusal, RoomName};
use roomcast_store::{BusEvent, Incarnation, Opened, RoomState};
use tokio::sync::{Notify, oneshot};

use super::effect::{JoinAttempt, JoinedRoom, LogRead, ReplayEnd};
use super::figures::{Figures, Page, Rank};
use super::follower::Healed;
use super::roster::WriteOutcome;
use crate::hub::{Connection, ConnectionId, UserList};
use crate::users::stay::Departure;

/// Answers a join. Called by the room's worker in the step that makes the connection a member, so that no event of
/// the room is sent before the answer. It must not block.
pub(crate) type JoinResponder = Box<dyn FnOnce(Result<JoinedRoom, Refusal>) + Send>;

/// A join that waits for its answer, and the trace of its request.
pub(super) struct PendingJoin {
    /// Becomes a member.
    pub(super) connection: Arc<Connection>,
    /// It observes the room and is no member: without a name there, and with fewer events.
    pub(super) observes: bool,
    /// None once it was answered.
    pub(super) respond: Option<JoinResponder>,
    /// Sent whether the connection is a member, once it is or was refused: the connection's next command must find
    /// its membership.
    pub(super) done: oneshot::Sender<bool>,
    pub(super) trace: Option<Trace>,
}

impl PendingJoin {
    /// Answers it, unless it was answered.
    pub(super) fn answer(&mut self, result: Result<JoinedRoom, Refusal>) {
        if let Some(respond) = self.respond.take() {
            respond(result);
        }
    }
}

pub(super) enum Command {
    Join {
        room: RoomName,
        attempt: JoinAttempt<PendingJoin>,
    },
    Leave {
        room: RoomName,
        connection: ConnectionId,
        how: Departure,
        done: oneshot::Sender<()>,
    },
    Online {
        room: RoomName,
        reply: oneshot::Sender<Option<Online<UserList>>>,
    },
    /// Opens a room, which then stays open without members. `opened` is dropped where that fails.
    KeepOpen {
        room: RoomName,
        opened: oneshot::Sender<()>,
    },
    BusEvent {
        room: RoomName,
        event: BusEvent,
    },
    Rewrite,
    /// Since when the store is unreachable; none where it is reachable again.
    StoreUnreachable(Option<Instant>),
    Figures {
        page: Page,
        reply: oneshot::Sender<Vec<(Rank, Figures)>>,
    },
    Opened {
        room: RoomName,
        opened: Option<(Opened, RoomState, Option<Incarnation>)>,
        trace: Option<Trace>,
    },
    Closed {
        room: RoomName,
    },
    LogRead {
        room: RoomName,
        attempt: JoinAttempt<PendingJoin>,
        read: LogRead,
    },
    Replayed {
        room: RoomName,
        attempt: JoinAttempt<PendingJoin>,
        end: ReplayEnd,
    },
    Healed {
        room: RoomName,
        healed: Healed,
    },
    Wrote {
        room: RoomName,
        outcome: WriteOutcome,
    },
    Presence {
        room: RoomName,
        state: Option<RoomState>,
    },
}

impl Command {
    /// The trace of the request that caused it: store calls, log lines and further commands continue this trace.
    pub(super) fn trace(&self) -> Option<Trace> {
        match self {
            Self::Join { attempt, .. } | Self::LogRead { attempt, .. } | Self::Replayed { attempt, .. } => {
                attempt.pending.trace
            }
            Self::BusEvent { event: BusEvent::Message(entry), .. } => {
                entry.trace.as_ref().map(|origin| origin.trace())
            }
            Self::Opened { trace, .. } => *trace,
            _ => None,
        }
    }
}

/// Signals to a worker that events may have been missed: its queue was full, or the bus was interrupted.
#[derive(Default)]
pub(crate) struct Gap {
    pub(crate) noted: AtomicBool,
    pub(crate) wake: Notify,
}

impl Gap {
    pub(crate) fn note(&self) {
        self.noted.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}
