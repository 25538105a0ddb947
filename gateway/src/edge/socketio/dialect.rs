//! A dialect translates Socket.IO events to commands, and replies and events of `chat/` and the hub to Socket.IO
//! events. Each is one folder of `dialects/`, listed in the table of `dialects/mod.rs`.

use roomcast_protocol::Refusal;
use serde_json::value::RawValue;

use super::packet::Payload;
use crate::chat::{Command, Reply};
use crate::hub::Event;

/// The name and the encoded argument of a packet.
pub(super) type EncodedEvent = (&'static str, Box<RawValue>);

/// The answer to an event of a client.
pub(super) struct EncodedReply {
    /// The acknowledgement, sent if the client asked for one.
    pub(super) ack: Box<RawValue>,
    /// Events for this client alone, sent after the acknowledgement.
    pub(super) events: Vec<EncodedEvent>,
}

/// A dialect. It only translates; permissions are checked in `chat/`.
pub(super) trait Dialect: Send + Sync {
    /// Decodes a client's event into a command.
    ///
    /// # Errors
    /// The dialect has no such event, or its payload is invalid.
    fn decode(&self, event: &str, payload: &Payload) -> Result<Command, Refusal>;

    /// Encodes the reply to a command, or the refusal of a command or of an event that could not be decoded.
    ///
    /// # Errors
    /// Serialization failed.
    fn encode_reply(&self, reply: Result<Reply, Refusal>) -> serde_json::Result<EncodedReply>;

    /// Encodes an event as packets: none, one or several, passed to `emit` in order. Called for a batch once
    /// per namespace and way of writing (frames, or packets for socketioxide), and for an event to one connection.
    ///
    /// # Errors
    /// Serialization failed.
    fn encode_event(&self, event: &Event, emit: &mut dyn FnMut(&str, &RawValue)) -> serde_json::Result<()>;
}
