//! A vocabulary of Socket.IO events, translated to and from the commands, replies and events of `chat/` and the
//! hub. Each is one folder beside this file, named in the table of `dialects/mod.rs`.

use roomcast_protocol::Refusal;
use serde_json::value::RawValue;

use super::packet::Payload;
use crate::chat::{Command, Reply};
use crate::hub::Event;

/// A packet's event and its one argument, encoded.
pub(super) type EncodedEvent = (&'static str, Box<RawValue>);

/// What answers an event of a client.
pub(super) struct EncodedReply {
    /// The acknowledgement, sent where the client asked for one.
    pub(super) ack: Box<RawValue>,
    /// Events that only this client gets, behind it.
    pub(super) events: Vec<EncodedEvent>,
}

/// A vocabulary. Nothing is decided in it: what may be done, `chat/` says.
pub(super) trait Dialect: Send + Sync {
    /// A client's event as a command.
    ///
    /// # Errors
    /// It is not an event of this vocabulary, or its payload is wrong.
    fn decode(&self, event: &str, payload: &Payload) -> Result<Command, Refusal>;

    /// What answers a command, or what could not be decoded.
    ///
    /// # Errors
    /// What `serde_json` says.
    fn encode_reply(&self, reply: Result<Reply, Refusal>) -> serde_json::Result<EncodedReply>;

    /// An event as packets of this vocabulary: none, one or several, each given to `emit` in order. A batch calls it
    /// once for all members of a namespace.
    ///
    /// # Errors
    /// What `serde_json` says.
    fn encode_event(&self, event: &Event, emit: &mut dyn FnMut(&str, &RawValue)) -> serde_json::Result<()>;
}
