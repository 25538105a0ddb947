//! Session ids that lead to the gateway that holds the session: Engine.IO's own id, a dot, and the tag of
//! the process. A dot needs no escaping in a query and is in no id of Engine.IO. Pure. Called by `http/`.

use std::fmt;

/// Characters of Engine.IO's own id.
const ID: usize = 16;
/// Characters of a tag.
const TAG: usize = 16;

/// One gateway process, whatever becomes of its lease: a random number, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tag(u64);

impl Tag {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == TAG && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16).ok().filter(|_| digits).map(Self)
    }

    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a client presents as its session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    /// Something without a tag: for Engine.IO to judge.
    Bare,
    /// An id and the process that gave it.
    Tagged(&'a str, Tag),
    /// Nothing that a gateway ever gave.
    Malformed,
}

/// Takes a presented session apart.
pub(crate) fn read(sid: &str) -> Presented<'_> {
    let Some((id, tag)) = sid.split_once('.') else { return Presented::Bare };
    let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match Tag::parse(tag).filter(|_| id.len() == ID && id.bytes().all(known)) {
        Some(tag) => Presented::Tagged(id, tag),
        None => Presented::Malformed,
    }
}

/// The open packet with the tag behind its session's id. In Engine.IO 3 a length stands in front.
pub(crate) fn mark(open: &str, sid: &str, tag: Tag) -> String {
    let marked = open.replacen(&format!("\"{sid}\""), &format!("\"{sid}.{tag}\""), 1);
    match marked.split_once(':') {
        Some((length, packet)) if length.parse::<usize>().is_ok() => {
            format!("{}:{packet}", packet.chars().count())
        }
        _ => marked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "AbC-_0123456789x";

    #[test]
    fn what_was_marked_is_read_back() {
        for tag in [Tag(0), Tag(u64::MAX), Tag::random()] {
            let open = format!(r#"0{{"sid":"{SID}","upgrades":["websocket"]}}"#);
            let marked = mark(&open, SID, tag);
            assert_eq!(marked, format!(r#"0{{"sid":"{SID}.{tag}","upgrades":["websocket"]}}"#));
            assert_eq!(read(&format!("{SID}.{tag}")), Presented::Tagged(SID, tag));
            assert_eq!(Tag::from_bytes(tag.to_bytes()), tag);
        }
    }

    #[test]
    fn engine_io_3_counts_its_packet() {
        let packet = format!(r#"0{{"sid":"{SID}","upgrades":[]}}"#);
        let marked = mark(&format!("{}:{packet}", packet.len()), SID, Tag(7));
        let (length, packet) = marked.split_once(':').unwrap();
        assert_eq!(length, packet.len().to_string());
        assert_eq!(packet, format!(r#"0{{"sid":"{SID}.0000000000000007","upgrades":[]}}"#));
    }

    #[test]
    fn strange_sessions_are_nobodys() {
        for bare in ["", "__proto__", SID, "🦀", "%2e", &"x".repeat(5_000)] {
            assert_eq!(read(bare), Presented::Bare, "{bare:.40}");
        }
        let tag = "0123456789abcdef";
        for malformed in [
            ".".to_owned(),
            format!(".{tag}"),
            format!("{SID}."),
            format!("{SID}.{tag}."),
            format!("{SID}.{tag}.{tag}"),
            format!("{SID}.+123456789abcdef"),
            format!("{SID}.0123456789ABCDEF"),
            format!("{SID}.{}", "0".repeat(5_000)),
            format!("__proto__.{tag}"),
            format!("{}.{tag}", "🦀🦀🦀🦀"),
            format!("{SID}%2e{tag}.x"),
        ] {
            assert_eq!(read(&malformed), Presented::Malformed, "{malformed:.60}");
        }
    }
}
