//! The part of WebSocket that a load generator needs: the client's side of the handshake, masked frames out, unmasked
//! frames in. Called by `swarm` and `dialect`. Compression is not offered; a frame with reserved bits or in fragments
//! is an error.

use anyhow::{Result, bail};

/// Text.
pub const TEXT: u8 = 1;
/// A close frame.
pub const CLOSE: u8 = 8;
/// A ping.
pub const PING: u8 = 9;
/// A pong.
pub const PONG: u8 = 10;

/// A frame of the server, whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The opcode: [`TEXT`], [`PING`], …
    pub opcode: u8,
    /// The payload.
    pub payload: &'a [u8],
    /// Bytes it took, its header included.
    pub taken: usize,
}

/// The first frame in these bytes; none where it is not complete.
pub fn parse(bytes: &[u8]) -> Result<Option<Frame<'_>>> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if first & 0xf0 != 0x80 {
        bail!("a frame in fragments or with reserved bits: {first:#04x}");
    }
    if second & 0x80 != 0 {
        bail!("a server's frame is masked");
    }
    let (length, header) = match (second & 0x7f, rest) {
        (126, &[a, b, ..]) => (usize::from(u16::from_be_bytes([a, b])), 4),
        (127, &[a, b, c, d, e, f, g, h, ..]) => {
            (usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h]))?, 10)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (usize::from(short), 2),
    };
    let Some(end) = length.checked_add(header) else { bail!("a frame of {length} bytes") };
    let frame = bytes.get(header..end);
    Ok(frame.map(|payload| Frame { opcode: first & 0x0f, payload, taken: end }))
}

fn header(out: &mut Vec<u8>, opcode: u8, length: usize, masked: u8) {
    out.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(masked | short),
        (_, Ok(middle)) => {
            out.push(masked | 126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a client's frame, masked with the key.
pub fn push_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8], key: [u8; 4]) {
    header(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&key);
    let from = out.len();
    out.extend_from_slice(payload);
    if let Some(copied) = out.get_mut(from..) {
        mask(copied, key);
    }
}

/// Appends a server's frame.
pub fn push_plain(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    header(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Masks, or unmasks, in place.
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The request that asks for an upgrade. The key is that of RFC 6455: there is no cache on loopback.
pub fn request(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Where the frames begin after the server's handshake answer; none where it is not complete. The key is constant, so
/// the expected answer is, too; it is checked.
pub fn answered(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
    if !head.starts_with("HTTP/1.1 101") || !head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
        bail!("no upgrade: {}", head.lines().next().unwrap_or_default());
    }
    Ok(Some(end + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_come_back_and_not_a_byte_early() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut bytes = Vec::new();
            push_plain(&mut bytes, TEXT, &payload);
            let whole = bytes.len();
            bytes.push(0x81);
            let frame = parse(&bytes).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.payload, frame.taken), (TEXT, &payload[..], whole));
            for short in [0, 1, 2, whole.saturating_sub(1)] {
                if short < whole {
                    assert_eq!(parse(&bytes[..short]).unwrap(), None, "{short} of {whole}");
                }
            }
        }
    }

    #[test]
    fn what_no_server_may_send_is_an_error() {
        assert!(parse(&[0x01, 0]).is_err(), "a fragment");
        assert!(parse(&[0xc1, 0]).is_err(), "compressed");
        assert!(parse(&[0x81, 0x80, 0, 0, 0, 0]).is_err(), "masked");
    }

    #[test]
    fn masking_is_that_of_the_standard() {
        // The example of RFC 6455, 5.7.
        let mut out = Vec::new();
        push_masked(&mut out, TEXT, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        for length in 0..40 {
            let mut bytes = vec![7; length];
            mask(&mut bytes, [1, 2, 3, 4]);
            let expected: Vec<u8> = (0..length).map(|i| 7 ^ [1, 2, 3, 4][i % 4]).collect();
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn only_a_finished_upgrade_is_one() {
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81";
        assert_eq!(answered(answer).unwrap(), Some(answer.len() - 1));
        assert_eq!(answered(&answer[..50]).unwrap(), None);
        assert!(answered(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
    }
}
