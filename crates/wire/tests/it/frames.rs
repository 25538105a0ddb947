//! Random streams of frames, read by our decoder in chunks and by tungstenite whole: both must report the same
//! messages, and both must refuse the same streams.

use std::io::{self, Read, Write};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use roomcast_wire::websocket::{Decoder, FrameError, Limits, Message, Opcode, first_frame, put_frame};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message as TheirMessage, WebSocket};

const LIMITS: Limits = Limits { message: 100_000, kept: 100_000, discarded: 100_000, frames: 64 };

/// What a decoder reported.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Refused,
}

impl From<Message<'_>> for Seen {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_owned()),
            Message::Ping(payload) => Self::Ping(payload.to_owned()),
            Message::Pong => Self::Pong,
            Message::LongText(_) | Message::LongBinary | Message::Discarded(_) => Self::Refused,
            Message::Close(Some(1002)) => Self::Refused,
            Message::Close(status) => Self::Close(status),
        }
    }
}

/// What our decoder reports of a stream that arrives in these chunks, up to a close or an error.
fn ours(chunks: &[&[u8]]) -> Vec<Seen> {
    let mut decoder = Decoder::new(LIMITS);
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let mut input = &mut chunk[..];
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(message)) => seen.push(Seen::from(message)),
                Ok(None) => break,
                Err(_) => seen.push(Seen::Refused),
            }
            if matches!(seen.last(), Some(Seen::Refused | Seen::Close(_))) {
                return seen;
            }
        }
    }
    seen
}

/// A stream that is read to its end and swallows what is written.
struct Stream<'a>(&'a [u8]);

impl Read for Stream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            read => read,
        }
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite reports of the stream.
fn theirs(stream: &[u8]) -> Vec<Seen> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMITS.message))
        .max_frame_size(Some(LIMITS.message));
    let mut socket = WebSocket::from_raw_socket(Stream(stream), Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(TheirMessage::Text(text)) => Seen::Text(text.to_string()),
            Ok(TheirMessage::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(TheirMessage::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(TheirMessage::Pong(_)) => Seen::Pong,
            // An invalid status is reported as this one.
            Ok(TheirMessage::Close(Some(frame))) if u16::from(frame.code) == 1002 => Seen::Refused,
            Ok(TheirMessage::Close(frame)) => Seen::Close(frame.map(|frame| frame.code.into())),
            Ok(TheirMessage::Frame(_)) => unreachable!("never read"),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return seen,
            Err(_) => Seen::Refused,
        });
        if matches!(seen.last(), Some(Seen::Refused | Seen::Close(_))) {
            return seen;
        }
    }
}

fn frame(random: &mut StdRng, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask: [u8; 4] = random.random();
    let mut out = vec![first];
    match payload.len() {
        n @ 0..126 => out.push(0x80 | u8::try_from(n).unwrap()),
        n @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

fn text(random: &mut StdRng) -> String {
    let length = [0, 1, 3, 60, 125, 126, 300][random.random_range(0..7)];
    (0..length).map(|_| ['a', 'é', '€', '🦀', '"'][random.random_range(0..5)]).collect()
}

/// A few messages, some fragmented, with control frames between the fragments.
fn stream(random: &mut StdRng) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..random.random_range(1..5) {
        let payload = text(random).into_bytes();
        let opcode = random.random_range(1..=2);
        let fragments = random.random_range(1..5_usize);
        let mut rest = &payload[..];
        for n in 0..fragments {
            let last = n + 1 == fragments;
            let here = if last { rest.len() } else { random.random_range(0..=rest.len()) };
            let (part, after) = rest.split_at(here);
            rest = after;
            let first = if n == 0 { opcode } else { 0 } | if last { 0x80 } else { 0 };
            out.extend(frame(random, first, part));
            if random.random_bool(0.3) {
                let payload = vec![7; random.random_range(0..=125)];
                let opcode = [0x89, 0x8a][random.random_range(0..2)];
                out.extend(frame(random, opcode, &payload));
            }
        }
    }
    if random.random_bool(0.2) {
        let close: [&[u8]; 5] = [&[], &[3, 232], &[3, 232, b'x'], &[3], &[0, 1]];
        let payload = close[random.random_range(0..5)];
        out.extend(frame(random, 0x88, payload));
    }
    out
}

/// Whether both read the same. tungstenite refuses invalid text at the fragment that has it, we do at the message's
/// end, so that control frames between the two may be reported before. We refuse a header as soon as it is wrong, it
/// waits for the rest of it.
fn agree(ours: &[Seen], theirs: &[Seen]) -> bool {
    match (ours.split_last(), theirs.split_last()) {
        (Some((Seen::Refused, ours)), Some((Seen::Refused, theirs))) => {
            ours.starts_with(theirs)
                && ours.iter().skip(theirs.len()).all(|seen| matches!(seen, Seen::Ping(_) | Seen::Pong))
        }
        (Some((Seen::Refused, ours)), _) if ours == theirs => true,
        _ => ours == theirs,
    }
}

#[test]
fn random_streams_are_read_as_tungstenite_reads_them_wherever_they_are_cut() {
    for seed in 0..150 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = stream(&mut random);
        if random.random_bool(0.5) {
            // Damage: one byte is changed, wherever it is.
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        let (expected, theirs) = (ours(&[&bytes]), theirs(&bytes));
        assert!(agree(&expected, &theirs), "seed {seed}:\nours {expected:?}\ntheirs {theirs:?}");
        // Every place of short streams, some of long ones.
        for cut in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
            let (one, two) = bytes.split_at(cut);
            assert_eq!(ours(&[one, two]), expected, "seed {seed}, cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(ours(&single), expected, "seed {seed}, byte by byte");
    }
}

#[test]
fn garbage_does_not_panic_and_is_refused_alike() {
    for seed in 0..2_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let bytes: Vec<u8> = (0..random.random_range(1..200)).map(|_| random.random()).collect();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(ours(&single), ours(&[&bytes]), "seed {seed}");
    }
}

fn refused(stream: &[u8]) -> FrameError {
    let mut decoder = Decoder::new(LIMITS);
    let mut bytes = stream.to_vec();
    let mut input = &mut bytes[..];
    loop {
        match decoder.decode(&mut input) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("accepted"),
            Err(error) => return error,
        }
    }
}

#[test]
fn each_violation_has_its_status() {
    let mut random = StdRng::seed_from_u64(0);
    let mut frame = |first, payload: &[u8]| frame(&mut random, first, payload);
    let many = [vec![frame(0x01, b"")], (0..64).map(|_| frame(0x00, b"x")).collect()].concat().concat();
    for (what, stream, status) in [
        ("unmasked", vec![0x81, 1, b'2'], 1002),
        ("unmasked and empty", vec![0x81, 0, 0, 0, 0, 0], 1002),
        ("reserved bit", frame(0xc1, b"x"), 1002),
        ("unknown opcode", frame(0x83, b"x"), 1002),
        ("fragmented ping", frame(0x09, b"x"), 1002),
        ("long ping", frame(0x89, &[0; 126]), 1002),
        ("continuation first", frame(0x80, b"x"), 1002),
        ("message within a message", [frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002),
        ("close with half a status", frame(0x88, &[3]), 1002),
        ("close with a reserved status", frame(0x88, &[3, 237]), 1002),
        ("invalid text", frame(0x81, b"\xff"), 1007),
        ("close with an invalid reason", frame(0x88, &[3, 232, 0xff]), 1007),
        ("too many frames", many, 1008),
        ("too long", frame(0x82, &[0; 100_001]), 1009),
        ("too long in two", [frame(0x02, &[0; 60_000]), frame(0x80, &[0; 60_000])].concat(), 1009),
    ] {
        assert_eq!(refused(&stream).status(), status, "{what}");
    }
    // The announced length is enough: nothing is buffered first.
    assert_eq!(
        refused(&[0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]),
        FrameError::TooLong
    );
}

#[test]
fn frames_of_the_server_are_read_back() {
    for length in [0, 1, 125, 126, 65_535, 65_536] {
        let payload = vec![b'x'; length];
        let mut out = bytes::BytesMut::new();
        put_frame(&mut out, Opcode::Text, length, [&payload[..length / 2], &payload[length / 2..]]);
        let end = out.len();
        assert_eq!(first_frame(&out), Some((&payload[..], end)), "{length}");
        put_frame(&mut out, Opcode::Ping, 4, [&b"next"[..]]);
        assert_eq!(first_frame(&out), Some((&payload[..], end)), "{length}");
        let (_, rest) = out.split_at(end);
        assert_eq!(first_frame(rest), Some((&b"next"[..], 6)));
        assert!(first_frame(&out[..end - 1]).is_none(), "{length}: not whole");
        let mut client = WebSocket::from_raw_socket(Stream(&out[..end]), Role::Client, None);
        assert_eq!(client.read().unwrap(), TheirMessage::text(String::from_utf8(payload).unwrap()));
    }
}
