//! Session ids that name the gateway that owns the session: a random id, a dot, and the tag of the process. A dot needs
//! no escaping in a query and occurs in no random id. Pure. Called by `socketio/`.

use std::fmt;

use rand::distr::{Alphanumeric, SampleString as _};

/// Length of the random id, in characters of 62: more than 128 bits.
const ID_CHARS: usize = 24;

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

/// A new session id: a secret, with the tag of this process if it has one.
pub(crate) fn random(tag: Option<Tag>) -> String {
    let id = Alphanumeric.sample_string(&mut rand::rng(), ID_CHARS);
    tag.map_or_else(|| id.clone(), |tag| format!("{id}.{tag}"))
}

/// The session id of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SessionId {
    /// An id without a tag.
    Untagged,
    /// The tag of the process that issued it.
    Tagged(Tag),
    /// An id that no gateway issued.
    Malformed,
}

impl SessionId {
    pub(crate) fn parse(sid: &str) -> Self {
        let Some((id, tag)) = sid.split_once('.') else { return Self::Untagged };
        let well_formed = id.len() == ID_CHARS && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match Tag::parse(tag).filter(|_| well_formed) {
            Some(tag) => Self::Tagged(tag),
            None => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "AbCdef0123456789ghijklmn";

    #[test]
    fn a_tagged_id_is_parsed_back() {
        for tag in [Tag(0), Tag(u64::MAX), Tag::random()] {
            assert_eq!(SessionId::parse(&random(Some(tag))), SessionId::Tagged(tag));
            assert_eq!(Tag::from_bytes(tag.to_bytes()), tag);
        }
        assert_eq!(SessionId::parse(&random(None)), SessionId::Untagged);
        assert_ne!(random(None), random(None));
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
