//! Images: what a client sends, and what a message says of one. The bytes themselves are never in a message; they are
//! fetched from its URL. Used by the gateway, which checks them, and by the store, which keeps their type.

use serde::{Deserialize, Serialize};

/// The type of an image. There is no SVG: it is a document that may contain scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum ImageType {
    /// PNG.
    #[serde(rename = "image/png")]
    Png,
    /// JPEG.
    #[serde(rename = "image/jpeg")]
    Jpeg,
    /// GIF.
    #[serde(rename = "image/gif")]
    Gif,
    /// WebP.
    #[serde(rename = "image/webp")]
    Webp,
}

impl ImageType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Png, Self::Jpeg, Self::Gif, Self::Webp];

    /// The media type, as in `Content-Type`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    /// The type with this media type.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.media_type() == media_type)
    }
}

/// The image of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Image {
    /// Where it is fetched: an absolute URL, or a path of the server if that has no `--public-url`. It works as long as
    /// the room's log keeps the message.
    pub url: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Its type, by its content.
    pub r#type: ImageType,
    /// Its length.
    pub bytes: usize,
}

/// The image that a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "image: neither bytes nor a data URL")]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
pub enum ImageData {
    /// A data URL in base64. What it says of the type does not matter.
    DataUrl(String),
    /// Bytes, which a client sends as an attachment of the packet.
    Bytes(Attachment),
}

/// What stands for bytes in a packet, as clients write it by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
pub struct Attachment {
    /// True.
    #[serde(rename = "_placeholder")]
    pub placeholder: bool,
    /// Which of the packet's attachments it is.
    pub num: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_and_serde_agree() {
        for image_type in ImageType::ALL {
            assert_eq!(serde_json::to_value(image_type).unwrap(), image_type.media_type());
            assert_eq!(ImageType::of_media_type(image_type.media_type()), Some(image_type));
        }
        assert_eq!(ImageType::of_media_type("image/svg+xml"), None);
    }

    #[test]
    fn an_image_is_sent_as_bytes_or_as_a_data_url() {
        let bytes: ImageData = serde_json::from_str(r#"{"_placeholder":true,"num":1}"#).unwrap();
        assert_eq!(bytes, ImageData::Bytes(Attachment { placeholder: true, num: 1 }));
        let url: ImageData = serde_json::from_str(r#""data:image/png;base64,AA==""#).unwrap();
        assert_eq!(url, ImageData::DataUrl("data:image/png;base64,AA==".into()));
        let error = serde_json::from_str::<ImageData>("7").unwrap_err().to_string();
        assert!(error.starts_with("image: neither bytes nor a data URL"), "{error}");
    }
}
