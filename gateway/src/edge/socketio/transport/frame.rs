//! Frames on the WebSocket, as the server writes them (RFC 6455, section 5.2: unmasked) around packets
//! of Engine.IO and Socket.IO: encoding ours, and recognising socketioxide's. Pure.

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

/// What matters to us in what socketioxide writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A client is connected: frames of ours may follow.
    Connect(&'static Namespace),
    /// A packet that so many binary frames belong to.
    Attachments(usize),
    /// One of them.
    Binary,
}

/// Looks through whole frames.
pub(super) fn look(mut bytes: &[u8], mut each: impl FnMut(Seen)) {
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
                    each(Seen::Connect(namespace));
                }
            }
            (1, [b'4', b'5' | b'6', count @ ..]) => each(Seen::Attachments(number(count))),
            (2, _) => each(Seen::Binary),
            _ => {}
        }
        bytes = next;
    }
}

fn number(digits: &[u8]) -> usize {
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
    fn our_frames_are_what_socketioxide_would_write() {
        assert_eq!(event(&NAMESPACES[0], "{}"), b"\x81\x1042[\"message\",{}]".map(|byte| byte).to_vec());
        let mut ack = BytesMut::new();
        put_ack(&mut ack, &NAMESPACES[1], 12, &raw("1"));
        assert_eq!(&ack[..], b"\x81\x0f43/native,12[1]");
        for length in [100, 126, 65_535, 65_536, 100_000] {
            let frame = event(&NAMESPACES[1], &format!("\"{}\"", "x".repeat(length)));
            let mut rest = &frame[..];
            let mut seen = 0;
            // Walking over it must end exactly at its end.
            look(rest, |_| seen += 1);
            rest = &rest[rest.len()..];
            assert!(rest.is_empty() && seen == 0);
            let doubled = [frame, frame_of(1, b"40{}")].concat();
            let mut found = Vec::new();
            look(&doubled, |seen| found.push(seen));
            assert_eq!(found, [Seen::Connect(&NAMESPACES[0])], "{length}");
        }
    }

    fn frame_of(opcode: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x80 | opcode, u8::try_from(payload.len()).unwrap()], payload].concat()
    }

    #[test]
    fn connects_and_attachments_are_seen_among_others() {
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
        look(&frames.concat(), |seen| found.push(seen));
        let expected = [Seen::Connect(&NAMESPACES[1]), Seen::Attachments(2), Seen::Binary, Seen::Binary];
        assert_eq!(found, expected);
    }

    #[test]
    fn garbage_is_walked_over() {
        for garbage in
            [&b"\x81"[..], b"\x81\x7f\0", b"\x81\x7e\xff\xff40", b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff4"]
        {
            look(garbage, drop);
        }
    }
}
