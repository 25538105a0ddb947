//! Messages as the encoders of the classic chats take them: texts, and images, which are texts to all but one of these
//! chats. Pure. Called by the folders beside this file.

use roomcast_protocol::name::stored_room;
use roomcast_protocol::{EXTRA_VERSION, Extra, Image, RoomName, UserName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

/// A text message, for an encoder.
#[derive(Deserialize)]
pub(super) struct Text {
    /// `@all` for a message to everyone.
    #[serde(deserialize_with = "stored_room")]
    pub(super) room: RoomName,
    pub(super) user: UserName,
    pub(super) text: String,
    #[serde(default)]
    extra: Option<Extra>,
    /// What its text is the URL of, if it is a message with an image.
    #[serde(skip)]
    pub(super) image: Option<Picture>,
    #[serde(flatten)]
    pub(super) stamp: Stamp,
}

/// The image of a message, for pages that can draw it. Others show the line of text, which has its URL.
#[derive(Clone, Serialize)]
pub(super) struct Picture {
    pub(super) url: String,
    pub(super) width: u32,
    pub(super) height: u32,
    /// What it shows, if its sender said that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) alt: String,
}

impl Text {
    /// Encodes the fields that a dialect names, and what the sender, if it is of the same dialect, sent besides.
    pub(super) fn encode(&self, dialect: &str, named: &impl Serialize) -> serde_json::Result<Box<RawValue>> {
        let same = |extra: &&Extra| extra.v == EXTRA_VERSION && extra.dialect == dialect;
        let Some(extra) = self.extra.as_ref().filter(same) else { return to_raw_value(named) };
        let mut object = extra.fields.clone();
        object.extend(extra.text_field.clone().map(|name| (name, json!(self.text))));
        if let Value::Object(named) = serde_json::to_value(named)? {
            object.extend(named);
        }
        to_raw_value(&object)
    }
}

/// A private text message, for an encoder.
#[derive(Deserialize)]
pub(super) struct PrivateText {
    pub(super) to: UserName,
    pub(super) user: UserName,
    pub(super) text: String,
    #[serde(flatten)]
    pub(super) stamp: Stamp,
}

/// A private message with an image, for an encoder.
#[derive(Deserialize)]
pub(super) struct PrivateImage {
    pub(super) to: UserName,
    pub(super) user: UserName,
    pub(super) image: Image,
    #[serde(default)]
    pub(super) alt: String,
    #[serde(flatten)]
    pub(super) stamp: Stamp,
}

/// What every dialect adds to the fields of its original's messages.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Stamp {
    id: String,
    offset: u64,
    /// When it was stored, in milliseconds since 1970.
    ts: u64,
}

/// A message with an image, for an encoder.
#[derive(Deserialize)]
pub(super) struct ImageMessage {
    pub(super) room: RoomName,
    pub(super) user: UserName,
    pub(super) image: Image,
    #[serde(default)]
    pub(super) alt: String,
    #[serde(flatten)]
    pub(super) stamp: Stamp,
}

fn kind(message: &RawValue) -> serde_json::Result<String> {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    serde_json::from_str(message.get()).map(|Kind { kind }| kind)
}

/// A message's parts, of an image with its URL as the text, because the originals can show nothing but text; none if it
/// is something else.
pub(super) fn text(message: &RawValue) -> serde_json::Result<Option<Text>> {
    if kind(message)? == "text" {
        return serde_json::from_str(message.get()).map(Some);
    }
    Ok(image(message)?.map(|ImageMessage { room, user, image, alt, stamp }| {
        let Image { url, width, height, .. } = image;
        let text = if alt.is_empty() { url.clone() } else { format!("{alt}: {url}") };
        Text { room, user, text, extra: None, image: Some(Picture { url, width, height, alt }), stamp }
    }))
}

/// The parts of a message with an image; none if it is something else.
pub(super) fn image(message: &RawValue) -> serde_json::Result<Option<ImageMessage>> {
    if kind(message)? == "image" { serde_json::from_str(message.get()).map(Some) } else { Ok(None) }
}

/// The parts of a private message; none if it is of another kind.
pub(super) fn private<T: DeserializeOwned>(message: &RawValue, of: &str) -> serde_json::Result<Option<T>> {
    if kind(message)? == of { serde_json::from_str(message.get()).map(Some) } else { Ok(None) }
}

/// Escapes text for a page that inserts it as HTML, with the references that Jinja uses: these pages compare names with
/// those that Jinja wrote into them.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::classic::testing::*;
    use super::*;

    #[test]
    fn everything_that_html_reads_is_escaped() {
        assert_eq!(
            escape("<a href=\"x\" title='y'>&</a>"),
            "&lt;a href=&#34;x&#34; title=&#39;y&#39;&gt;&amp;&lt;/a&gt;"
        );
    }

    #[test]
    fn other_kinds_of_messages_are_not_texts() {
        let poll = stored("r", r#"{"v":1,"id":"a","kind":"poll","user":"Ann","options":[]}"#);
        assert!(text(&poll.json).unwrap().is_none());
        assert_eq!(text(&message("r", "ann", "hi").json).unwrap().unwrap().text, "hi");
    }

    #[test]
    fn an_image_is_a_line_with_its_url_and_what_pages_need_to_draw_it() {
        let shown = |alt| {
            let Text { text, image, .. } = text(&image_message("r", "ann", alt).json).unwrap().unwrap();
            (text, json!(image))
        };
        let url = "https://chat.example/images/0f";
        assert_eq!(shown(""), (url.into(), json!({ "url": url, "width": 2, "height": 3 })));
        let crab = json!({ "url": url, "width": 2, "height": 3, "alt": "a crab" });
        assert_eq!(shown("a crab"), (format!("a crab: {url}"), crab));
        assert!(text(&message("r", "ann", url).json).unwrap().unwrap().image.is_none());
    }
}
