//! A server's frames. Called by the gateway's outbox and encoders; calls nothing.

use bytes::{BufMut, BytesMut};

use super::Opcode;

/// Appends a whole frame as a server writes it, unmasked. `length` is that of the parts of its payload together, in
/// bytes.
pub fn put_frame<'a>(
    out: &mut BytesMut,
    opcode: Opcode,
    length: usize,
    parts: impl IntoIterator<Item = &'a [u8]>,
) {
    out.reserve(length + 10);
    out.put_u8(0x80 | opcode.code());
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
    parts.into_iter().for_each(|part| out.put_slice(part));
}

/// The payload of the first of the frames that [`put_frame`] wrote, and the length of that frame, in bytes. None if
/// `frames` is not the whole of such a frame.
pub fn first_frame(frames: &[u8]) -> Option<(&[u8], usize)> {
    let (header, length) = match frames {
        [_, 126, a, b, ..] => (4, u64::from(u16::from_be_bytes([*a, *b]))),
        [_, 127, a, b, c, d, e, f, g, h, ..] => (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        [_, length, ..] => (2, u64::from(*length)),
        _ => return None,
    };
    let end = usize::try_from(length).ok()?.checked_add(header)?;
    frames.get(header..end).map(|payload| (payload, end))
}
