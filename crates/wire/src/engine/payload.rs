//! The bodies of POSTs of long-polling: split into packets as they arrive, so that none has to be held whole, and decoded.
//! Called by the gateway's `polling.rs` and `body.rs`.

use super::{Packet, PacketError, SEPARATOR, Version, decode_binary, decode_text};

/// The longest length of a packet in a payload of version 3, in digits.
const MAX_LENGTH_DIGITS: usize = 10;

/// Splits a body into packets, wherever it is cut. It must not be used after an error.
#[derive(Debug)]
pub struct Splitter {
    version: Version,
    /// The content type of the body is `application/octet-stream`, which only version 3 uses.
    binary: bool,
    state: State,
    /// The packet is one of bytes.
    is_bytes: bool,
}

/// Where the next byte of the body belongs.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Before the type of a packet, in a payload of bytes of version 3.
    Type,
    /// Within the length of a packet, of which there are so many digits.
    Length { digits: usize, length: usize },
    /// Within a packet of version 4, which a separator ends.
    Separated,
    /// Within a packet that has so many further bytes.
    Bytes(usize),
    /// Within a packet that has so many further UTF-16 code units, because the protocol was written in JavaScript.
    Units(usize),
}

/// A part of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Bytes of the present packet.
    Bytes(&'a [u8]),
    /// The end of the present packet.
    End,
}

impl Splitter {
    /// A splitter at the beginning of a body. `binary` says that its content type is `application/octet-stream`.
    pub fn new(version: Version, binary: bool) -> Self {
        let mut splitter = Self { version, binary, state: State::Separated, is_bytes: false };
        splitter.state = splitter.start();
        splitter
    }

    /// Whether the present packet is one of bytes rather than of text.
    pub fn is_bytes(&self) -> bool {
        self.is_bytes
    }

    fn start(&self) -> State {
        match self.version {
            Version::V4 => State::Separated,
            Version::V3 if self.binary => State::Type,
            Version::V3 => State::Length { digits: 0, length: 0 },
        }
    }

    /// Consumes `input` up to the next part and returns that; none once all of it is consumed.
    ///
    /// # Errors
    /// The lengths of a payload of version 3 do not fit it.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Part<'i>>, PacketError> {
        loop {
            let end = match self.state {
                State::Separated => input.iter().position(|byte| *byte == SEPARATOR),
                State::Bytes(0) => Some(0),
                State::Units(0) if input.first().is_some_and(|byte| !continues(*byte)) => Some(0),
                _ => None,
            };
            if end == Some(0) {
                if matches!(self.state, State::Separated) {
                    *input = input.get(1..).unwrap_or_default();
                }
                self.state = self.start();
                return Ok(Some(Part::End));
            }
            let Some(first) = input.first() else { return Ok(None) };
            let length = match &mut self.state {
                State::Separated => end.unwrap_or(input.len()),
                State::Bytes(left) => {
                    let here = input.len().min(*left);
                    *left -= here;
                    here
                }
                State::Units(left) => units(input, left)?,
                State::Type => {
                    self.is_bytes = match first {
                        0 => false,
                        1 => true,
                        _ => return Err(PacketError::UnknownType),
                    };
                    self.state = State::Length { digits: 0, length: 0 };
                    *input = input.get(1..).unwrap_or_default();
                    continue;
                }
                State::Length { digits, length } => {
                    let digit = if self.binary { *first } else { first.wrapping_sub(b'0') };
                    let ends = *first == if self.binary { 255 } else { b':' };
                    if ends && *digits > 0 {
                        self.state = if self.binary { State::Bytes(*length) } else { State::Units(*length) };
                    } else if digit > 9 || *digits == MAX_LENGTH_DIGITS {
                        return Err(PacketError::Length);
                    } else {
                        *digits += 1;
                        *length = *length * 10 + usize::from(digit);
                    }
                    *input = input.get(1..).unwrap_or_default();
                    continue;
                }
            };
            let (part, rest) = input.split_at(length);
            *input = rest;
            return Ok(Some(Part::Bytes(part)));
        }
    }

    /// The body has ended; returns whether a packet ends with it.
    ///
    /// # Errors
    /// It ended too early.
    pub fn finish(&self) -> Result<bool, PacketError> {
        match self.state {
            State::Separated | State::Bytes(0) | State::Units(0) => Ok(true),
            State::Type | State::Length { digits: 0, .. } => Ok(false),
            _ => Err(PacketError::Length),
        }
    }
}

/// Whether a byte of UTF-8 is a further one of a character.
fn continues(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// How many bytes of `input` belong to a packet that has `left` further UTF-16 code units.
fn units(input: &[u8], left: &mut usize) -> Result<usize, PacketError> {
    for (at, byte) in input.iter().enumerate() {
        if continues(*byte) {
            continue;
        }
        if *left == 0 {
            return Ok(at);
        }
        // Characters of four bytes are two code units.
        *left = left.checked_sub(if *byte >= 0xf0 { 2 } else { 1 }).ok_or(PacketError::Length)?;
    }
    Ok(input.len())
}

/// Decodes a packet of a payload.
///
/// # Errors
/// It is invalid.
pub fn decode_packet(version: Version, is_bytes: bool, packet: &[u8]) -> Result<Packet<'_>, PacketError> {
    if is_bytes {
        return decode_binary(version, packet);
    }
    decode_text(version, std::str::from_utf8(packet).map_err(|_| PacketError::Utf8)?)
}

/// Decodes a whole body and passes its packets to `receive`, in their order, until that returns false.
/// `binary` says that its content type is `application/octet-stream`, which only version 3 uses.
///
/// # Errors
/// A packet or the framing is invalid; the packets before it were passed on.
pub fn decode_payload<'a>(
    version: Version,
    binary: bool,
    mut body: &'a [u8],
    mut receive: impl FnMut(Packet<'a>) -> bool,
) -> Result<(), PacketError> {
    let mut splitter = Splitter::new(version, binary);
    let mut packet: &[u8] = &[];
    loop {
        match splitter.next(&mut body)? {
            Some(Part::Bytes(bytes)) => packet = bytes,
            Some(Part::End) => {
                if !receive(decode_packet(version, splitter.is_bytes(), std::mem::take(&mut packet))?) {
                    return Ok(());
                }
            }
            None => break,
        }
    }
    if splitter.finish()? {
        receive(decode_packet(version, splitter.is_bytes(), packet)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::put_payload_packet;
    use super::*;

    fn decode(version: Version, binary: bool, body: &[u8]) -> Result<Vec<Packet<'_>>, PacketError> {
        let mut packets = Vec::new();
        decode_payload(version, binary, body, |packet| {
            packets.push(packet);
            true
        })
        .map(|()| packets)
    }

    /// A packet as it is split, with whether it is one of bytes.
    type Split = (bool, Vec<u8>);

    /// The packets as they are split where the body arrives in pieces of this size.
    fn split(version: Version, binary: bool, body: &[u8], size: usize) -> Result<Vec<Split>, PacketError> {
        let mut splitter = Splitter::new(version, binary);
        let (mut packets, mut packet) = (Vec::new(), Vec::new());
        for mut piece in body.chunks(size) {
            while let Some(part) = splitter.next(&mut piece)? {
                match part {
                    Part::Bytes(bytes) => packet.extend_from_slice(bytes),
                    Part::End => packets.push((splitter.is_bytes(), std::mem::take(&mut packet))),
                }
            }
        }
        if splitter.finish()? {
            packets.push((splitter.is_bytes(), packet));
        }
        Ok(packets)
    }

    #[test]
    fn a_body_is_split_alike_wherever_it_is_cut() {
        let text = |text: &str| (false, text.as_bytes().to_vec());
        let binary =
            [&[0, 3, 255][..], "4é".as_bytes(), &[1, 1, 0, 255, 4], &[7; 9], &[0, 1, 255], b"1"].concat();
        let cases: [(Version, bool, &[u8], Vec<Split>); 6] = [
            (Version::V4, false, "40\x1e4é\x1e1".as_bytes(), vec![text("40"), text("4é"), text("1")]),
            (Version::V4, false, b"40\x1e", vec![text("40"), text("")]),
            (Version::V3, false, "4:4🦀é2:401:1".as_bytes(), vec![text("4🦀é"), text("40"), text("1")]),
            (Version::V3, false, b"", vec![]),
            (Version::V3, true, &binary, vec![text("4é"), (true, [&[4][..], &[7; 9]].concat()), text("1")]),
            (Version::V3, true, b"", vec![]),
        ];
        for (version, binary, body, expected) in cases {
            for size in [1, 2, 3, 1_000] {
                assert_eq!(split(version, binary, body, size).unwrap(), expected, "{body:?} by {size}");
            }
        }
    }

    fn bytes(bytes: &'static [u8]) -> Packet<'static> {
        Packet::Binary(Cow::Borrowed(bytes))
    }

    #[test]
    fn payloads_of_version_4() {
        let expected = vec![Packet::Message("0"), bytes(&[1]), Packet::Close];
        assert_eq!(decode(Version::V4, false, b"40\x1ebAQ==\x1e1"), Ok(expected));
        assert_eq!(decode(Version::V4, false, b"4\xff"), Err(PacketError::Utf8));
        assert_eq!(decode(Version::V4, false, b"40\x1e"), Err(PacketError::UnknownType));
        let mut seen = 0;
        let stopped = decode_payload(Version::V4, false, b"40\x1e41\x1e9", |_| {
            seen += 1;
            seen < 2
        });
        assert_eq!((stopped, seen), (Ok(()), 2), "what follows a refused packet is not read");
    }

    #[test]
    fn lengths_of_version_3_count_utf_16() {
        let crab = "4🦀é";
        let body = format!("4:{crab}1:1");
        assert_eq!(
            decode(Version::V3, false, body.as_bytes()),
            Ok(vec![Packet::Message("🦀é"), Packet::Close])
        );
        let mut out = String::new();
        put_payload_packet(Version::V3, &mut out, crab);
        put_payload_packet(Version::V3, &mut out, "1");
        assert_eq!(out, body);
        for wrong in ["2:1", "x:1", ":1", "1", "99999999999:1", "2:4🦀", "+1:1"] {
            assert_eq!(decode(Version::V3, false, wrong.as_bytes()), Err(PacketError::Length), "{wrong}");
        }
    }

    #[test]
    fn binary_payloads_of_version_3() {
        let body =
            [&[0, 3, 255][..], "4é".as_bytes(), &[1, 1, 0, 255, 4], &[7; 9], &[0, 1, 255], b"1"].concat();
        let expected = vec![Packet::Message("é"), bytes(&[7; 9]), Packet::Close];
        assert_eq!(decode(Version::V3, true, &body), Ok(expected));
        for wrong in [&[0, 3][..], &[0, 255], &[0, 10, 255, 4], &[0, 9, 255, 4]] {
            assert_eq!(decode(Version::V3, true, wrong), Err(PacketError::Length), "{wrong:?}");
        }
        assert_eq!(decode(Version::V3, true, &[2, 1, 255, 4]), Err(PacketError::UnknownType));
    }
}
