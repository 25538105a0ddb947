//! Session ids that name the gateway that owns the session: Engine.IO's own id, a dot, and the tag of the process. A
//! dot needs no escaping in a query and occurs in no id of Engine.IO. Pure. Called by `socketio/`.

use std::fmt;

/// Length of Engine.IO's own id, in characters.
const ID_CHARS: usize = 16;
/// Length of a tag, in characters.
const TAG_CHARS: usize = 16;

/// Identifies a gateway process, whatever its incarnation: a random number, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tag(u64);

impl Tag {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == TAG_CHARS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
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

/// The session id of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SessionId<'a> {
    /// An id without a tag; Engine.IO decides whether it is valid.
    Untagged,
    /// Engine.IO's own id and the tag of the process that issued it.
    Tagged(&'a str, Tag),
    /// An id that no gateway issued.
    Malformed,
}

impl<'a> SessionId<'a> {
    pub(crate) fn parse(sid: &'a str) -> Self {
        let Some((id, tag)) = sid.split_once('.') else { return Self::Untagged };
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        match Tag::parse(tag).filter(|_| id.len() == ID_CHARS && id.bytes().all(allowed)) {
            Some(tag) => Self::Tagged(id, tag),
            None => Self::Malformed,
        }
    }
}

/// Appends the tag to the session id in an open packet. In Engine.IO 3 the packet is preceded by its length, which is
/// updated.
pub(crate) fn add_tag(open: &str, sid: &str, tag: Tag) -> String {
    let tagged = open.replacen(&format!("\"{sid}\""), &format!("\"{sid}.{tag}\""), 1);
    match tagged.split_once(':') {
        Some((length, packet)) if length.parse::<usize>().is_ok() => {
            format!("{}:{packet}", packet.chars().count())
        }
        _ => tagged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "AbC-_0123456789x";

    #[test]
    fn a_tagged_id_is_parsed_back() {
        for tag in [Tag(0), Tag(u64::MAX), Tag::random()] {
            let open = format!(r#"0{{"sid":"{SID}","upgrades":["websocket"]}}"#);
            let tagged = add_tag(&open, SID, tag);
            assert_eq!(tagged, format!(r#"0{{"sid":"{SID}.{tag}","upgrades":["websocket"]}}"#));
            assert_eq!(SessionId::parse(&format!("{SID}.{tag}")), SessionId::Tagged(SID, tag));
            assert_eq!(Tag::from_bytes(tag.to_bytes()), tag);
        }
    }

    #[test]
    fn the_length_of_an_engine_io_3_packet_is_updated() {
        let packet = format!(r#"0{{"sid":"{SID}","upgrades":[]}}"#);
        let tagged = add_tag(&format!("{}:{packet}", packet.len()), SID, Tag(7));
        let (length, packet) = tagged.split_once(':').unwrap();
        assert_eq!(length, packet.len().to_string());
        assert_eq!(packet, format!(r#"0{{"sid":"{SID}.0000000000000007","upgrades":[]}}"#));
    }

    #[test]
    fn ids_without_a_valid_tag_are_untagged_or_malformed() {
        for untagged in ["", "__proto__", SID, "🦀", "%2e", &"x".repeat(5_000)] {
            assert_eq!(SessionId::parse(untagged), SessionId::Untagged, "{untagged:.40}");
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
            assert_eq!(SessionId::parse(&malformed), SessionId::Malformed, "{malformed:.60}");
        }
    }
}
