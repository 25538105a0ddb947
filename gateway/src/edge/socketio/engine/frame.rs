//! WebSocket frames around packets of Engine.IO and Socket.IO, as the server sends them. Clients that poll are sent the
//! payloads of the same frames, so that events are encoded once. Pure. Called by `outbound.rs` and this folder.

use bytes::{Bytes, BytesMut};
use roomcast_wire::websocket::{Opcode, put_frame};
use serde_json::value::RawValue;

use super::super::dialects::Namespace;

/// Appends an event: `42["event",payload]`.
pub(crate) fn put_event(out: &mut BytesMut, namespace: &Namespace, event: &str, payload: &RawValue) {
    put_text(out, &["42", namespace.prefix(), "[\"", event, "\",", payload.get(), "]"]);
}

/// Appends an acknowledgement: `43ID[payload]`.
pub(crate) fn put_ack(out: &mut BytesMut, namespace: &Namespace, id: u64, payload: &RawValue) {
    put_text(out, &["43", namespace.prefix(), &id.to_string(), "[", payload.get(), "]"]);
}

/// One frame of text.
pub(crate) fn text(parts: &[&str]) -> Bytes {
    let mut out = BytesMut::new();
    put_text(&mut out, parts);
    out.freeze()
}

fn put_text(out: &mut BytesMut, parts: &[&str]) {
    let length = parts.iter().map(|part| part.len()).sum();
    put_frame(out, Opcode::Text, length, parts.iter().map(|part| part.as_bytes()));
}

/// A control frame.
pub(super) fn control(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_frame(&mut out, opcode, payload.len(), [payload]);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::super::super::dialects::NAMESPACES;
    use super::*;

    #[test]
    fn events_and_acknowledgements_name_their_namespace() {
        let raw = |json: &str| RawValue::from_string(json.into()).unwrap();
        let mut out = BytesMut::new();
        put_event(&mut out, &NAMESPACES[0], "message", &raw("{}"));
        put_ack(&mut out, &NAMESPACES[1], 12, &raw("1"));
        assert_eq!(&out[..], b"\x81\x1042[\"message\",{}]\x81\x0f43/native,12[1]");
    }
}
