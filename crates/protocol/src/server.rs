//! What the server sends on its own account (messages are in `message.rs`). Encoded by the gateway's fan-out.

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::limits::Limits;
use crate::name::{RoomName, UserName};
use crate::position::Epoch;

/// What answers the connect packet of a client that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Connected {
    /// The connection's id in Socket.IO.
    pub sid: String,
}

/// `connect_error`: what answers the connect packet of a client that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ConnectError {
    /// Why, for programs.
    pub message: Code,
}

/// `welcome`, the first event of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Welcome {
    /// Who the connection is.
    pub user: UserName,
    /// The node that serves it.
    pub node: String,
    /// The secret that makes a later connection the same user; only where the client chose none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub resume: Option<String>,
    /// The bounds in force.
    pub limits: Limits,
}

/// `presence`: differences since the last one, at most about one a second a room.
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

/// `online_users`: replaces what the client knew of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Snapshot {
    /// The room.
    pub room: RoomName,
    /// Users in the room.
    pub count: usize,
    /// Their names, sorted; empty in large rooms.
    pub users: Vec<UserName>,
}

/// `typing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "generate", schemars(rename = "TypingNews"), ts(rename = "TypingNews"))]
pub struct TypingChanged {
    /// The room.
    pub room: RoomName,
    /// Who types, or stopped.
    pub user: UserName,
    /// True while the person types.
    pub typing: bool,
}

/// `resync`: what was missed is gone from the log; read the room again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Resync {
    /// The room.
    pub room: RoomName,
    /// The epoch of the log from now on.
    pub epoch: Epoch,
}

/// `restarting`: the connection will be closed; the stock client comes back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Restarting {
    /// When to come back, in milliseconds.
    pub reconnect_in_ms: u32,
}
