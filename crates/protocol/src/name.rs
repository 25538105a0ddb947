//! Names of rooms and users, parsed once at the edge, so that all other code can rely on them.
//! Nothing is folded or trimmed: a name that would be ambiguous on a screen is refused instead.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::code::{Code, Refusal};
use crate::limits::{MAX_NAME_CHARS, MAX_ROOM_CHARS};

/// The name of a room: 1 to 128 characters, no control characters, no white space at either end, not
/// beginning with `@` (reserved for rooms of the server).
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

fn check(name: &str, what: &str, max: usize, code: Code) -> Result<(), Refusal> {
    let complaint = if name.trim().is_empty() {
        format!("{what} is empty")
    } else if name.chars().count() > max {
        format!("{what} is longer than {max} characters")
    } else if name.chars().any(char::is_control) {
        format!("{what} has control characters")
    } else if name.trim() != name {
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
            #[doc = concat!("Parses ", $what, "; the refusal has the reason if it is invalid.")]
            pub fn parse(name: &str) -> Result<Self, Refusal> {
                check(name, $what, $max, $code)?;
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
name!(RoomName, "the name of a room", MAX_ROOM_CHARS, Code::BadRoom);
name!(UserName, "the name of a user", MAX_NAME_CHARS, Code::BadUsername);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass_unchanged() {
        for name in ["general", "Ann B.", "Чат 7", "a", &"x".repeat(128), "half/way:there{1}"] {
            assert_eq!(RoomName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn ambiguous_names_are_refused_with_their_code() {
        for name in ["", " ", "\u{a0}", " a", "a\n", "a\0b", "@all", &"x".repeat(129)] {
            assert_eq!(RoomName::parse(name).unwrap_err().code, Code::BadRoom, "{name:?}");
        }
        assert_eq!(UserName::parse(&"é".repeat(65)).unwrap_err().code, Code::BadUsername);
    }
}
