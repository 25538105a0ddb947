//! A dialect translates Socket.IO events to commands, and replies and events of `chat/` and the hub to Socket.IO
//! events. Each is one folder of `dialects/`, listed in the table of `dialects/mod.rs`.

use roomcast_protocol::client::ConnectAuth;
use roomcast_protocol::{Refusal, RoomName, UserName};
use serde_json::value::RawValue;

use super::packet::{Payload, decode_optional_auth};
use crate::chat::{Command, Reply};
use crate::hub::{Event, Packet};

/// The answer to an event of a client.
pub(super) struct EncodedReply {
    /// The acknowledgement, sent if the client asked for one.
    pub(super) ack: Box<RawValue>,
    /// Events for this client alone, sent after the acknowledgement.
    pub(super) events: Vec<Packet>,
}

/// What a dialect needs to know of the connection whose event it decodes.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// None while the connection has no name.
    pub(super) user: Option<UserName>,
    /// Whether the connection signed in with its name, and so keeps it.
    pub(super) signed_in: bool,
    /// The rooms that the connection has joined.
    pub(super) rooms: Vec<RoomName>,
}

/// A part of what an event asks for. Where one fails, those after it are left out.
#[derive(Debug)]
pub(super) enum Step {
    /// Takes a name. If the connection had another one, its rooms are left first.
    TakeName(UserName),
    /// Takes a name that the server makes up.
    TakeGuestName,
    Execute(Command),
}

/// What an event asks for.
#[derive(Debug)]
pub(super) enum Decoded {
    Command(Command),
    /// Several parts, in this order. The event is acknowledged with the reply to the last one.
    Steps(Vec<Step>),
}

/// A dialect. It only translates; permissions are checked in `chat/`.
pub(super) trait Dialect: Send + Sync {
    /// Its name, which only dialects have that encode events in the same way: what is encoded for one of their clients is
    /// sent to all of them.
    fn name(&self) -> &'static str;

    /// The name and the secret in the auth of a connect packet. None where the client sends no name then: it connects
    /// without one, and takes one later.
    ///
    /// # Errors
    /// The name or the secret is missing or invalid.
    fn sign_in(&self, auth: serde_json::Value) -> Result<Option<ConnectAuth>, Refusal> {
        decode_optional_auth(auth)
    }

    /// The dialect of clients that connected with a name, if it is another one.
    fn when_signed_in(&self) -> Option<&'static dyn Dialect> {
        None
    }

    /// Whether it stands for several dialects, one of which a client's first event decides.
    fn is_undecided(&self) -> bool {
        false
    }

    /// The dialect of a client that sends this first event. None if the event decides nothing.
    fn decide(&self, _event: &str, _payload: &Payload) -> Option<&'static dyn Dialect> {
        None
    }

    /// Whether the cookie of pages that gateways serve proves the names of its clients (`visitor.rs`).
    fn uses_cookie(&self) -> bool {
        true
    }

    /// What a connection does by itself before its first event.
    fn on_connect(&self) -> Option<Command> {
        None
    }

    /// Whether its clients show their own messages by themselves, so that a connection's messages are not sent back to
    /// it.
    fn omits_own_messages(&self) -> bool {
        false
    }

    /// Those of its events that are sent to a user's connections outside a room, too, if another one is in it.
    fn outside(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether an event of this name may carry an image, so that its packet may be longer than others.
    fn may_be_long(&self, _event: &str) -> bool {
        false
    }

    /// Decodes a client's event.
    ///
    /// # Errors
    /// The dialect has no such event, or its payload is invalid.
    fn decode(
        &self,
        standing: &dyn Fn() -> Standing,
        event: &str,
        payload: &Payload,
    ) -> Result<Decoded, Refusal>;

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
