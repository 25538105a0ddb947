//! Frames on the WebSocket, as the server writes them (RFC 6455, section 5.2: unmasked) around packets
//! of Engine.IO and Socket.IO: encodes the gateway's own, and recognises some of socketioxide's. Pure.

use bytes::{BufMut as _, BytesMut};
use serde_json::value::RawValue;

use super::super::dialects::Namespace;

/// Appends an event's frame: `42["event",payload]`.
pub(crate) fn put_event(out: &mut BytesMut, namespace: &Namespace, event: &str, payload: &RawValue) {
    let parts = ["42", namespace.prefix(), "[\"", event, "\",", payload.get(), "]"];
    put(out, &parts);
}

/// Appends an acknowledgement's frame: `43ID[payload]`.
pub(crate) fn put_ack(out: &mut BytesMut, namespace: &Namespace, id: i64, payload: &RawValue) {
    put(out, &["43", namespace.prefix(), &id.to_string(), "[", payload.get(), "]"]);
}

fn put(out: &mut BytesMut, parts: &[&str]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(length + 10);
    out.put_u8(0x81);
    #[expect(clippy::cast_possible_truncation, reason = "the arms bound it")]
    match length {
        0..126 => out.put_u8(length as u8),
        126..65_536 => {
            out.put_u8(126);
            out.put_u16(length as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
    parts.iter().for_each(|part| out.put_slice(part.as_bytes()));
}

/// A frame of socketioxide that the outbox must know of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrameEvent {
    /// The answer to a connect packet: the gateway's own frames may follow.
    Connected(&'static Namespace),
    /// A packet that is followed by this number of binary frames.
    Attachments(usize),
    /// A binary frame.
    Binary,
}

/// Scans complete frames, and calls `on_event` for each one that the outbox must know of.
pub(super) fn scan_frames(mut bytes: &[u8], mut on_event: impl FnMut(FrameEvent)) {
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match (second & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
            }
            (short, rest) => (u64::from(short), rest),
        };
        let end = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
        let (payload, next) = rest.split_at(end);
        match (first & 0x0f, payload) {
            (1, [b'4', b'0', rest @ ..]) => {
                if let Some(namespace) = Namespace::of_packet(rest) {
                    on_event(FrameEvent::Connected(namespace));
                }
            }
            (1, [b'4', b'5' | b'6', count @ ..]) => on_event(FrameEvent::Attachments(leading_number(count))),
            (2, _) => on_event(FrameEvent::Binary),
            _ => {}
        }
        bytes = next;
    }
}

fn leading_number(digits: &[u8]) -> usize {
    let digits = digits.iter().take_while(|digit| digit.is_ascii_digit()).take(6);
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::super::super::dialects::NAMESPACES;
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    fn event(namespace: &Namespace, payload: &str) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_event(&mut out, namespace, "message", &raw(payload));
        out.to_vec()
    }

    #[test]
    fn frames_are_encoded_as_socketioxide_encodes_them() {
        assert_eq!(event(&NAMESPACES[0], "{}"), b"\x81\x1042[\"message\",{}]".to_vec());
        let mut ack = BytesMut::new();
        put_ack(&mut ack, &NAMESPACES[1], 12, &raw("1"));
        assert_eq!(&ack[..], b"\x81\x0f43/native,12[1]");
        for length in [100, 126, 65_535, 65_536, 100_000] {
            let frame = event(&NAMESPACES[1], &format!("\"{}\"", "x".repeat(length)));
            // The next frame is found only if scanning ends exactly at the end of this one.
            let doubled = [frame, frame_of(1, b"40{}")].concat();
            let mut found = Vec::new();
            scan_frames(&doubled, |event| found.push(event));
            assert_eq!(found, [FrameEvent::Connected(&NAMESPACES[0])], "{length}");
        }
    }

    fn frame_of(opcode: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x80 | opcode, u8::try_from(payload.len()).unwrap()], payload].concat()
    }

    #[test]
    fn connects_and_attachments_are_recognised_among_other_frames() {
        let frames = [
            frame_of(1, b"2"),
            frame_of(1, b"40/native,{\"sid\":\"x\"}"),
            frame_of(1, b"44{}"),
            frame_of(1, b"452-[\"image\"]"),
            frame_of(2, b"one"),
            frame_of(2, b"two"),
            frame_of(1, b"42[\"40\"]"),
        ];
        let mut found = Vec::new();
        scan_frames(&frames.concat(), |event| found.push(event));
        let expected = [
            FrameEvent::Connected(&NAMESPACES[1]),
            FrameEvent::Attachments(2),
            FrameEvent::Binary,
            FrameEvent::Binary,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn scanning_garbage_does_not_panic() {
        for garbage in
            [&b"\x81"[..], b"\x81\x7f\0", b"\x81\x7e\xff\xff40", b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff4"]
        {
            scan_frames(garbage, drop);
        }
    }
}
