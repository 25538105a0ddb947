//! A message as clients receive it: the sender's gateway encodes the body once; every node prepends the position to the
//! stored bytes ([`compose`]), so that no text is encoded twice. Used by the gateway, which composes messages for
//! native clients and decodes them for other dialects.

use serde::{Deserialize, Serialize, de};
use serde_json::value::RawValue;

use crate::body::{BODY_OPENING, Extra, Kind};
use crate::image::Image;
use crate::name::{RoomName, UserName, stored_room};
use crate::position::Epoch;

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
    use serde_json::Map;

    use super::*;
    use crate::body::{Body, Content, EXTRA_VERSION};
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
