//! Names of rooms and users, parsed once at the edge, so that all other code can rely on them. Names that look alike
//! because they differ in invisible characters or in how a letter is composed are one name, in its canonical form.
//! Nothing else is folded or trimmed: a name that would be ambiguous on a screen is refused instead.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use crate::code::{Code, Refusal};
use crate::limits::{MAX_NAME_CHARS, MAX_ROOM_CHARS};

/// The name of a room: 1 to 128 characters, no control characters, no white space at either end, not
/// beginning with `@` (reserved for rooms of the server). In Unicode's normal form C and without invisible characters:
/// names that differ only by these are one name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "generate", schemars(extend("minLength" = 1, "maxLength" = MAX_ROOM_CHARS)))]
#[serde(try_from = "String")]
pub struct RoomName(
    #[cfg_attr(feature = "generate", schemars(with = "String"), ts(type = "string"))] Arc<str>,
);

/// The name of a user: 1 to 64 characters, under the same rules.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "generate", schemars(extend("minLength" = 1, "maxLength" = MAX_NAME_CHARS)))]
#[serde(try_from = "String")]
pub struct UserName(
    #[cfg_attr(feature = "generate", schemars(with = "String"), ts(type = "string"))] Arc<str>,
);

/// The characters of Unicode's `Default_Ignorable_Code_Point` (format characters, fillers, variation selectors, tags),
/// and the marks of interlinear annotations: none is visible by itself.
const INVISIBLE: [(char, char); 18] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

fn is_invisible(c: char) -> bool {
    c > '\u{a0}' && INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// Includes the blank pattern of Braille, which is not white space to Unicode.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{2800}'
}

/// The canonical form of a name, which is stored, compared and shown: without invisible characters, in normal form C.
fn canonical(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return Cow::Borrowed(name);
    }
    if name.chars().any(is_invisible) {
        return Cow::Owned(name.chars().filter(|c| !is_invisible(*c)).nfc().collect());
    }
    match is_nfc_quick(name.chars()) {
        IsNormalized::Yes => Cow::Borrowed(name),
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(name.nfc().collect()),
    }
}

/// Checks a name in its canonical form.
fn check(name: &str, what: &str, max: usize, code: Code) -> Result<(), Refusal> {
    let complaint = if name.chars().all(is_blank) {
        format!("{what} is empty")
    } else if name.chars().count() > max {
        format!("{what} is longer than {max} characters")
    } else if name.chars().any(char::is_control) {
        format!("{what} has control characters")
    } else if name.starts_with(is_blank) || name.ends_with(is_blank) {
        format!("{what} begins or ends with white space")
    } else if name.starts_with('@') {
        format!("{what} begins with @, which is reserved")
    } else {
        return Ok(());
    };
    Err(Refusal::new(code, complaint))
}

macro_rules! name {
    ($type:ident, $what:literal, $max:expr, $code:expr) => {
        impl $type {
            #[doc = concat!("Parses ", $what, " into its canonical form; the refusal has the reason if it is invalid.")]
            pub fn parse(name: &str) -> Result<Self, Refusal> {
                let name = canonical(name);
                check(&name, $what, $max, $code)?;
                Ok(Self(name.into()))
            }

            /// The name as a string.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = Refusal;
            fn try_from(name: String) -> Result<Self, Refusal> {
                Self::parse(&name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
/// The name of the server itself in lists of messages that have only names of users.
const SERVER: &str = "system";

impl UserName {
    /// Whether it is the server's own name, in any spelling of its letters: no user may have it.
    pub fn is_reserved(&self) -> bool {
        // In upper case first: some letters have the same upper case as one of these.
        self.0.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).eq(SERVER.chars())
    }
}

name!(RoomName, "the name of a room", MAX_ROOM_CHARS, Code::BadRoom);
name!(UserName, "the name of a user", MAX_NAME_CHARS, Code::BadUsername);

impl RoomName {
    /// A room of the server itself: `@` and this name, which must be canonical. No client can name it.
    pub fn reserved(name: &str) -> Self {
        Self(format!("@{name}").into())
    }

    /// The reserved room whose messages every connection receives, and which nobody joins.
    pub fn everyone() -> Self {
        Self::reserved("all")
    }

    /// Whether it is a room of the server itself.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('@')
    }

    /// A name that this or another node wrote, which may be that of a room of the server itself.
    ///
    /// # Errors
    /// It is invalid.
    pub fn parse_stored(name: &str) -> Result<Self, Refusal> {
        match name.strip_prefix('@') {
            Some(rest) => Self::parse(rest).map(|rest| Self::reserved(rest.as_str())),
            None => Self::parse(name),
        }
    }
}

/// Decodes the name of a room that the server sent, which may be one of its own.
///
/// # Errors
/// It is invalid.
pub fn stored_room<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RoomName, D::Error> {
    let name = String::deserialize(deserializer)?;
    RoomName::parse_stored(&name).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass_unchanged() {
        for name in
            ["general", "Ann B.", "Чат 7", "a", &"x".repeat(128), "half/way:there{1}", "\u{e9}", "李", "🦀"]
        {
            assert_eq!(RoomName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_look_alike_are_one_name() {
        let canonical = |name: &str| UserName::parse(name).unwrap();
        for (name, same) in [
            ("e\u{301}", "\u{e9}"),
            ("\u{212b}", "\u{c5}"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("an\u{ad}n", "ann"),
            ("\u{feff}ann", "ann"),
            ("\u{202e}ann", "ann"),
            ("an\u{200b}n\u{200d}", "ann"),
            ("ann\u{3164}\u{ffa0}\u{115f}", "ann"),
            ("\u{2764}\u{fe0f}", "\u{2764}"),
            ("ann\u{e0041}", "ann"),
            // The joiner in between would keep the two from being composed.
            ("e\u{34f}\u{301}", "\u{e9}"),
            // An invisible character hides neither white space nor a reserved beginning.
            ("\u{200b}a b", "a b"),
        ] {
            assert_eq!(canonical(name), canonical(same), "{name:?}");
            assert_eq!(canonical(name).as_str(), same);
            let json = serde_json::to_string(name).unwrap();
            assert_eq!(serde_json::from_str::<UserName>(&json).unwrap().as_str(), same);
        }
        assert_ne!(canonical("Ann"), canonical("ann"), "case is not folded");
        assert_ne!(canonical("\u{430}nn"), canonical("ann"), "nor are letters of other scripts");
    }

    #[test]
    fn the_canonical_form_is_stable() {
        // All but the ideographs and the syllables of Korean.
        let ranges =
            [0..=0x33ff, 0xa000..=0xabff, 0xd7b0..=0x1_ffff, 0x2_f800..=0x2_fa1f, 0xe_0000..=0xe_0fff];
        for c in ranges.into_iter().flatten().filter_map(char::from_u32) {
            for name in [format!("a{c}"), format!("a{c}\u{301}b")] {
                if let Ok(once) = UserName::parse(&name) {
                    assert_eq!(UserName::parse(once.as_str()).unwrap(), once, "{name:?}");
                }
            }
        }
    }

    #[test]
    fn rooms_of_the_server_are_named_by_nodes_only() {
        let all = RoomName::reserved("all");
        assert!(all.is_reserved() && !RoomName::parse("all").unwrap().is_reserved());
        assert_eq!(RoomName::parse_stored("@all").unwrap(), all);
        assert_eq!(RoomName::parse_stored("all").unwrap(), RoomName::parse("all").unwrap());
        assert!(RoomName::parse_stored("@@all").is_err() && RoomName::parse_stored("@").is_err());
        assert!(RoomName::parse(all.as_str()).is_err());
    }

    #[test]
    fn length_is_that_of_the_canonical_form() {
        assert!(UserName::parse(&"e\u{301}\u{200b}".repeat(MAX_NAME_CHARS)).is_ok());
        assert!(UserName::parse(&"e\u{301}".repeat(MAX_NAME_CHARS + 1)).is_err());
    }

    #[test]
    fn ambiguous_names_are_refused_with_their_code() {
        for name in [
            "",
            " ",
            "\u{a0}",
            "\u{3000}",
            "\u{200b}",
            "\u{3164}",
            "\u{2800}",
            "\u{2800}\u{200d} \u{feff}",
            "\u{200b} a",
            "a\u{2800}",
            " a",
            "a\n",
            "a\0b",
            "@all",
            "\u{200b}@all",
            &"x".repeat(129),
        ] {
            assert_eq!(RoomName::parse(name).unwrap_err().code, Code::BadRoom, "{name:?}");
        }
        assert_eq!(UserName::parse(&"é".repeat(65)).unwrap_err().code, Code::BadUsername);
    }

    #[test]
    fn the_servers_own_name_is_reserved() {
        for (name, reserved) in [
            ("System", true),
            ("SYSTEM", true),
            ("sYsTeM", true),
            ("\u{17f}ystem", true),
            ("\u{ff33}ystem", true),
            ("Sys\u{200b}tem", true),
            ("System 1", false),
            ("ecosystem", false),
            ("Ann", false),
        ] {
            assert_eq!(UserName::parse(name).unwrap().is_reserved(), reserved, "{name}");
        }
    }
}
