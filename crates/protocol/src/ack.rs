//! The payloads of acknowledgements. Each is `{status: "ok", …}` or `{status: "error", code, …}`; the types here are
//! the fields besides `status`, which [`Answer`] adds. `M` is a message and `U` a list of users: for readers [`Message`]
//! and their names, for the gateway what is encoded already.

use serde::{Deserialize, Serialize};

use crate::code::{Code, Refusal};
use crate::message::{Message, PrivateMessage};
use crate::name::{RoomName, UserName, stored_room};
use crate::position::Epoch;

/// An acknowledgement, as encoded on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS), schemars(rename = "{T}Answer"))]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Answer<T> {
    /// The request succeeded.
    Ok(T),
    /// The request was refused.
    Error(Failure),
}

/// The fields of `{status: "error"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// The code's number; its thousands digit is the class of the error.
    pub number: u16,
    /// For people.
    pub message: String,
    /// When to repeat the same request; absent if repeating it cannot succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub retry_after_ms: Option<u32>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code,
            number: refusal.code.number(),
            message: refusal.message,
            retry_after_ms: refusal.retry_after_ms,
        }
    }
}

impl<T> From<Result<T, Refusal>> for Answer<T> {
    fn from(result: Result<T, Refusal>) -> Self {
        match result {
            Ok(fields) => Self::Ok(fields),
            Err(refusal) => Self::Error(refusal.into()),
        }
    }
}

/// Of `join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "generate", schemars(rename = "Joined"), ts(concrete(M = Message, U = Vec<UserName>)))]
pub struct Joined<M = Message, U = Vec<UserName>> {
    /// The room entered.
    pub room: RoomName,
    /// The epoch of the room's log.
    pub epoch: Epoch,
    /// The offset of the last message before the first `message` event; 0 if there is none.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
    /// True if `messages` are exactly the messages after `since`. False without `since`.
    pub recovered: bool,
    /// Oldest first, the last one at `offset`.
    pub messages: Vec<M>,
    /// True if more messages were missed than fit into one answer: the others follow as `message` events, before
    /// newer ones. Only with `recovered: true`.
    pub more: bool,
    /// The users in the room.
    pub online: Online<U>,
}

/// The users in a room: the count is exact, the list is left out for large rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "generate", schemars(rename = "Online"), ts(concrete(U = Vec<UserName>)))]
pub struct Online<U = Vec<UserName>> {
    /// Users in the room, each counted once.
    pub count: usize,
    /// Their names, sorted; empty above 500 users.
    pub users: U,
}

/// Of `leave`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Left {
    /// The room left.
    pub room: RoomName,
}

/// Of `send_message` and `broadcast`: the message is in the room's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Sent {
    /// The message's identity in its room.
    pub id: String,
    /// The room.
    #[serde(deserialize_with = "stored_room")]
    pub room: RoomName,
    /// The epoch of the room's log.
    pub epoch: Epoch,
    /// The message's number.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
    /// When it was stored, in milliseconds since 1970, by the store's clock.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub ts: u64,
}

/// Of `private_message`: the message is in the inboxes of both users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct SentPrivately {
    /// The message's identity among those of its sender.
    pub id: String,
    /// The epoch of the sender's inbox.
    pub epoch: Epoch,
    /// The message's number in the sender's inbox.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
    /// When it was stored, in milliseconds since 1970, by the store's clock.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub ts: u64,
    /// Whether a node took it to be sent to the other user at once; false if that user is in grace.
    pub delivered: bool,
}

/// Of `send_image`: the message is in the room's log, as of `send_message`, or in the inboxes of both users, as of
/// `private_message`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ImageSent {
    /// The message's identity in its room, or among those of its sender.
    pub id: String,
    /// The room, if it was sent to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub room: Option<RoomName>,
    /// The epoch of the room's log, or of the sender's inbox.
    pub epoch: Epoch,
    /// The message's number in it.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
    /// When it was stored, in milliseconds since 1970, by the store's clock.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub ts: u64,
    /// As of `private_message`, if it was sent to a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub delivered: Option<bool>,
    /// Where the image is fetched. A repeated `id` is answered with the URL of the first image.
    pub url: String,
}

/// Of `typing`, which has no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS), ts(type = "object"))]
pub struct Done {}

/// A message of a room, or a private one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(untagged)]
pub enum AnyMessage {
    /// With a `room`.
    Room(Message),
    /// With a `to`.
    Private(PrivateMessage),
}

/// Of `history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "generate", schemars(rename = "HistoryPage"), ts(concrete(M = AnyMessage)))]
pub struct HistoryPage<M = AnyMessage> {
    /// Oldest first.
    pub messages: Vec<M>,
    /// True if there are older messages.
    pub more: bool,
}

/// A room and its number of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct RoomCount {
    /// The room.
    pub room: RoomName,
    /// Users in it, each counted once.
    pub count: usize,
}

/// Of `rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct RoomsPage {
    /// Rooms that have users, or whose log has or had messages, each once, in no guaranteed order.
    pub rooms: Vec<RoomCount>,
    /// Cursor of the next page; absent after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub cursor: Option<String>,
}

/// Of `online_users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct UsersPage {
    /// Total number of users in the room.
    pub count: usize,
    /// This page of their names.
    pub users: Vec<UserName>,
    /// Cursor of the next page; absent after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_flat() {
        let ok: Answer<Left> = Ok(Left { room: RoomName::parse("general").unwrap() }).into();
        assert_eq!(serde_json::to_string(&ok).unwrap(), r#"{"status":"ok","room":"general"}"#);
        let refused: Answer<Left> = Err(Refusal::new(Code::Busy, "slow down")).into();
        assert_eq!(
            serde_json::to_string(&refused).unwrap(),
            r#"{"status":"error","code":"busy","number":3000,"message":"slow down","retry_after_ms":250}"#
        );
        assert_eq!(serde_json::to_string(&Answer::Ok(Done {})).unwrap(), r#"{"status":"ok"}"#);
    }
}
