//! An event as extracted from socketioxide: its name, its first argument, and its acknowledgement sender. Called by
//! `client.rs`; dialects decode the payload.

use std::sync::Arc;

use roomcast_protocol::{Code, Refusal};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::AckSender;
use socketioxide::handler::{FromMessage, FromMessageParts, Value};
use socketioxide::socket::Socket;

/// An event of a client.
pub(super) struct Packet {
    pub(super) event: String,
    pub(super) payload: Payload,
    pub(super) ack: AckSender,
    /// The acknowledgement id that the client chose; none if it wants no acknowledgement.
    pub(super) ack_id: Option<i64>,
}

/// The first argument of an event.
pub(super) enum Payload {
    Json(Box<RawValue>),
    /// JSON in which placeholders stand for binary attachments.
    WithBytes(Box<RawValue>),
    Absent,
    Invalid,
}

impl FromMessage<LocalAdapter> for Packet {
    type Error = std::convert::Infallible;

    fn from_message(socket: Arc<Socket>, mut value: Value, ack_id: Option<i64>) -> Result<Self, Self::Error> {
        let ack = AckSender::from_message_parts(&socket, &mut value, &ack_id)?;
        let (event, payload) = parse(&value);
        Ok(Self { event, payload, ack, ack_id })
    }
}

/// Parses `["event", {…}, …]`.
fn parse(value: &Value) -> (String, Payload) {
    let Value::Str(text, attachments) = value else { return (String::new(), Payload::Invalid) };
    match serde_json::from_str::<Vec<&RawValue>>(text.as_str()) {
        Ok(parts) => {
            let name = parts.first().and_then(|name| serde_json::from_str(name.get()).ok());
            let payload = match parts.get(1) {
                Some(payload) if attachments.as_ref().is_some_and(|bytes| !bytes.is_empty()) => {
                    Payload::WithBytes((*payload).to_owned())
                }
                Some(payload) => Payload::Json((*payload).to_owned()),
                None => Payload::Absent,
            };
            (name.unwrap_or_default(), payload)
        }
        Err(_) => (String::new(), Payload::Invalid),
    }
}

impl Payload {
    /// Decodes the object. Unknown fields are ignored; a refusal names the field that is wrong.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let bad = |why: &str| Err(Refusal::new(Code::BadRequest, why));
        match self {
            Self::Json(json) | Self::WithBytes(json) if !json.get().starts_with('{') => {
                bad("the payload is not an object")
            }
            Self::Json(json) => serde_json::from_str(json.get()).map_err(|error| refusal(&error)),
            // Unknown fields may be binary; known fields may not.
            Self::WithBytes(json) => serde_json::from_str(json.get())
                .or_else(|_| bad("the payload has binary data in a field that is not binary")),
            Self::Absent => bad("the payload is missing"),
            Self::Invalid => bad("the packet is invalid"),
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

/// Converts serde's error to a refusal. Deserializing a name fails with a text that begins with the refusal's code.
pub(super) fn refusal(error: &serde_json::Error) -> Refusal {
    let text = error.to_string();
    let (code, message) = text.split_once(": ").unwrap_or_default();
    match Code::ALL.iter().find(|known| known.name() == code) {
        Some(code) => Refusal::new(*code, message.split(" at line ").next().unwrap_or(message)),
        None => Refusal::new(Code::BadRequest, text.split(" at line ").next().unwrap_or(&text)),
    }
}

#[cfg(test)]
mod tests {
    use roomcast_protocol::client::{Join, Rooms, SendMessage};

    use super::*;

    fn payload(json: &str) -> Payload {
        Payload::Json(RawValue::from_string(json.into()).unwrap())
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
        let bytes = |json: &str| Payload::WithBytes(RawValue::from_string(json.into()).unwrap());
        let refusal = bytes(r#"{"room":{"_placeholder":true,"num":0}}"#).decode::<Join>().unwrap_err();
        assert_eq!(refusal.message, "the payload has binary data in a field that is not binary");
        assert!(bytes(r#"{"room":"r","new":{"_placeholder":true,"num":0}}"#).decode::<Join>().is_ok());
        assert!(payload(r#"{"room":"r","new":[1]}"#).decode::<Join>().is_ok(), "unknown fields are ignored");
        assert!(Payload::Absent.decode_or_default::<Rooms>().is_ok());
        assert!(payload("null").decode_or_default::<Rooms>().is_ok());
    }
}
