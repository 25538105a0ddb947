//! A dialect translates Socket.IO events to commands, and replies and events of `chat/` and the hub to Socket.IO
//! events. Each is one folder of `dialects/`, listed in the table of `dialects/mod.rs`.

use roomcast_protocol::Refusal;
use serde_json::value::RawValue;

use super::packet::Payload;
use crate::chat::{Command, Reply};
use crate::hub::{Event, Packet};

/// The answer to an event of a client.
pub(super) struct EncodedReply {
    /// The acknowledgement, sent if the client asked for one.
    pub(super) ack: Box<RawValue>,
    /// Events for this client alone, sent after the acknowledgement.
    pub(super) events: Vec<Packet>,
}

/// A dialect. It only translates; permissions are checked in `chat/`.
pub(super) trait Dialect: Send + Sync {
    /// Its name, which no other dialect has: what is encoded for one of its clients is sent to all of them.
    fn name(&self) -> &'static str;

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

    /// Encodes an event as packets: none, one or several, passed to `emit` in order. Called once for each event of a
    /// batch, whatever the number of its receivers and their namespaces, and for an event to one connection.
    ///
    /// # Errors
    /// Serialization failed.
    fn encode_event(
        &self,
        event: &Event,
        emit: &mut dyn FnMut(&'static str, &RawValue),
    ) -> serde_json::Result<()>;
}
