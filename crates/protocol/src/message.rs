//! A message as every member receives it. The sender's gateway encodes all but the position once; what
//! stores the message adds the position in front, so nobody encodes a text twice.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::name::{RoomName, UserName};
use crate::position::Epoch;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody said something.
    Text,
}

/// `message`, as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Message {
    /// The room.
    pub room: RoomName,
    /// The life of the room's log.
    pub epoch: Epoch,
    /// The message's number in it.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
    /// When it was stored, in milliseconds since 1970, by the clock of what stored it.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub ts: u64,
    /// The message's identity in its room.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// Who sent it.
    pub user: UserName,
    /// What was said, for `kind: "text"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub text: Option<String>,
}

/// The part of a message that its sender decides.
#[derive(Debug, Serialize)]
pub struct Body<'a> {
    /// The message's identity in its room.
    pub id: &'a str,
    /// What it is.
    pub kind: Kind,
    /// Who sends it.
    pub user: &'a UserName,
    /// What is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
}

impl Body<'_> {
    /// The body as the end of a JSON object: its members and the closing brace, without the opening one.
    pub fn to_tail(&self) -> Result<String, serde_json::Error> {
        let mut json = Vec::with_capacity(128 + self.text.map_or(0, str::len));
        serde_json::to_writer(&mut json, self)?;
        json.remove(0);
        String::from_utf8(json).map_err(serde::ser::Error::custom)
    }
}

/// Puts a position in front of a tail: the JSON of a [`Message`]. Errors where the tail is not the end
/// of one JSON object, which only another version or a stranger could have written.
pub fn compose(
    room: &RoomName,
    epoch: &Epoch,
    offset: u64,
    ts: u64,
    tail: &str,
) -> Result<Box<RawValue>, serde_json::Error> {
    // Into one buffer that has room for it: every node does this for every message.
    let mut json = Vec::with_capacity(128 + room.as_str().len() + tail.len());
    json.extend_from_slice(br#"{"room":"#);
    serde_json::to_writer(&mut json, room)?;
    json.extend_from_slice(br#","epoch":"#);
    serde_json::to_writer(&mut json, epoch)?;
    json.extend_from_slice(br#","offset":"#);
    serde_json::to_writer(&mut json, &offset)?;
    json.extend_from_slice(br#","ts":"#);
    serde_json::to_writer(&mut json, &ts)?;
    json.push(b',');
    json.extend_from_slice(tail.as_bytes());
    RawValue::from_string(String::from_utf8(json).map_err(serde::de::Error::custom)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_bytes_are_what_serde_would_write() {
        let message = Message {
            room: RoomName::parse("quote\"d / чат").unwrap(),
            epoch: Epoch::new("5eed"),
            offset: 7,
            ts: 1_790_000_000_123,
            id: "a-1".into(),
            kind: Kind::Text,
            user: UserName::parse("Ann").unwrap(),
            text: Some("<b>\"hi\"</b>\n\u{1f980}".into()),
        };
        let body =
            Body { id: &message.id, kind: message.kind, user: &message.user, text: message.text.as_deref() };
        let tail = body.to_tail().unwrap();
        let raw = compose(&message.room, &message.epoch, message.offset, message.ts, &tail).unwrap();
        assert_eq!(raw.get(), serde_json::to_string(&message).unwrap());
        assert_eq!(serde_json::from_str::<Message>(raw.get()).unwrap(), message);
    }

    #[test]
    fn a_tail_that_is_no_tail_is_refused() {
        let room = RoomName::parse("r").unwrap();
        for tail in ["", "}", "\"a\":1", "\"a\":1}}", "\"a\":1},{}"] {
            assert!(compose(&room, &Epoch::new("e"), 1, 1, tail).is_err(), "{tail:?}");
        }
    }
}
