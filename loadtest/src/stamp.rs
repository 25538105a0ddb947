//! The stamp that the swarm writes into each text and finds in the frames of any server: room, sender, the message's
//! number in its room, and when it was sent. It has only plain letters, so that no encoding changes it, and a fixed
//! width, so that it is found at little cost.

use memchr::memmem::Finder;

const OPEN: &[u8] = b"~rc:";
/// Bytes of a stamp: the opening, four numbers, and what ends each of them.
pub const LENGTH: usize = 4 + 6 + 6 + 9 + 15;

/// The data of one stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The room it was sent to.
    pub room: u32,
    /// Its sender's index among the room's members.
    pub sender: u32,
    /// Its number among the room's messages, from 0.
    pub number: u32,
    /// When it was sent, in nanoseconds since the swarm began.
    pub sent_ns: u64,
}

impl Stamp {
    /// Replaces `text` by a text of `length` bytes, or as many as the stamp needs.
    pub fn write(&self, text: &mut String, length: usize) {
        let Self { room, sender, number, sent_ns } = self;
        text.clear();
        text.push_str(&format!("~rc:{room:05}:{sender:05}:{number:08}:{sent_ns:014}~"));
        while text.len() < length {
            text.push_str("the quick brown fox jumps over the lazy dog ");
        }
        text.truncate(length.max(LENGTH));
    }
}

/// Finds stamps in what a server sent.
#[derive(Debug)]
pub struct Reader(Finder<'static>);

impl Default for Reader {
    fn default() -> Self {
        Self(Finder::new(OPEN))
    }
}

impl Reader {
    /// Each stamp in these bytes, in order.
    pub fn each(&self, mut bytes: &[u8], mut found: impl FnMut(Stamp)) {
        while let Some(at) = self.0.find(bytes) {
            let from = bytes.get(at + OPEN.len()..).unwrap_or_default();
            if let Some(stamp) = read(from) {
                found(stamp);
            }
            bytes = from;
        }
    }
}

fn read(bytes: &[u8]) -> Option<Stamp> {
    let room = digits(bytes.get(..5)?)?;
    let sender = digits(bytes.get(6..11)?)?;
    let number = digits(bytes.get(12..20)?)?;
    let sent_ns = digits(bytes.get(21..35)?)?;
    Some(Stamp {
        room: u32::try_from(room).ok()?,
        sender: u32::try_from(sender).ok()?,
        number: u32::try_from(number).ok()?,
        sent_ns,
    })
}

fn digits(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_what_servers_put_around_it() {
        let stamp = Stamp { room: 7, sender: 99, number: 123_456, sent_ns: 98_765_432_101 };
        let mut text = String::new();
        stamp.write(&mut text, 256);
        assert_eq!(text.len(), 256);
        let other = Stamp { number: 8, ..stamp };
        let mut second = String::new();
        other.write(&mut second, 10);
        assert_eq!(second.len(), LENGTH, "never shorter than its stamp");

        let frame = format!(r#"{{"push":{{"text":"{text}"}}}}\n{{"push":{{"text":"{second}"}}}}"#);
        let mut found = Vec::new();
        Reader::default().each(frame.as_bytes(), |stamp| found.push(stamp));
        assert_eq!(found, [stamp, other]);
    }

    #[test]
    fn what_only_looks_like_a_stamp_is_none() {
        let reader = Reader::default();
        for text in ["", "~rc:", "~rc:00001:00001:0000000x:00000000000000~", "~rc:00001:00001:00000001:1~"] {
            reader.each(text.as_bytes(), |stamp| panic!("{text}: {stamp:?}"));
        }
    }
}
