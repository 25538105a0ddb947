//! What connections are sent unasked. Made by `room/` and `chat/`, carried by the hub, and encoded by each
//! dialect of the edge in its own vocabulary.

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
    /// Who came and who left.
    Presence(Presence),
    /// Who is in a room: replaces what the client knew.
    OnlineUsers(Snapshot),
    /// Somebody began or stopped typing.
    Typing(TypingChanged),
    /// The log cannot fill the client's gap.
    Resync(Resync),
    /// This node is going away.
    Restarting(Restarting),
}

/// A message with its position, encoded once for all who receive it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) offset: u64,
    /// When it was stored, by the store's clock, in milliseconds since 1970.
    pub(crate) ts: u64,
    /// The JSON of `protocol::message::Message`. A dialect that needs its parts decodes it once per batch.
    pub(crate) json: Box<RawValue>,
    /// The traced request that stored it; only where it came by the bus.
    pub(crate) trace: Option<Box<Origin>>,
}
