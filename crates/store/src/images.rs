//! The images of messages. Their bytes are kept once, under a hash that never leaves the store; a message refers to them by
//! a random id, under which anybody who knows it may read them. They are gone with the last message that refers to them: a
//! room's log has one, and the inboxes of two users each have a copy of a private one.
//! Called by the gateway's `send_image` and its route for images; implemented in `images/memory.rs` and
//! `images/redis.rs`.

pub(crate) mod holder;
pub(crate) mod kept;
pub(crate) mod memory;
pub(crate) mod redis;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use roomcast_protocol::ImageType;
use sha2::{Digest as _, Sha256};

use crate::error::Result;
pub use holder::ImageOwner;
pub use kept::ImageFile;
use kept::Kept;

/// Length of an id, in characters.
const ID_CHARS: usize = 32;

/// What a message knows an image by: 128 random bits in hexadecimal, a secret of those who read the message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageId(String);

impl ImageId {
    fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// Parses an id as [`ImageId`] is displayed; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == ID_CHARS
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        valid.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An image that a message is about to refer to: part of [`PublishRequest`](crate::PublishRequest), and of what
/// [`Inbox::send`](crate::Inbox::send) takes.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// What the message knows it by.
    pub id: ImageId,
    /// The hash of its type and bytes.
    hash: String,
    /// In memory, what keeps it.
    kept: Option<Arc<Kept>>,
}

impl StoredImage {
    pub(crate) fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref()
    }

    /// Id and hash, as they stand in a room's log or an inbox in Redis.
    pub(crate) fn reference(&self) -> String {
        format!("{} {}", self.id, self.hash)
    }

    fn of_reference(reference: &str) -> Option<Self> {
        let (id, hash) = reference.split_once(' ')?;
        Some(Self { id: ImageId::parse(id)?, hash: hash.to_owned(), kept: None })
    }
}

/// The images of all rooms and of private messages.
#[async_trait]
pub trait Images: Send + Sync {
    /// Stores an image for a message of this owner, which is published or sent next. Until then nobody can read it.
    ///
    /// # Errors
    /// [`ImagesFull`](crate::StoreError::ImagesFull), or the store cannot be reached.
    async fn store(&self, owner: ImageOwner<'_>, image_type: ImageType, bytes: &[u8]) -> Result<StoredImage>;

    /// No message refers to the image: it was refused, or was stored before. If the store cannot be reached, the image
    /// is removed once its lease ends.
    async fn discard(&self, image: &StoredImage);

    /// The image of a message that its room's log keeps, or one of the inboxes of its two users.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn read(&self, id: &ImageId) -> Result<Option<ImageFile>>;
}

/// The hash of an image: of its type, too, so that bytes are never served as another type than they were checked for.
fn hash(image_type: ImageType, bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(image_type.media_type());
    hasher.update([0]);
    hasher.update(bytes);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_and_read_back() {
        let id = ImageId::random();
        assert_eq!(ImageId::parse(&id.to_string()), Some(id.clone()));
        assert_ne!(id, ImageId::random());
        let upper = "ABCDEF0123456789ABCDEF0123456789";
        for bad in ["", "0", upper, "0123456789abcdef0123456789abcde/", &"0".repeat(33)] {
            assert_eq!(ImageId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_hash_is_of_the_type_and_the_bytes() {
        assert_eq!(hash(ImageType::Png, b"x"), hash(ImageType::Png, b"x"));
        assert_ne!(hash(ImageType::Png, b"x"), hash(ImageType::Gif, b"x"));
        assert_ne!(hash(ImageType::Png, b"x"), hash(ImageType::Png, b"y"));
        let image = StoredImage { id: ImageId::random(), hash: hash(ImageType::Png, b"x"), kept: None };
        assert_eq!(StoredImage::of_reference(&image.reference()).map(|read| read.hash), Some(image.hash));
    }
}
