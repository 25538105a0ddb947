//! Finds, in the bytes of a client's WebSocket, the end of each packet that connects it to a namespace. socketioxide
//! connects in a task of its own, and closes the connection if an event arrives before that task is done; so packets
//! after a connect packet must wait. Pure. Called by `stream.rs` and, for long-polling, by `poll.rs`. The frames are
//! those of RFC 6455, section 5.2.

use super::super::dialects::{MAX_PATH, Namespace};

/// Payload bytes needed to recognise a packet: `40`, the longest path of a namespace, and the byte that ends it.
const START: usize = 2 + MAX_PATH + 1;
/// Longest header of a client's frame: two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;

/// Parses frames incrementally, wherever the byte stream is split.
#[derive(Debug)]
pub(super) struct Scanner {
    header: [u8; MAX_HEADER],
    header_len: usize,
    /// Payload bytes of the current frame that have not arrived yet.
    remaining: u64,
    /// The first bytes of its payload.
    start: [u8; START],
    start_len: usize,
    in_payload: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            header: [0; MAX_HEADER],
            header_len: 0,
            remaining: 0,
            start: [0; START],
            start_len: 0,
            in_payload: false,
        }
    }
}

impl Scanner {
    /// Scans `bytes` up to the end of the first connect packet and returns the number of bytes up to there; none if no
    /// connect packet ends in them.
    pub(super) fn connect_packet_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.in_payload {
                at += self.scan_payload(bytes.get(at..).unwrap_or_default());
            } else {
                self.push_header_byte(*bytes.get(at)?);
                at += 1;
            }
            if self.in_payload && self.remaining == 0 {
                self.in_payload = false;
                if self.end_frame() {
                    return Some(at);
                }
            }
        }
        None
    }

    fn push_header_byte(&mut self, byte: u8) {
        if let Some(slot) = self.header.get_mut(self.header_len) {
            *slot = byte;
        }
        self.header_len += 1;
        if self.header_len < self.header_size() {
            return;
        }
        let extended = |from: usize, to: usize| {
            let bytes = self.header.get(from..to).unwrap_or_default();
            bytes.iter().fold(0_u64, |length, byte| (length << 8) | u64::from(*byte))
        };
        self.remaining = match self.header[1] & 0x7f {
            126 => extended(2, 4),
            127 => extended(2, 10),
            short => u64::from(short),
        };
        self.start_len = 0;
        self.in_payload = true;
    }

    /// The length of the current header, as far as it is known from the bytes that have arrived.
    fn header_size(&self) -> usize {
        if self.header_len < 2 {
            return 2;
        }
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.header[1] & 0x80 == 0 { 0 } else { 4 }
    }

    fn scan_payload(&mut self, bytes: &[u8]) -> usize {
        let here = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(bytes.len());
        let masks = self.mask().into_iter().cycle().skip(self.start_len);
        let slots = self.start.iter_mut().skip(self.start_len);
        for ((byte, mask), slot) in bytes.iter().take(here).zip(masks).zip(slots) {
            *slot = byte ^ mask;
            self.start_len += 1;
        }
        self.remaining -= here as u64;
        here
    }

    fn mask(&self) -> [u8; 4] {
        let size = self.header_size();
        let masked = self.header[1] & 0x80 != 0;
        let mask = self.header.get(size - 4..size).filter(|_| masked);
        mask.and_then(|mask| mask.try_into().ok()).unwrap_or_default()
    }

    /// Ends the current frame; true if it was a text frame with a connect packet for a known namespace.
    fn end_frame(&mut self) -> bool {
        let text = self.header[0] & 0x0f == 1;
        self.header_len = 0;
        let start = self.start.get(..self.start_len).unwrap_or_default();
        text && is_connect(start)
    }
}

/// Whether an Engine.IO packet, of which the first bytes suffice, is a connect packet for a known namespace.
pub(crate) fn is_connect(packet: &[u8]) -> bool {
    packet.strip_prefix(b"40").is_some_and(|rest| Namespace::of_packet(rest).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            n @ 0..126 => frame.push(0x80 | u8::try_from(n).unwrap()),
            n @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(n).unwrap().to_be_bytes());
            }
            n => {
                frame.push(0x80 | 127);
                frame.extend((n as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    #[test]
    fn the_end_of_a_connect_packet_is_found_wherever_the_stream_is_split() {
        let connects: [&[u8]; 5] = [
            b"40",
            br#"40{"username":"ann"}"#,
            br#"40/native,{"username":"ann"}"#,
            b"40/native,",
            b"40/native",
        ];
        for connect in connects {
            let before = [frame(1, b"3"), frame(2, &[0; 300]), frame(1, &[b'x'; 70_000])].concat();
            let mut bytes = [before, frame(1, connect)].concat();
            let end = bytes.len();
            bytes.extend(frame(1, br#"42/native,0["join",{"room":"r"}]"#));
            for cut in [1, 2, 3, 7, 64, 1_000, bytes.len()] {
                let mut scanner = Scanner::default();
                let mut passed = 0;
                let found = bytes.chunks(cut).find_map(|chunk| {
                    let ends = scanner.connect_packet_end(chunk).map(|at| passed + at);
                    passed += chunk.len();
                    ends
                });
                assert_eq!(found, Some(end), "cut {cut}, {:?}", String::from_utf8_lossy(connect));
            }
        }
    }

    #[test]
    fn other_packets_are_not_connect_packets() {
        let others: [&[u8]; 8] =
            [b"", b"4", b"41", b"42[\"40\"]", b"40/elsewhere,{}", b"40/native2,", b"40/native/,{}", b"401"];
        for other in others {
            assert_eq!(Scanner::default().connect_packet_end(&frame(1, other)), None, "{other:?}");
        }
        assert_eq!(Scanner::default().connect_packet_end(&frame(2, b"40")), None, "binary");
        assert_eq!(Scanner::default().connect_packet_end(&[0xff; 400]), None, "garbage");
    }
}
