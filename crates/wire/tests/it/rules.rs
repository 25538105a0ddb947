//! The rules of RFC 6455 case by case, in the order of the Autobahn test suite (which needs Python 2): framing, pings,
//! reserved bits, opcodes, fragmentation, UTF-8 and closing.

use roomcast_wire::websocket::{Decoder, FrameError, Limits, Message};

const LIMITS: Limits = Limits { message: 128 * 1024, kept: 1_500_000, discarded: 8_000_000, frames: 256 };

/// A client's frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
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
    out.extend([0; 4]);
    out.extend(payload);
    out
}

/// What is decoded of these frames, sent together and byte by byte, which must be the same.
fn decode(frames: &[Vec<u8>]) -> Result<Vec<String>, FrameError> {
    let decode_chunks = |size: usize| {
        let mut decoder = Decoder::new(LIMITS);
        let mut seen = Vec::new();
        for chunk in frames.concat().chunks(size) {
            let mut chunk = chunk.to_vec();
            let mut input = &mut chunk[..];
            while let Some(message) = decoder.decode(&mut input)? {
                seen.push(match message {
                    Message::Text(text) => format!("text {text}"),
                    Message::Binary(bytes) => format!("binary of {}", bytes.len()),
                    Message::Ping(payload) => format!("ping of {}", payload.len()),
                    Message::Pong => "pong".to_owned(),
                    Message::LongText(_) | Message::LongBinary => continue,
                    Message::Discarded(length) => format!("discarded {length}"),
                    Message::Close(status) => format!("close {status:?}"),
                });
            }
        }
        Ok(seen)
    };
    let (whole, single) = (decode_chunks(usize::MAX), decode_chunks(1));
    assert_eq!(whole, single);
    whole
}

fn status(frames: &[Vec<u8>]) -> u16 {
    decode(frames).unwrap_err().status()
}

#[test]
fn framing_of_every_length() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 128 * 1024] {
        let text = decode(&[frame(0x81, &vec![b'*'; length])]).unwrap();
        assert_eq!(text, [format!("text {}", "*".repeat(length))]);
        assert_eq!(decode(&[frame(0x82, &vec![0xff; length])]).unwrap(), [format!("binary of {length}")]);
    }
    assert_eq!(status(&[frame(0x82, &vec![0; 128 * 1024 + 1])]), 1009);
}

/// What is decoded of these frames where the caller keeps long messages, or discards them; in pieces of this size.
fn decode_long(frames: &[Vec<u8>], size: usize, keeps: bool) -> Result<Vec<String>, FrameError> {
    let mut decoder = Decoder::new(LIMITS);
    let mut seen = Vec::new();
    for piece in frames.concat().chunks(size) {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        while let Some(message) = decoder.decode(&mut input)? {
            match message {
                Message::LongText(beginning) => seen.push(format!("long text {:?}", beginning.first())),
                Message::LongBinary => seen.push("long binary".into()),
                Message::Text(text) => seen.push(format!("text of {}", text.len())),
                Message::Binary(bytes) => seen.push(format!("binary of {}", bytes.len())),
                Message::Discarded(length) => seen.push(format!("discarded {length}")),
                Message::Ping(_) => seen.push("ping".into()),
                Message::Pong | Message::Close(_) => {}
            }
            if seen.last().is_some_and(|last| last.starts_with("long")) {
                if keeps { decoder.keep() } else { decoder.discard() }
            }
        }
    }
    Ok(seen)
}

#[test]
fn the_caller_decides_about_long_messages() {
    let (usual, long) = (128 * 1024, 200_000);
    for size in [1_000, 4_096, usize::MAX] {
        let text = [frame(0x81, &vec![b'x'; long]), frame(0x81, b"next")];
        assert_eq!(
            decode_long(&text, size, true).unwrap(),
            ["long text Some(120)", "text of 200000", "text of 4"]
        );
        assert_eq!(
            decode_long(&text, size, false).unwrap(),
            ["long text Some(120)", "discarded 200000", "text of 4"]
        );
        let bytes = [frame(0x82, &vec![0; usual]), frame(0x82, &vec![0; usual + 1])];
        assert_eq!(
            decode_long(&bytes, size, true).unwrap(),
            ["binary of 131072", "long binary", "binary of 131073"]
        );
        // Fragments: short ones first, so that the first bytes are known only later; a ping between them.
        let fragments = [
            frame(0x01, b"a"),
            frame(0x00, b""),
            frame(0x89, b""),
            frame(0x00, &vec![b'b'; long]),
            frame(0x80, &vec![b'c'; long]),
        ];
        assert_eq!(
            decode_long(&fragments, size, true).unwrap(),
            ["ping", "long text Some(97)", "text of 400001"]
        );
    }
}

#[test]
fn what_is_too_long_to_be_kept_is_discarded_and_what_is_longer_is_refused() {
    let part = vec![b'x'; 1_000_000];
    let one = [frame(0x81, &vec![b'x'; 1_500_001]), frame(0x81, b"next")];
    assert_eq!(
        decode_long(&one, 4_096, true).unwrap(),
        ["long text Some(120)", "discarded 1500001", "text of 4"]
    );
    let two = [frame(0x02, &part), frame(0x80, &part)];
    assert_eq!(decode_long(&two, 4_096, true).unwrap(), ["long binary", "discarded 2000000"]);
    let nine: Vec<_> = (0..9).map(|n| frame(if n == 0 { 0x02 } else { 0x00 }, &part)).collect();
    assert_eq!(decode_long(&nine, 4_096, true).unwrap_err().status(), 1009);
    assert_eq!(decode_long(&[frame(0x82, &vec![0; 8_000_001])], 4_096, true).unwrap_err().status(), 1009);
}

#[test]
fn pings_and_pongs() {
    for length in [0, 1, 125] {
        assert_eq!(decode(&[frame(0x89, &vec![0xfe; length])]).unwrap(), [format!("ping of {length}")]);
    }
    assert_eq!(status(&[frame(0x89, &[0; 126])]), 1002);
    assert_eq!(decode(&[frame(0x8a, b"unasked"), frame(0x81, b"x")]).unwrap(), ["pong", "text x"]);
}

#[test]
fn reserved_bits_and_opcodes() {
    for bits in [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70] {
        for opcode in [0x81, 0x82, 0x88, 0x89, 0x8a] {
            assert_eq!(status(&[frame(opcode | bits, b"")]), 1002, "{bits:x} {opcode:x}");
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_eq!(status(&[frame(0x80 | opcode, b"")]), 1002, "{opcode}");
    }
}

#[test]
fn fragmentation() {
    let fragments = [frame(0x01, b"one "), frame(0x00, b"two "), frame(0x80, b"three")];
    assert_eq!(decode(&fragments).unwrap(), ["text one two three"]);
    let [one, two, three] = fragments;
    let ping = frame(0x89, b"p");
    assert_eq!(
        decode(&[one.clone(), ping.clone(), two, ping, three.clone()]).unwrap(),
        ["ping of 1", "ping of 1", "text one two three"]
    );
    assert_eq!(decode(&[frame(0x02, b""), frame(0x00, b""), frame(0x80, b"")]).unwrap(), ["binary of 0"]);
    // Control frames are whole; nothing continues what was not begun, or begins within what was.
    assert_eq!(status(&[frame(0x09, b"x"), frame(0x80, b"x")]), 1002);
    assert_eq!(status(&[frame(0x80, b"x")]), 1002);
    assert_eq!(status(&[frame(0x81, b"x"), frame(0x80, b"x")]), 1002);
    assert_eq!(status(&[one, frame(0x81, b"x"), three]), 1002);
}

#[test]
fn text_is_utf_8() {
    for valid in [
        "",
        "κόσμε",
        "\u{0}",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
        "\u{fffd}",
        "\u{d7ff}\u{e000}",
    ] {
        assert_eq!(decode(&[frame(0x81, valid.as_bytes())]).unwrap(), [format!("text {valid}")]);
        // A character may be cut by a fragment.
        let fragments: Vec<_> = valid.bytes().map(|byte| frame(0x00, &[byte])).collect();
        let all = [vec![frame(0x01, b"")], fragments, vec![frame(0x80, b"")]].concat();
        assert_eq!(decode(&all).unwrap(), [format!("text {valid}")]);
    }
    let invalid: [&[u8]; 16] = [
        b"\x80",
        b"\xbf",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xce",
        b"\xf0\x9f\xa6",
    ];
    for bytes in invalid {
        assert_eq!(status(&[frame(0x81, bytes)]), 1007, "{bytes:x?}");
        assert_eq!(status(&[frame(0x01, bytes), frame(0x80, b"")]), 1007, "{bytes:x?} in fragments");
        assert!(decode(&[frame(0x82, bytes)]).is_ok(), "bytes are not text");
    }
}

#[test]
fn closing() {
    let close = |status: u16, reason: &[u8]| [&status.to_be_bytes()[..], reason].concat();
    assert_eq!(decode(&[frame(0x88, b"")]).unwrap(), ["close None"]);
    for valid in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        assert_eq!(decode(&[frame(0x88, &close(valid, b"bye"))]).unwrap(), [format!("close Some({valid})")]);
    }
    for invalid in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(status(&[frame(0x88, &close(invalid, b""))]), 1002, "{invalid}");
    }
    assert_eq!(status(&[frame(0x88, b"\x03")]), 1002);
    assert_eq!(status(&[frame(0x88, &close(1000, &[b'x'; 124]))]), 1002);
    assert_eq!(status(&[frame(0x88, &close(1000, b"\xff"))]), 1007);
}
