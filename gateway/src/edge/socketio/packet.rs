//! An event of a client: its name, its first argument, and the id of its acknowledgement; and the auth of a connect
//! packet. Decoded by `engine/` and `connect.rs`; dialects decode the payload.

use bytes::Bytes;
use roomcast_protocol::client::ConnectAuth;
use roomcast_protocol::text::replace_lone_surrogates;
use roomcast_protocol::{Code, Refusal};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::engine::Held;

/// An event of a client.
pub(crate) struct Packet {
    pub(super) event: String,
    pub(super) payload: Payload,
    /// The acknowledgement id that the client chose; none if it wants no acknowledgement.
    pub(super) ack_id: Option<u64>,
    /// The memory of a packet that is longer than usual; counts until the event has been handled.
    pub(super) held: Option<Held>,
}

/// The first argument of an event.
pub(crate) enum Payload {
    Json(Box<RawValue>),
    /// JSON in which placeholders stand for binary attachments, and these. There are none if the event has no use for
    /// them.
    WithBytes(Box<RawValue>, Vec<Bytes>),
    Absent,
    /// The packet was too long to be kept, or there was no memory for it.
    NotKept(NotKept),
}

/// Why a long packet was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotKept {
    TooLong,
    /// Other packets use all the memory.
    NoMemory,
}

impl From<NotKept> for Refusal {
    fn from(why: NotKept) -> Self {
        match why {
            NotKept::TooLong => Self::new(Code::ImageTooLarge, "the image is too large"),
            NotKept::NoMemory => Self::new(Code::Busy, "too many images are being sent; try again"),
        }
    }
}

impl Packet {
    /// Decodes `["event", {…}, …]`; `attachments` are those that came with it, if it is an event with attachments. None if
    /// it is no event: a list that begins with a string or a number.
    pub(super) fn decode(data: &str, ack_id: Option<u64>, attachments: Option<Vec<Bytes>>) -> Option<Self> {
        let data = replace_lone_surrogates(data);
        let parts: Vec<&RawValue> = serde_json::from_str(&data).ok()?;
        let event = event_name(parts.first()?.get())?;
        let payload = match (parts.get(1), attachments) {
            (Some(payload), Some(attachments)) => Payload::WithBytes((*payload).to_owned(), attachments),
            (Some(payload), None) => Payload::Json((*payload).to_owned()),
            (None, _) => Payload::Absent,
        };
        Some(Self { event, payload, ack_id, held: None })
    }
}

/// A name may be escaped, and of any script; numbers are names, too.
fn event_name(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => Some(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())),
        b'-' | b'0'..=b'9' => Some(json.to_owned()),
        _ => None,
    }
}

/// The name of an event, from the beginning of its data. Names that are escaped are not found.
pub(super) fn first_event_name(data: &str) -> Option<&str> {
    let name = data.trim_start().strip_prefix('[')?.trim_start().strip_prefix('"')?;
    name.split_once('"').map(|(name, _)| name)
}

impl Payload {
    /// Decodes the object. Unknown fields are ignored; a refusal names the field that is wrong.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let bad = |why: &str| Err(Refusal::new(Code::BadRequest, why));
        match self {
            Self::Json(json) | Self::WithBytes(json, _) if !json.get().starts_with('{') => {
                bad("the payload is not an object")
            }
            Self::Json(json) => serde_json::from_str(json.get()).map_err(|error| refusal(&error)),
            // Unknown fields may be binary; known fields may not.
            Self::WithBytes(json, _) => serde_json::from_str(json.get())
                .or_else(|_| bad("the payload has binary data in a field that is not binary")),
            Self::Absent => bad("the payload is missing"),
            Self::NotKept(why) => Err((*why).into()),
        }
    }

    /// Like [`Self::decode`], for events that have a field for an attachment.
    pub(super) fn decode_with_bytes<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        match self {
            Self::WithBytes(json, _) if json.get().starts_with('{') => {
                serde_json::from_str(json.get()).map_err(|error| refusal(&error))
            }
            _ => self.decode(),
        }
    }

    /// Like [`Self::decode`], for events whose payload may be absent.
    pub(super) fn decode_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Refusal> {
        match self {
            Self::Absent => Ok(T::default()),
            Self::Json(json) if json.get() == "null" => Ok(T::default()),
            _ => self.decode(),
        }
    }
}

/// Decodes the auth of a connect packet. A client that sends none learns which field it lacks, too.
pub(super) fn decode_auth(auth: serde_json::Value) -> Result<ConnectAuth, Refusal> {
    let auth = if auth.is_null() { serde_json::Value::Object(serde_json::Map::default()) } else { auth };
    if !auth.is_object() {
        return Err(Refusal::new(Code::BadRequest, "auth: not an object"));
    }
    serde_json::from_value(auth).map_err(|error| {
        let Refusal { code, message, .. } = refusal(&error);
        Refusal::new(code, format!("auth: {message}"))
    })
}

/// Decodes the auth of a connect packet if it has a name. Null, a name that is null, or an object of other members (the
/// query of an Engine.IO 3 client), is no auth.
pub(super) fn decode_optional_auth(auth: serde_json::Value) -> Result<Option<ConnectAuth>, Refusal> {
    let has_name = auth.get("username").is_some_and(|name| !name.is_null());
    if has_name { decode_auth(auth).map(Some) } else { Ok(None) }
}

/// Converts serde's error to a refusal. Deserializing a name fails with a text that begins with the refusal's code.
pub(super) fn refusal(error: &serde_json::Error) -> Refusal {
    let text = error.to_string();
    if text.starts_with("recursion limit exceeded") {
        return Refusal::new(Code::BadRequest, "the payload is nested too deeply");
    }
    let (code, message) = text.split_once(": ").unwrap_or_default();
    match Code::ALL.iter().find(|known| known.name() == code) {
        Some(code) => Refusal::new(*code, message.split(" at line ").next().unwrap_or(message)),
        None => Refusal::new(Code::BadRequest, text.split(" at line ").next().unwrap_or(&text)),
    }
}

#[cfg(test)]
mod tests {
    use roomcast_protocol::client::{Join, Rooms, SendMessage};
    use roomcast_protocol::limits::MAX_PACKET_BYTES;

    use super::*;

    fn payload(json: &str) -> Payload {
        Payload::Json(RawValue::from_string(json.into()).unwrap())
    }

    fn packet(data: &str) -> (String, Payload) {
        let packet = Packet::decode(data, None, None).unwrap();
        (packet.event, packet.payload)
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced_in_every_field() {
        let (event, payload) =
            packet(r#"["send_\ud83d",{"room":"r\ude00","text":"nice \ud83d","id":"\ud83d\ude00"}]"#);
        let SendMessage { room, text, id } = payload.decode().unwrap();
        assert_eq!((event.as_str(), room.as_str()), ("send_\u{fffd}", "r\u{fffd}"));
        assert_eq!((text.as_str(), id.as_deref()), ("nice \u{fffd}", Some("\u{1f600}")));
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused_if_it_is_known() {
        let twice = payload(r#"{"room":"r","text":"a","text":"b"}"#).decode::<SendMessage>().unwrap_err();
        assert_eq!((twice.code, twice.message.as_str()), (Code::BadRequest, "duplicate field `text`"));
        assert!(payload(r#"{"room":"r","text":"a","x":1,"x":2}"#).decode::<SendMessage>().is_ok());
    }

    #[test]
    fn nesting_of_any_depth_is_ignored_or_refused() {
        let depth = MAX_PACKET_BYTES / 2 - 64;
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let decode = |json: &str| packet(json).1.decode::<Join>().map(|join| join.room.to_string());
        assert_eq!(decode(&format!(r#"["join",{{"room":"r","new":{deep}}}]"#)).unwrap(), "r");
        for refused in [format!(r#"["join",{{"room":{deep}}}]"#), format!(r#"["join",{deep}]"#)] {
            assert_eq!(decode(&refused).unwrap_err().code, Code::BadRequest);
        }
    }

    #[test]
    fn objects_whose_fields_are_kept_may_not_be_nested_deeply() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        let refusal = payload(&deep).decode::<serde_json::Map<String, serde_json::Value>>().unwrap_err();
        assert_eq!((refusal.code, &*refusal.message), (Code::BadRequest, "the payload is nested too deeply"));
    }

    #[test]
    fn names_may_be_escaped_and_numbers() {
        for (data, name) in [
            (r#"["join",{}]"#, "join"),
            (r#"["\u006aoin"]"#, "join"),
            (r#"["say \"hi\"\n",1]"#, "say \"hi\"\n"),
            (r#"["\u00e9"]"#, "é"),
            ("[7,{}]", "7"),
            ("[-1.5]", "-1.5"),
        ] {
            assert_eq!(Packet::decode(data, None, None).unwrap().event, name, "{data}");
        }
        for no_event in ["", "{}", "[]", "[null]", "[{}]", "[true]", r#"["join""#, "7"] {
            assert!(Packet::decode(no_event, None, None).is_none(), "{no_event}");
        }
    }

    #[test]
    fn names_are_found_in_the_beginning_of_an_event() {
        assert_eq!(first_event_name(r#"["send_image",{"room":"#), Some("send_image"));
        assert_eq!(first_event_name(r#" [ "chat" , "#), Some("chat"));
        for none in ["", "[", "[7,", r#"["cut"#, r#"{"a":1}"#] {
            assert_eq!(first_event_name(none), None, "{none}");
        }
    }

    #[test]
    fn decode_errors_have_a_code_and_a_message() {
        for (json, code, expected) in [
            (r#"{"room":"r"}"#, Code::BadRequest, "missing field `text`"),
            (r#"{"room":"r","text":7}"#, Code::BadRequest, "expected a string"),
            (r#"{"room":"","text":"x"}"#, Code::BadRoom, "is empty"),
            (r#"["r","x"]"#, Code::BadRequest, "not an object"),
            (r#""r""#, Code::BadRequest, "not an object"),
        ] {
            let refusal = payload(json).decode::<SendMessage>().unwrap_err();
            assert_eq!(refusal.code, code, "{json}");
            assert!(refusal.message.contains(expected), "{json}: {}", refusal.message);
            assert!(!refusal.message.contains("line"), "{}", refusal.message);
        }
        let bytes = |json: &str| Payload::WithBytes(RawValue::from_string(json.into()).unwrap(), Vec::new());
        let refusal = bytes(r#"{"room":{"_placeholder":true,"num":0}}"#).decode::<Join>().unwrap_err();
        assert_eq!(refusal.message, "the payload has binary data in a field that is not binary");
        assert!(bytes(r#"{"room":"r","new":{"_placeholder":true,"num":0}}"#).decode::<Join>().is_ok());
        assert!(payload(r#"{"room":"r","new":[1]}"#).decode::<Join>().is_ok(), "unknown fields are ignored");
        assert!(Payload::Absent.decode_or_default::<Rooms>().is_ok());
        assert!(payload("null").decode_or_default::<Rooms>().is_ok());
    }

    #[test]
    fn a_client_without_a_name_learns_which_field_it_lacks() {
        use serde_json::{Value, json};
        let missing = "auth: missing field `username`";
        for (auth, code, message) in [
            (Value::Null, Code::BadRequest, missing),
            (json!({}), Code::BadRequest, missing),
            (json!({"headers": {"X-CSRF-TOKEN": "…"}}), Code::BadRequest, missing),
            (json!(["Ann"]), Code::BadRequest, "auth: not an object"),
            (json!("Ann"), Code::BadRequest, "auth: not an object"),
            (json!({"username": 7}), Code::BadRequest, "auth: invalid type: integer `7`, expected a string"),
            (json!({"username": ""}), Code::BadUsername, "auth: the name of a user is empty"),
        ] {
            let refusal = decode_auth(auth.clone()).unwrap_err();
            assert_eq!((refusal.code, &*refusal.message), (code, message), "{auth}");
        }
        assert!(decode_auth(json!({"username": "Ann", "new": 1})).is_ok());
    }

    #[test]
    fn auth_without_a_name_is_none() {
        for none in [
            serde_json::json!(null),
            serde_json::json!({}),
            serde_json::json!({ "EIO": "3" }),
            serde_json::json!({ "username": null, "resume": "x" }),
            serde_json::json!(7),
        ] {
            assert!(decode_optional_auth(none).unwrap().is_none());
        }
        assert!(
            decode_optional_auth(serde_json::json!({ "username": "ann", "resume": "x" })).unwrap().is_some()
        );
        assert!(decode_optional_auth(serde_json::json!({ "username": "" })).is_err());
    }
}
