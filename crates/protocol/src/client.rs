//! The payloads of client events. Unknown fields are ignored, so that newer clients work with older servers; a
//! missing or mistyped field is a refusal, as is a field that is there twice. Decoded by the gateway's files of the same names.

use serde::{Deserialize, Serialize};

use crate::image::ImageData;
use crate::integer;
use crate::name::{RoomName, UserName};
use crate::position::Position;

/// Auth of the connect packet where anonymous users are allowed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ConnectAuth {
    /// The user's name.
    pub username: UserName,
    /// A secret, ≤ 128 bytes, which makes this connection the same user as others with it. If absent,
    /// the server generates one and returns it in `welcome`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub resume: Option<String>,
    /// The position of the last private message that the client has; those after it are sent after `welcome`, and
    /// `inbox` before them. If absent, only new ones are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub since: Option<Position>,
}

/// `join`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Join {
    /// The room to enter.
    pub room: RoomName,
    /// The position of the last message that the client has; the messages after it are returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub since: Option<Position>,
    /// Maximum number of messages returned without `since`: 0 to 200, 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "integer::optional")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub limit: Option<usize>,
}

/// `leave`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Leave {
    /// The room to leave.
    pub room: RoomName,
}

/// `send_message`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct SendMessage {
    /// A room that the connection has joined, or in which the user is by the grace of one that was lost.
    pub room: RoomName,
    /// The text: not empty, at most 16 KiB of UTF-8.
    pub text: String,
    /// The message's identity in its room, 1 to 64 characters; the server generates one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub id: Option<String>,
}

/// `broadcast`: a message to every connection of the cluster, in the room `@all`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Broadcast {
    /// The text: not empty, at most 16 KiB of UTF-8.
    pub text: String,
    /// As for `send_message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub id: Option<String>,
}

/// `private_message`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct SendPrivateMessage {
    /// A user who is online.
    pub to: UserName,
    /// The text: not empty, at most 16 KiB of UTF-8.
    pub text: String,
    /// The message's identity among those of its sender, 1 to 64 characters; the server generates one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub id: Option<String>,
}

/// `send_image`: to a room or to one user.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct SendImage {
    /// A room, as of `send_message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub room: Option<RoomName>,
    /// A user, instead of a room, as of `private_message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub to: Option<UserName>,
    /// PNG, JPEG, GIF or WebP, at most 1 MiB: bytes, or a data URL in base64.
    #[cfg_attr(feature = "generate", ts(type = "string | Blob | ArrayBuffer | ArrayBufferView"))]
    pub image: ImageData,
    /// What it shows, for those who do not see it: at most 1,000 bytes of UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub alt: Option<String>,
    /// As of `send_message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub id: Option<String>,
}

/// `typing`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Typing {
    /// A room that the connection has joined.
    pub room: RoomName,
    /// True while the user types.
    pub typing: bool,
}

/// `history`, of a room or of the private messages with one user: pages go back in time; each page is sorted oldest
/// first. Either `room` or `to` must be present.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct History {
    /// A room that the connection has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub room: Option<RoomName>,
    /// A user, online or not: the private messages that you and they wrote to each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub to: Option<UserName>,
    /// Only messages with a smaller offset; the newest if absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "integer::optional")]
    #[cfg_attr(feature = "generate", ts(optional, type = "number"))]
    pub before: Option<u64>,
    /// Maximum number of messages of the page: 1 to 200, 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "integer::optional")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub limit: Option<usize>,
}

/// `rooms`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Rooms {
    /// The cursor that the previous page returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub cursor: Option<String>,
    /// Maximum number of rooms of the page: 1 to 200, 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "integer::optional")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub limit: Option<usize>,
}

/// `online_users`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct OnlineUsers {
    /// A room that the connection has joined.
    pub room: RoomName,
    /// The cursor that the previous page returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub cursor: Option<String>,
    /// Maximum number of users of the page: 1 to 200, 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "integer::optional")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub limit: Option<usize>,
}
