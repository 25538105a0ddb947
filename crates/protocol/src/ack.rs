//! What acknowledgements carry. Each is `{status: "ok", …}` or `{status: "error", code, …}`; the types
//! here are the fields beside `status`, and [`Answer`] puts the two together. `M` is a message: the type
//! [`Message`] for readers, its bytes already encoded for the gateway.

use serde::{Deserialize, Serialize};

use crate::code::{Code, Refusal};
use crate::message::Message;
use crate::name::{RoomName, UserName};
use crate::position::Epoch;

/// An acknowledgement, as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS), schemars(rename = "{T}Answer"))]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Answer<T> {
    /// It was done.
    Ok(T),
    /// It was refused.
    Error(Failure),
}

/// The fields of `{status: "error"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// The code's number, whose thousand says what to do.
    pub number: u16,
    /// For people.
    pub message: String,
    /// When the same request makes sense again; absent where it never will.
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
            retry_after_ms: refusal.code.retry_after_ms(),
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
#[cfg_attr(feature = "generate", schemars(rename = "Joined"), ts(concrete(M = Message)))]
pub struct Joined<M = Message> {
    /// The room entered.
    pub room: RoomName,
    /// The epoch of the room's log.
    pub epoch: Epoch,
    /// The last message before the stream that now begins; 0 where there is none.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
    /// True where `messages` is exactly what came after `since`. False without `since`.
    pub recovered: bool,
    /// Oldest first, the last one at `offset`.
    pub messages: Vec<M>,
    /// Who is there.
    pub online: Online,
}

/// Who is in a room: the number is exact, the list is left out of large rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Online {
    /// Users in the room, each counted once.
    pub count: usize,
    /// Their names, sorted; empty above 500 users.
    pub users: Vec<UserName>,
}

/// Of `leave`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Left {
    /// The room left.
    pub room: RoomName,
}

/// Of `send_message`: the message is in the room's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Sent {
    /// The message's identity in its room.
    pub id: String,
    /// The room.
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

/// Of `typing`, which has nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS), ts(type = "object"))]
pub struct Done {}

/// Of `history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "generate", schemars(rename = "HistoryPage"), ts(concrete(M = Message)))]
pub struct HistoryPage<M = Message> {
    /// Oldest first.
    pub messages: Vec<M>,
    /// True where older ones are kept.
    pub more: bool,
}

/// A room and how many are in it.
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
    /// Rooms that somebody used, each once, in no promised order.
    pub rooms: Vec<RoomCount>,
    /// Ask with it for the next page; absent after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub cursor: Option<String>,
}

/// Of `online_users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct UsersPage {
    /// Users in the room in all.
    pub count: usize,
    /// This page of them.
    pub users: Vec<UserName>,
    /// Ask with it for the next page; absent after the last.
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
