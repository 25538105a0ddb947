//! Engine.IO packets and the payloads of long-polling, in versions 4 and 3 of the protocol
//! (<https://socket.io/docs/v4/engine-io-protocol/>). Called by the gateway's sessions; calls nothing.

mod payload;

use std::borrow::Cow;

pub use payload::{Part, Splitter, decode_packet, decode_payload};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Separates the packets of a payload in version 4.
const SEPARATOR: u8 = 0x1e;

/// Base64 as clients write it: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The version of the protocol, which a client names in the query of its handshake (`EIO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// socket.io-client 2.x and older.
    V3,
    /// socket.io-client 3.x and newer.
    V4,
}

/// A packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Only servers send it; its payload is ignored.
    Open,
    /// The client closes the session.
    Close,
    /// The heartbeat of version 3, or the probe of an upgrade; the pong must carry the same text.
    Ping(&'a str),
    /// The heartbeat of version 4.
    Pong(&'a str),
    /// A packet of Socket.IO.
    Message(&'a str),
    /// An attachment of a packet of Socket.IO.
    Binary(Cow<'a, [u8]>),
    /// The last packet of an upgrade.
    Upgrade,
    /// Nothing.
    Noop,
}

/// Why a packet or a payload could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The type is none of the protocol.
    #[error("the type of an Engine.IO packet is unknown")]
    UnknownType,
    /// Base64 is expected.
    #[error("an attachment is not base64")]
    Base64,
    /// The body is not UTF-8.
    #[error("the payload is not valid UTF-8")]
    Utf8,
    /// The lengths of a payload of version 3 do not fit it.
    #[error("the length of a packet does not fit the payload")]
    Length,
}

/// Decodes a packet that came as text.
///
/// # Errors
/// The type is unknown, or an attachment is not base64.
pub fn decode_text(version: Version, text: &str) -> Result<Packet<'_>, PacketError> {
    let mut rest = text.chars();
    let kind = rest.next().ok_or(PacketError::UnknownType)?;
    let rest = rest.as_str();
    Ok(match kind {
        '0' => Packet::Open,
        '1' => Packet::Close,
        '2' => Packet::Ping(rest),
        '3' => Packet::Pong(rest),
        '4' => Packet::Message(rest),
        '5' => Packet::Upgrade,
        '6' => Packet::Noop,
        'b' => Packet::Binary(Cow::Owned(decode_base64(version, rest)?)),
        _ => return Err(PacketError::UnknownType),
    })
}

/// Decodes a packet that came as bytes. In version 3 the first of them is the type.
///
/// # Errors
/// The type is not that of a message.
pub fn decode_binary(version: Version, bytes: &[u8]) -> Result<Packet<'_>, PacketError> {
    match (version, bytes) {
        (Version::V4, bytes) => Ok(Packet::Binary(Cow::Borrowed(bytes))),
        (Version::V3, [4, bytes @ ..]) => Ok(Packet::Binary(Cow::Borrowed(bytes))),
        (Version::V3, _) => Err(PacketError::UnknownType),
    }
}

/// In version 3 the type stands before the base64. Java's encoder puts line feeds into it and after it.
fn decode_base64(version: Version, text: &str) -> Result<Vec<u8>, PacketError> {
    let text = match version {
        Version::V3 => text.strip_prefix('4').ok_or(PacketError::UnknownType)?,
        Version::V4 => text,
    };
    let text: Cow<'_, str> =
        if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], "").into() } else { text.into() };
    BASE64.decode(text.as_bytes()).map_err(|_| PacketError::Base64)
}

/// Appends a text packet to the answer of a poll.
pub fn put_payload_packet(version: Version, out: &mut String, packet: &str) {
    match version {
        Version::V3 => {
            let units: usize = packet.chars().map(char::len_utf16).sum();
            out.push_str(&units.to_string());
            out.push(':');
        }
        Version::V4 if out.is_empty() => {}
        Version::V4 => out.push(char::from(SEPARATOR)),
    }
    out.push_str(packet);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bytes: &'static [u8]) -> Packet<'static> {
        Packet::Binary(Cow::Borrowed(bytes))
    }

    #[test]
    fn packets_of_each_type() {
        for (text, packet) in [
            ("0{}", Packet::Open),
            ("1", Packet::Close),
            ("2probe", Packet::Ping("probe")),
            ("3", Packet::Pong("")),
            ("42[\"é\"]", Packet::Message("2[\"é\"]")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
        ] {
            for version in [Version::V3, Version::V4] {
                assert_eq!(decode_text(version, text).as_ref(), Ok(&packet), "{text}");
            }
        }
        for unknown in ["", "7", "é", "{"] {
            assert_eq!(decode_text(Version::V4, unknown), Err(PacketError::UnknownType), "{unknown}");
        }
    }

    #[test]
    fn base64_with_line_feeds_and_without_padding() {
        for text in ["bAQIDBA==", "bAQIDBA==\n", "bAQI\r\nDBA==\r\n", "bAQIDBA"] {
            assert_eq!(decode_text(Version::V4, text), Ok(bytes(&[1, 2, 3, 4])), "{text:?}");
        }
        assert_eq!(decode_text(Version::V3, "b4AQIDBA==\n"), Ok(bytes(&[1, 2, 3, 4])));
        assert_eq!(decode_text(Version::V3, "bAQIDBA=="), Err(PacketError::UnknownType));
        assert_eq!(decode_text(Version::V4, "b!!!!"), Err(PacketError::Base64));
        assert_eq!(decode_binary(Version::V3, &[4, 1]), Ok(bytes(&[1])));
        assert_eq!(decode_binary(Version::V4, &[4, 1]), Ok(bytes(&[4, 1])));
        assert_eq!(decode_binary(Version::V3, &[]), Err(PacketError::UnknownType));
    }

    #[test]
    fn packets_of_version_4_are_separated() {
        let mut out = String::new();
        put_payload_packet(Version::V4, &mut out, "2");
        put_payload_packet(Version::V4, &mut out, "40");
        assert_eq!(out, "2\u{1e}40");
    }
}
