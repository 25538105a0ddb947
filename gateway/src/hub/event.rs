//! Events that the server pushes to connections. Created by `room/` and `chat/`, sent by the hub, and encoded by the
//! dialects of the edge.

use std::sync::Arc;

use roomcast_ops::trace::Origin;
use roomcast_protocol::server::{Presence, Restarting, Resync, Snapshot, TypingChanged, Welcome};
use serde_json::value::RawValue;

/// One event.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// The first event of a connection.
    Welcome(Box<Welcome>),
    /// A message of a room.
    Message(Arc<Message>),
    /// Users that joined and left a room.
    Presence(Presence),
    /// The users of a room; replaces what the client knew.
    OnlineUsers(Snapshot),
    /// A user started or stopped typing.
    Typing(TypingChanged),
    /// The log cannot fill the client's gap.
    Resync(Resync),
    /// This node is draining.
    Restarting(Restarting),
}

impl Event {
    /// Its kind, for log lines.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Welcome(_) => "welcome",
            Self::Message(_) => "message",
            Self::Presence(_) => "presence",
            Self::OnlineUsers(_) => "online_users",
            Self::Typing(_) => "typing",
            Self::Resync(_) => "resync",
            Self::Restarting(_) => "restarting",
        }
    }
}

/// A message with its position, encoded once for all who receive it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) offset: u64,
    /// When it was stored, by the store's clock, in milliseconds since 1970.
    pub(crate) ts: u64,
    /// The JSON of `protocol::message::Message`. A dialect that needs its parts decodes it once per batch.
    pub(crate) json: Box<RawValue>,
    /// The traced request that stored it; only if it was received from the bus.
    pub(crate) trace: Option<Box<Origin>>,
}
