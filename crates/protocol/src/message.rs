//! A message: its body, which the sender determines and the store keeps, and the message as clients receive it. The
//! sender's gateway encodes the body once; every node prepends the position to the stored bytes ([`compose`]), so that
//! no text is encoded twice. Used by the store, which keeps bodies, and by the gateway, which composes messages for
//! native clients and decodes them for other dialects.

use serde::de::{self, DeserializeOwned};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::image::Image;
use crate::name::{RoomName, UserName, stored_room};
use crate::position::Epoch;

/// Makes [`Kind`] and [`Content`] from one list. A new kind of message is one entry of it, and is documented
/// for clients in [`Message`].
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

/// `message`, as clients receive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Message {
    /// The room; `@all` for a message to everyone.
    #[serde(deserialize_with = "stored_room")]
    pub room: RoomName,
    /// The epoch of the room's log.
    pub epoch: Epoch,
    /// The message's number in it.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
    /// When it was stored, in milliseconds since 1970, by the store's clock.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub ts: u64,
    /// The message's identity in its room.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// Who sent it.
    pub user: UserName,
    /// False if nothing proves the name: a front end of a classic chat took it without a secret. Else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub verified: Option<bool>,
    /// The text, for `kind: "text"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub text: Option<String>,
    /// The image, for `kind: "image"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub image: Option<Image>,
    /// What the image shows, for `kind: "image"`; empty if its sender said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub alt: Option<String>,
    /// Fields that a front end of a classic chat sent besides, for others of its kind. Mostly absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub extra: Option<Extra>,
}

/// `private_message`, as both users receive it: a [`Message`] with `to` instead of `room`. Position and id are those of
/// the receiver's own inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct PrivateMessage {
    /// Whom it was sent to.
    pub to: UserName,
    /// The epoch of the receiver's inbox.
    pub epoch: Epoch,
    /// The message's number in it.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
    /// When it was stored, in milliseconds since 1970, by the store's clock.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub ts: u64,
    /// The message's identity among those of its sender.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// Who sent it.
    pub user: UserName,
    /// False if nothing proves the sender's name. Else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub verified: Option<bool>,
    /// The text, for `kind: "text"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub text: Option<String>,
    /// The image, for `kind: "image"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub image: Option<Image>,
    /// What the image shows, for `kind: "image"`; empty if its sender said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "generate", ts(optional))]
    pub alt: Option<String>,
}

/// Prepends a position to a stored body: the JSON of a [`Message`]. The body's members are copied unchanged, kinds and members of a newer release included; its `v` is left out.
///
/// # Errors
/// The body is not one JSON object of this version: another release or a foreign program wrote it.
pub fn compose(
    room: &RoomName,
    epoch: &Epoch,
    offset: u64,
    ts: u64,
    body: &str,
) -> Result<Box<RawValue>, serde_json::Error> {
    compose_in(r#"{"room":"#, room.as_str(), (epoch, offset, ts), body)
}

/// Prepends a position to a stored body: the JSON of a [`PrivateMessage`].
///
/// # Errors
/// As for [`compose`].
pub fn compose_private(
    to: &UserName,
    epoch: &Epoch,
    offset: u64,
    ts: u64,
    body: &str,
) -> Result<Box<RawValue>, serde_json::Error> {
    compose_in(r#"{"to":"#, to.as_str(), (epoch, offset, ts), body)
}

fn compose_in(
    opening: &str,
    name: &str,
    (epoch, offset, ts): (&Epoch, u64, u64),
    body: &str,
) -> Result<Box<RawValue>, serde_json::Error> {
    let members =
        body.strip_prefix(BODY_OPENING).ok_or_else(|| de::Error::custom("a body of another version"))?;
    // One allocation of sufficient size, because every node does this for every message.
    let mut json = Vec::with_capacity(128 + name.len() + members.len());
    json.extend_from_slice(opening.as_bytes());
    serde_json::to_writer(&mut json, name)?;
    json.extend_from_slice(br#","epoch":"#);
    serde_json::to_writer(&mut json, epoch)?;
    json.extend_from_slice(br#","offset":"#);
    serde_json::to_writer(&mut json, &offset)?;
    json.extend_from_slice(br#","ts":"#);
    serde_json::to_writer(&mut json, &ts)?;
    json.push(b',');
    json.extend_from_slice(members.as_bytes());
    RawValue::from_string(String::from_utf8(json).map_err(de::Error::custom)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageType;

    fn text(id: &str, text: &str) -> Body {
        let user = UserName::parse("Ann").unwrap();
        let content = Content::Text { text: text.into() };
        Body { id: id.into(), user, verified: true, content, extra: None }
    }

    fn composed(body: &str) -> Result<String, serde_json::Error> {
        let room = RoomName::parse("r").unwrap();
        compose(&room, &Epoch::new("e"), 7, 9, body).map(|json| json.get().to_owned())
    }

    #[test]
    fn composed_bytes_are_what_serde_would_write() {
        let message = Message {
            room: RoomName::parse("quote\"d / чат").unwrap(),
            epoch: Epoch::new("5eed"),
            offset: 7,
            ts: 1_790_000_000_123,
            id: "a-1".into(),
            kind: Kind::Text,
            user: UserName::parse("Ann").unwrap(),
            verified: None,
            text: Some("<b>\"hi\"</b>\n\u{1f980}".into()),
            image: None,
            alt: None,
            extra: None,
        };
        let body = text(&message.id, message.text.as_deref().unwrap()).encode().unwrap();
        let raw = compose(&message.room, &message.epoch, message.offset, message.ts, &body).unwrap();
        assert_eq!(raw.get(), serde_json::to_string(&message).unwrap());
        assert_eq!(serde_json::from_str::<Message>(raw.get()).unwrap(), message);
    }

    #[test]
    fn a_private_message_has_the_other_user_instead_of_a_room() {
        let body = text("a-1", "psst").encode().unwrap();
        let raw =
            compose_private(&UserName::parse("Bob \"B\"").unwrap(), &Epoch::new("e"), 7, 9, &body).unwrap();
        assert_eq!(
            raw.get(),
            r#"{"to":"Bob \"B\"","epoch":"e","offset":7,"ts":9,"id":"a-1","kind":"text","user":"Ann","text":"psst"}"#
        );
        let message: PrivateMessage = serde_json::from_str(raw.get()).unwrap();
        assert_eq!(serde_json::to_string(&message).unwrap(), raw.get());
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

    #[test]
    fn an_image_is_a_message_with_its_url() {
        let url = "/images/0123".to_owned();
        let image = Image { url, width: 2, height: 3, r#type: ImageType::Png, bytes: 67 };
        let content = Content::Image { image, alt: "a crab".into() };
        let body = Body { content, ..text("a", "") };
        let json = body.encode().unwrap();
        assert_eq!(
            json,
            r#"{"v":1,"id":"a","kind":"image","user":"Ann","image":{"url":"/images/0123","width":2,"height":3,"type":"image/png","bytes":67},"alt":"a crab"}"#
        );
        assert_eq!(Body::parse(&json).unwrap(), body);
        assert!(body.content.counts_as_unread());
        let message: Message = serde_json::from_str(&composed(&json).unwrap()).unwrap();
        assert_eq!((message.kind, message.image.unwrap().width), (Kind::Image, 2));
        let raw = compose_private(&UserName::parse("Bob").unwrap(), &Epoch::new("e"), 7, 9, &json).unwrap();
        let private: PrivateMessage = serde_json::from_str(raw.get()).unwrap();
        assert_eq!(serde_json::to_string(&private).unwrap(), raw.get());
        assert_eq!((private.image.unwrap().width, private.alt.as_deref()), (2, Some("a crab")));
    }

    #[test]
    fn a_name_that_is_not_proved_is_marked() {
        let body = Body { verified: false, ..text("a", "hi") };
        let json = body.encode().unwrap();
        assert_eq!(json, r#"{"v":1,"id":"a","kind":"text","user":"Ann","verified":false,"text":"hi"}"#);
        assert_eq!(Body::parse(&json).unwrap(), body);
        let message: Message = serde_json::from_str(&composed(&json).unwrap()).unwrap();
        assert_eq!(message.verified, Some(false));
    }

    #[test]
    fn what_a_front_end_sent_besides_is_kept_and_mostly_absent() {
        let mut fields = Map::new();
        fields.insert("color".into(), "red".into());
        let extra = Extra { v: EXTRA_VERSION, dialect: "flocker".into(), text_field: None, fields };
        let body = Body { extra: Some(Box::new(extra.clone())), ..text("a", "hi") };
        let json = body.encode().unwrap();
        assert_eq!(
            json,
            r#"{"v":1,"id":"a","kind":"text","user":"Ann","text":"hi","extra":{"v":1,"dialect":"flocker","fields":{"color":"red"}}}"#
        );
        assert_eq!(Body::parse(&json).unwrap(), body);
        let message: Message = serde_json::from_str(&composed(&json).unwrap()).unwrap();
        assert_eq!(message.extra, Some(extra));
    }

    #[test]
    fn a_kind_of_a_newer_release_is_kept() {
        let json = r#"{"v":1,"id":"a","kind":"poll","user":"Ann","options":["x","y"],"until":5}"#;
        let body = Body::parse(json).unwrap();
        assert_eq!((body.id.as_str(), body.content.kind()), ("a", "poll"));
        assert!(matches!(&body.content, Content::Other { members, .. } if members.len() == 2));
        assert!(!body.content.counts_as_unread());
        assert_eq!(body.encode().unwrap(), json);
        assert_eq!(
            composed(json).unwrap(),
            r#"{"room":"r","epoch":"e","offset":7,"ts":9,"id":"a","kind":"poll","user":"Ann","options":["x","y"],"until":5}"#
        );
    }

    #[test]
    fn what_is_no_body_is_refused() {
        for body in ["", "}", "{}", "\"a\":1}", r#"{"a":1}"#, r#"{"v":2,"a":1}"#] {
            assert!(composed(body).is_err(), "{body:?}");
            assert!(Body::parse(body).is_err(), "{body:?}");
        }
        for members in ["", "}", "\"a\":1", "\"a\":1}}", "\"a\":1},{}"] {
            assert!(composed(&format!("{BODY_OPENING}{members}")).is_err(), "{members:?}");
        }
        for body in [
            r#"{"v":1,"id":"a","kind":"text","user":"Ann"}"#,
            r#"{"v":1,"id":"a","kind":"text","user":"Ann","text":7}"#,
            r#"{"v":1,"id":"a","kind":"text","user":"","text":"hi"}"#,
        ] {
            assert!(Body::parse(body).is_err(), "{body:?}");
        }
    }
}
