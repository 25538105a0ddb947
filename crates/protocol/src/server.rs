//! The payloads of server events, except messages (`message.rs`). Encoded by the gateway's dialects. `U`
//! is a list of users, as in `ack.rs`.

use serde::{Deserialize, Serialize};

use crate::ack::Failure;
use crate::code::{Code, Refusal};
use crate::limits::Limits;
use crate::name::{RoomName, UserName};
use crate::position::Epoch;

/// The answer to the connect packet of a client that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Connected {
    /// The connection's id in Socket.IO.
    pub sid: String,
}

/// `connect_error`: the answer to the connect packet of a client that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ConnectError {
    /// The code of the refusal.
    pub message: Code,
    /// The refusal in the form of an error acknowledgement: its `message` says what is wrong, such as which field is
    /// missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub data: Option<Failure>,
}

impl From<Refusal> for ConnectError {
    fn from(refusal: Refusal) -> Self {
        Self { message: refusal.code, data: Some(refusal.into()) }
    }
}

/// `welcome`, the first event of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Welcome {
    /// The user of the connection.
    pub user: UserName,
    /// The node that serves it.
    pub node: String,
    /// The secret that makes a later connection the same user; only if the client chose none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub resume: Option<String>,
    /// The limits in force.
    pub limits: Limits,
}

/// `inbox`: the position of this connection in the user's private messages. Sent after `welcome` to a client that sent
/// `since`, and when messages were lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Inbox {
    /// The epoch of the user's inbox.
    pub epoch: Epoch,
    /// The offset of the last private message before the next `private_message` event; 0 if there is none.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
    /// True if the events that follow are exactly those after `since`. False if messages are missing: `history` has
    /// those that are kept.
    pub recovered: bool,
}

/// `presence`: changes since the last one, at most about one per second and room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Presence {
    /// The room.
    pub room: RoomName,
    /// Users who joined; empty in large rooms.
    pub joined: Vec<UserName>,
    /// Users who left; empty in large rooms.
    pub left: Vec<UserName>,
    /// Users in the room now.
    pub count: usize,
}

/// `online_users`: the users in a room; replaces the list that the client has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "generate", schemars(rename = "Snapshot"), ts(concrete(U = Vec<UserName>)))]
pub struct Snapshot<U = Vec<UserName>> {
    /// The room.
    pub room: RoomName,
    /// Users in the room.
    pub count: usize,
    /// Their names, sorted; empty in large rooms.
    pub users: U,
}

/// `typing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "generate", schemars(rename = "TypingNews"), ts(rename = "TypingNews"))]
pub struct TypingChanged {
    /// The room.
    pub room: RoomName,
    /// The user who started or stopped.
    pub user: UserName,
    /// True while the user types.
    pub typing: bool,
}

/// `resync`: missed messages are no longer in the log; the client must read the room again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Resync {
    /// The room.
    pub room: RoomName,
    /// The epoch of the log from now on.
    pub epoch: Epoch,
}

/// `restarting`: the connection will be closed; official clients reconnect by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Restarting {
    /// When to reconnect, in milliseconds.
    pub reconnect_in_ms: u32,
}
