//! What a room's state machine (`state.rs`) returns: the effects that `worker.rs` must carry out, and the joins,
//! answers and read results that they contain. Data only.

use std::sync::Arc;
use std::time::Instant;

use roomcast_protocol::ack::Online;
use roomcast_protocol::{Epoch, Position, RoomName, UserName};
use roomcast_store::{Incarnation, Replay};

use super::follower::Step;
use super::view::PresenceUpdate;
use super::writes::Write;
use crate::hub::{ConnectionId, Message, UserList};

/// A join that is not answered yet.
#[derive(Debug)]
pub(crate) struct JoinAttempt<T> {
    pub(crate) id: ConnectionId,
    /// None for a connection without a name, which receives the room's events and is not in its presence.
    pub(crate) user: Option<UserName>,
    /// The dialect in which the name was taken, if it is open.
    pub(crate) open_in: Option<&'static str>,
    pub(crate) since: Option<Position>,
    pub(crate) limit: usize,
    /// What the caller needs to answer it.
    pub(crate) pending: T,
}

/// The answer to a join.
#[derive(Debug)]
pub(crate) struct JoinedRoom {
    pub(crate) room: RoomName,
    pub(crate) position: Position,
    pub(crate) recovered: bool,
    pub(crate) messages: Vec<Arc<Message>>,
    /// `messages` are the first of what the client missed; the others follow as events.
    pub(crate) more: bool,
    pub(crate) online: Online<UserList>,
}

/// The result of reading the log for a join.
#[derive(Debug)]
pub(crate) enum LogRead {
    After(Replay),
    Newest(Vec<roomcast_store::Entry>),
    Failed,
}

/// How the sending of what a client missed ended.
#[derive(Debug)]
pub(crate) enum ReplayEnd {
    /// Everything up to here was sent.
    Reached(Position),
    /// The log lost the messages that were still to be sent.
    Lost,
    /// The client's connection has ended.
    Gone,
}

/// What the caller must do.
#[derive(Debug)]
pub(crate) enum Effect<T> {
    /// Subscribe, then read log and presence; answer with `Room::opened`.
    Open,
    /// Unsubscribe, and close the room in the store for these incarnations; answer with `Room::closed`.
    Close { writers: Vec<Incarnation> },
    /// Answer a join, before any other event of this room is sent to the connection.
    AddMember { pending: T, joined: JoinedRoom },
    /// Answer a join with the first part of what the client missed, and send it the rest; then call
    /// `Room::replayed`. Until then no event of this room is sent to the client.
    Replay { attempt: JoinAttempt<T>, joined: JoinedRoom },
    /// Send a client what came after this position, while it caught up.
    ContinueReplay { attempt: JoinAttempt<T>, position: Position },
    /// Send the last of what a client missed and the present users; from now on it receives the room's events.
    EndReplay { pending: T, messages: Vec<Arc<Message>>, resync: Option<Epoch>, online: Online<UserList> },
    /// The connection is not a member any more.
    RemoveMember(ConnectionId),
    /// Refuse a join: the store is unreachable.
    RefuseJoin { pending: T },
    /// Read the messages after this position for a join; answer with `Room::log_read`.
    ReadAfter { attempt: JoinAttempt<T>, position: Position },
    /// Read the newest messages for a join; answer with `Room::log_read`.
    ReadNewest { attempt: JoinAttempt<T> },
    /// Read the messages after this position; answer with `Room::healed`.
    Heal(Position),
    /// Send a message to every member.
    Deliver(Arc<Message>),
    /// Send every member a resync: it must read the room again.
    Resync(Epoch),
    /// Send every member a presence update.
    SendPresence(PresenceUpdate),
    /// Send a typing event to every member except the user's own connections.
    Typing { user: UserName, typing: bool },
    /// Write this node's facts; answer with `Room::wrote`.
    Write(Write),
    /// Read the room's presence; answer with `Room::presence`.
    ReadPresence,
    /// Postpone the expiry of the room's log.
    Touch,
    /// Call `Room::timer` at this time.
    WakeAt(Instant),
    /// Remove the room.
    Drop,
}

impl<T> From<Step> for Effect<T> {
    fn from(step: Step) -> Self {
        match step {
            Step::Deliver(message) => Self::Deliver(message),
            Step::Heal(position) => Self::Heal(position),
            Step::Resync(epoch) => Self::Resync(epoch),
        }
    }
}
