//! The dialect `auto`, of the namespace `/` alone: a client's first event, by its name and its fields, decides for good
//! which dialect it speaks. Until then a client without a name is sent what `abidev` sends, whose clients only listen at
//! first, and one that connected with a name what the native dialect sends. The table stands in docs/CLASSIC.md. Listed
//! in the table of `dialects/mod.rs`.

use std::collections::HashMap;

use roomcast_protocol::client::ConnectAuth;
use roomcast_protocol::{Code, Refusal, event};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::dialect::{Decoded, Dialect, EncodedReply, Standing};
use super::super::packet::Payload;
use super::abidev::Abidev;
use super::flask_chat_app::FlaskChatApp;
use super::flocker::Flocker;
use super::native::Native;
use super::private_rooms::PrivateRooms;
use super::ribbit::Ribbit;
use crate::chat::{Command, Reply};
use crate::hub::Event;

pub(super) struct Auto {
    signed_in: bool,
}

/// Clients without a name.
pub(super) static AUTO: Auto = Auto { signed_in: false };
/// Clients that connected with a name.
static SIGNED_IN: Auto = Auto { signed_in: true };

/// The fields that tell events of one name apart. Their values are not parsed: the dialect refuses what is wrong with them.
struct Seen(HashMap<String, Box<RawValue>>);

impl Seen {
    fn of(payload: &Payload) -> Self {
        Self(payload.decode().unwrap_or_default())
    }

    fn has(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(|value| value.get() != "null")
    }
}

/// Which classic chat an event is of; none if none has it, or if it could be of several.
fn classic(event: &str, seen: &Seen) -> Option<&'static dyn Dialect> {
    let is_thread = seen.has("threadId");
    match event {
        "message broadcast" => Some(&Abidev),
        "join" | "leave" | "join_room" | "leave_room" | "chat" if is_thread => Some(&Ribbit),
        "chat" => Some(&PrivateRooms),
        "join" if seen.has("username") => Some(&Flocker),
        "join_room" | "leave_room" if seen.has("username") => Some(&FlaskChatApp),
        // The thread may be called a room, too.
        "join" | "join_room" | "leave_room" if seen.has("room") => Some(&Ribbit),
        "leave" if seen.has("room") => Some(&Flocker),
        "send_message" if seen.has("msg") => Some(&Flocker),
        "send_message" if seen.has("message") => Some(&FlaskChatApp),
        _ => None,
    }
}

/// Which dialect the first event of a client is of; none if it decides nothing.
fn recognise(event: &str, payload: &Payload, signed_in: bool) -> Option<&'static dyn Dialect> {
    let seen = Seen::of(payload);
    if !signed_in {
        return classic(event, &seen);
    }
    let is_native = match event {
        event::client::JOIN => !seen.has("username") && !seen.has("threadId"),
        event::client::LEAVE => !seen.has("threadId"),
        event::client::SEND_MESSAGE => seen.has("text"),
        _ => false,
    };
    let classic = if is_native { None } else { classic(event, &seen) };
    Some(classic.unwrap_or(&Native))
}

impl Auto {
    fn until_decided(&self) -> &'static dyn Dialect {
        if self.signed_in { &Native } else { &Abidev }
    }
}

impl Dialect for Auto {
    /// That of the dialect in which it encodes.
    fn name(&self) -> &'static str {
        self.until_decided().name()
    }

    fn sign_in(&self, auth: Value) -> Result<Option<ConnectAuth>, Refusal> {
        let has_name =
            ["username", "token"].iter().any(|field| auth.get(*field).is_some_and(|value| !value.is_null()));
        if has_name { Native.sign_in(auth) } else { Ok(None) }
    }

    fn when_signed_in(&self) -> Option<&'static dyn Dialect> {
        Some(&SIGNED_IN)
    }

    fn on_connect(&self) -> Option<Command> {
        self.until_decided().on_connect()
    }

    fn is_undecided(&self) -> bool {
        true
    }

    /// As in any of the dialects that it may become.
    fn may_be_long(&self, event: &str) -> bool {
        Native.may_be_long(event) || PrivateRooms.may_be_long(event)
    }

    fn decide(&self, event: &str, payload: &Payload) -> Option<&'static dyn Dialect> {
        recognise(event, payload, self.signed_in)
    }

    fn decode(
        &self,
        _standing: &dyn Fn() -> Standing,
        event: &str,
        _payload: &Payload,
    ) -> Result<Decoded, Refusal> {
        let event: String = event.chars().take(64).collect();
        let why = format!("no chat is known by the event {event:?} with these fields");
        Err(Refusal::new(Code::UnknownEvent, why))
    }

    fn encode_reply(&self, reply: Result<Reply, Refusal>) -> serde_json::Result<EncodedReply> {
        self.until_decided().encode_reply(reply)
    }

    fn encode_event(
        &self,
        event: &Event,
        emit: &mut dyn FnMut(&'static str, &RawValue),
    ) -> serde_json::Result<()> {
        self.until_decided().encode_event(event, emit)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn recognised(event: &str, payload: &Value, signed_in: bool) -> Option<&'static str> {
        let payload = Payload::Json(to_raw_value(payload).unwrap());
        recognise(event, &payload, signed_in).map(|dialect| dialect.name())
    }

    #[test]
    fn the_first_event_of_every_dialect_is_recognised() {
        for (event, payload, dialect) in [
            ("join", json!({ "username": "ann", "room": "r" }), "flocker"),
            ("send_message", json!({ "username": "ann", "room": "r", "msg": "hi" }), "flocker"),
            ("leave", json!({ "room": "r" }), "flocker"),
            ("message broadcast", json!({ "message": "hi" }), "abidev"),
            ("message broadcast", json!({ "data": "hi" }), "abidev"),
            ("message broadcast", json!("hi"), "abidev"),
            ("join_room", json!({ "username": "ann", "room": "r" }), "flask-chat-app"),
            ("send_message", json!({ "username": "ann", "room": "r", "message": "hi" }), "flask-chat-app"),
            ("leave_room", json!({ "username": "ann", "room": "r" }), "flask-chat-app"),
            ("join", json!({ "threadId": 7 }), "ribbit"),
            ("join", json!({ "threadId": 7, "username": "ann" }), "ribbit"),
            ("join", json!({ "room": "7" }), "ribbit"),
            ("join_room", json!({ "threadId": 7, "username": "ann" }), "ribbit"),
            ("join_room", json!({ "room": "7" }), "ribbit"),
            ("leave", json!({ "threadId": 7 }), "ribbit"),
            ("leave_room", json!({ "room": "7" }), "ribbit"),
            ("chat", json!({ "threadId": 7, "message": "hi" }), "ribbit"),
            ("chat", json!({ "threadId": 7, "event": "like", "message": "hi" }), "ribbit"),
            ("chat", json!({ "event": "join", "user": "ann", "room": "r" }), "private-rooms"),
            ("chat", json!({ "room": "r" }), "private-rooms"),
            ("chat", json!({ "threadId": null, "room": "r" }), "private-rooms"),
            ("chat", json!(r#"{"event":"users"}"#), "private-rooms"),
        ] {
            assert_eq!(recognised(event, &payload, false), Some(dialect), "{event} {payload}");
        }
    }

    #[test]
    fn a_field_that_is_nested_deeply_hides_no_other() {
        let deep = format!(r#"{{"a":{}{},"threadId":7}}"#, "[".repeat(300), "]".repeat(300));
        let payload = Payload::Json(RawValue::from_string(deep).unwrap());
        assert_eq!(recognise("chat", &payload, false).map(|dialect| dialect.name()), Some("ribbit"));
    }

    #[test]
    fn a_client_with_a_name_is_native_unless_its_first_event_is_not() {
        for (event, payload, dialect) in [
            ("join", json!({ "room": "r" }), "native"),
            ("join", json!({}), "native"),
            ("leave", json!({ "room": "r" }), "native"),
            ("send_message", json!({ "room": "r", "text": "hi" }), "native"),
            ("send_message", json!({ "room": "r", "text": "hi", "message": "hi" }), "native"),
            ("send_message", json!({ "room": "r" }), "native"),
            ("rooms", json!({}), "native"),
            ("no such event", json!({}), "native"),
            ("join", json!({ "threadId": 7 }), "ribbit"),
            ("chat", json!({ "threadId": 7, "message": "hi" }), "ribbit"),
            ("join", json!({ "username": "ann", "room": "r" }), "flocker"),
            ("send_message", json!({ "room": "r", "message": "hi" }), "flask-chat-app"),
        ] {
            assert_eq!(recognised(event, &payload, true), Some(dialect), "{event} {payload}");
        }
    }

    #[test]
    fn what_is_of_no_chat_or_of_several_decides_nothing() {
        for (event, payload) in [
            ("join", json!("general")),
            ("join", json!({})),
            ("send_message", json!({ "room": "r", "text": "hi" })),
            ("send_message", json!({ "room": "r" })),
            ("history", json!({ "room": "r" })),
            ("no such event", json!({ "threadId": 7 })),
        ] {
            assert_eq!(recognised(event, &payload, false), None, "{event} {payload}");
        }
    }

    #[test]
    fn auth_with_a_name_or_a_token_is_native() {
        let query = json!({ "EIO": "3", "transport": "polling" });
        for none in [json!(null), json!({}), query, json!(7), json!({ "username": null, "token": null })] {
            assert!(AUTO.sign_in(none).unwrap().is_none());
        }
        assert!(AUTO.sign_in(json!({ "username": "ann" })).unwrap().is_some());
        assert_eq!(AUTO.sign_in(json!({ "token": "x" })).unwrap_err().code, Code::BadRequest);
        assert_eq!(AUTO.name(), "abidev");
        assert_eq!(AUTO.when_signed_in().unwrap().name(), "native");
        assert!(AUTO.on_connect().is_some() && SIGNED_IN.on_connect().is_none());
    }
}
