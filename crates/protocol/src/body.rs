//! A message's body: the part that the sender determines and the store keeps, one complete, versioned JSON object. Used by
//! the store, which keeps bodies, by the gateway's commands, which make them, and by `message.rs`, which makes of it what
//! clients receive.

use serde::de::{self, DeserializeOwned};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::image::Image;
use crate::name::UserName;

/// Makes [`Kind`] and [`Content`] from one list. A new kind of message is one entry of it, and is documented
/// for clients in [`Message`](crate::Message).
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal {
        $($(#[doc = $about:literal])+ $field:ident: $type:ty,)*
    })+) => {
        /// The kind of a message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
        pub enum Kind {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $kind,)+
        }

        /// The content of a message besides its id and its sender, by kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Content {
            $($(#[doc = $doc])+ $kind { $($(#[doc = $about])+ $field: $type,)* },)+
            /// A kind of a newer release: kept as it is.
            Other {
                /// Its name.
                kind: String,
                /// Its members.
                members: Map<String, Value>,
            },
        }

        impl Content {
            /// The kind's name on the wire.
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$kind { .. } => $name,)+
                    Self::Other { kind, .. } => kind,
                }
            }

            fn serialize_members<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                match self {
                    $(Self::$kind { $($field),* } => {
                        $(map.serialize_entry(stringify!($field), $field)?;)*
                    })+
                    Self::Other { members, .. } => {
                        for (name, value) in members {
                            map.serialize_entry(name, value)?;
                        }
                    }
                }
                Ok(())
            }

            fn from_members<E: de::Error>(kind: String, mut members: Map<String, Value>) -> Result<Self, E> {
                match kind.as_str() {
                    $($name => Ok(Self::$kind { $($field: take(&mut members, stringify!($field))?,)* }),)+
                    _ => Ok(Self::Other { kind, members }),
                }
            }
        }
    };
}

kinds! {
    /// A text message.
    Text = "text" {
        /// The text.
        text: String,
    }
    /// An image.
    Image = "image" {
        /// Where it is, and what it is.
        image: Image,
        /// What it shows, for those who do not see it; empty if its sender said nothing.
        alt: String,
    }
}

impl Content {
    /// Whether it counts as unread for users who have not seen it.
    pub fn counts_as_unread(&self) -> bool {
        matches!(self, Self::Text { .. } | Self::Image { .. })
    }
}

/// Takes one member; an absent one is null, which an optional member accepts.
fn take<T: DeserializeOwned, E: de::Error>(members: &mut Map<String, Value>, name: &str) -> Result<T, E> {
    serde_json::from_value(members.remove(name).unwrap_or_default())
        .map_err(|error| E::custom(format_args!("{name}: {error}")))
}

/// The version of [`Extra`]'s layout. Readers ignore another one.
pub const EXTRA_VERSION: u32 = 1;

/// Fields of a classic front end's own object that no dialect names: only clients of its dialect are shown them, as the
/// original server sent the whole object on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Extra {
    /// The version of this object's layout: 1.
    pub v: u32,
    /// The dialect of the sender.
    pub dialect: String,
    /// The field in which the sender's object had the text, if that is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub text_field: Option<String>,
    /// The other fields.
    #[cfg_attr(feature = "generate", ts(type = "Record<string, unknown>"))]
    pub fields: Map<String, Value>,
}

/// The part of a message that its sender determines: the store keeps it as one JSON object
/// `{"v":1,"id":…,"kind":…,"user":…,…}`, with the content's members after these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The message's identity in its room.
    pub id: String,
    /// Who sent it.
    pub user: UserName,
    /// Whether the name is proved; the object has `verified` only if it is not.
    pub verified: bool,
    /// Its content.
    pub content: Content,
    /// What a classic front end sent besides; the object has `extra` only if there is something.
    pub extra: Option<Box<Extra>>,
}

/// The version of a body's layout: `v` of the stored object. A new kind or member needs no new version; a
/// change that this release would misread needs one.
pub const BODY_VERSION: u32 = 1;

/// The first bytes of every stored body. Clients receive the members after it.
pub const BODY_OPENING: &str = r#"{"v":1,"#;

impl Body {
    /// The object, as it is stored.
    ///
    /// # Errors
    /// A member cannot be written as JSON: none of the kinds has one.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        let text = if let Content::Text { text } = &self.content { text.len() } else { 0 };
        let mut json = Vec::with_capacity(128 + text);
        serde_json::to_writer(&mut json, self)?;
        String::from_utf8(json).map_err(serde::ser::Error::custom)
    }

    /// Reads a stored body. A kind that this release does not know is [`Content::Other`].
    ///
    /// # Errors
    /// It is not a body, its `v` is another one, or a known kind lacks a member.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("v", &BODY_VERSION)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("kind", self.content.kind())?;
        map.serialize_entry("user", &self.user)?;
        if !self.verified {
            map.serialize_entry("verified", &false)?;
        }
        self.content.serialize_members(&mut map)?;
        if let Some(extra) = &self.extra {
            map.serialize_entry("extra", extra)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Members {
            v: u32,
            id: String,
            kind: String,
            user: UserName,
            #[serde(default = "verified")]
            verified: bool,
            #[serde(default)]
            extra: Option<Box<Extra>>,
            #[serde(flatten)]
            others: Map<String, Value>,
        }
        let Members { v, id, kind, user, verified, extra, others } = Members::deserialize(deserializer)?;
        if v != BODY_VERSION {
            return Err(de::Error::custom(format_args!("a body of version {v}")));
        }
        Ok(Self { id, user, verified, content: Content::from_members(kind, others)?, extra })
    }
}

/// A name is proved unless a message says otherwise.
fn verified() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(id: &str, text: &str) -> Body {
        let user = UserName::parse("Ann").unwrap();
        Body {
            id: id.into(),
            user,
            verified: true,
            content: Content::Text { text: text.into() },
            extra: None,
        }
    }

    #[test]
    fn a_body_is_one_object_and_reads_back() {
        let body = text("a-1", "\"hi\"\n\u{1f980}");
        let json = body.encode().unwrap();
        assert_eq!(
            json,
            "{\"v\":1,\"id\":\"a-1\",\"kind\":\"text\",\"user\":\"Ann\",\"text\":\"\\\"hi\\\"\\n\u{1f980}\"}"
        );
        assert!(json.starts_with(BODY_OPENING));
        assert_eq!(Body::parse(&json).unwrap(), body);
        assert_eq!(
            Body::parse(r#"{"text":"in any order","later":1,"user":"Ann","kind":"text","id":"b","v":1}"#)
                .unwrap(),
            text("b", "in any order")
        );
    }
}
