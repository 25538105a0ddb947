//! `send_image`: stores an image, and appends a message that refers to it to the room's log, or puts it into the inboxes of
//! two users. The message has the image's URL; its bytes are fetched by HTTP (`edge/http/images.rs`), from any node.

use bytes::Bytes;
use roomcast_protocol::ack::ImageSent;
use roomcast_protocol::image::Image;
use roomcast_protocol::{Body, Code, Content, ImageType, Refusal, RoomName};
use roomcast_store::{
    ImageFile, ImageId, ImageOwner, PublishRequest, Published, ReadLimit, StoreError, StoredImage,
};

use super::command::{Recipient, SendImage};
use super::image::{IMAGES_PATH, inspect};
use super::limits::{check_alt, message_id};
use super::private_message::{Delivered, NotSent, private_body};
use super::{Actor, Chat};

/// An image that may be sent.
struct Checked {
    bytes: Bytes,
    image_type: ImageType,
    size: (u32, u32),
    alt: String,
    id: String,
}

impl Checked {
    fn content(&self, url: &str) -> Content {
        let (width, height) = self.size;
        let (url, r#type, bytes) = (url.to_owned(), self.image_type, self.bytes.len());
        Content::Image { image: Image { url, width, height, r#type, bytes }, alt: self.alt.clone() }
    }
}

impl Chat {
    pub(super) async fn send_image(
        &self,
        actor: &Actor,
        message: SendImage,
        urgent: bool,
    ) -> Result<ImageSent, Refusal> {
        let SendImage { room, to, image, alt, id } = message;
        match (room, to) {
            (Some(room), None) => {
                let image = self.check_image(image, alt, id)?;
                self.send_image_to_room(actor, room, image, urgent).await
            }
            (None, Some(to)) => {
                let image = self.check_image(image, alt, id)?;
                self.send_image_privately(actor, &to, image).await
            }
            _ => Err(Refusal::new(Code::BadRequest, "an image is sent either to a room or to a user")),
        }
    }

    fn check_image(&self, bytes: Bytes, alt: Option<String>, id: Option<String>) -> Result<Checked, Refusal> {
        let max = self.images.max_bytes;
        if bytes.len() > max {
            return Err(Refusal::new(Code::ImageTooLarge, format!("an image has at most {max} bytes")));
        }
        let (image_type, width, height) = inspect(&bytes)?;
        let alt = alt.unwrap_or_default();
        check_alt(&alt)?;
        Ok(Checked { bytes, image_type, size: (width, height), alt, id: message_id(id)? })
    }

    fn url(&self, stored: &StoredImage) -> String {
        format!("{}{IMAGES_PATH}/{}", self.images.public_url, stored.id)
    }

    async fn send_image_to_room(
        &self,
        actor: &Actor,
        room: RoomName,
        image: Checked,
        urgent: bool,
    ) -> Result<ImageSent, Refusal> {
        let (user, verified) = self.check_sender(actor, &room).await?;
        let owner = ImageOwner::Room(&room);
        let stored = self.store.images.store(owner, image.image_type, &image.bytes).await?;
        let url = self.url(&stored);
        let content = image.content(&url);
        let body = Body { id: image.id, user, verified, content, extra: None };
        let request = PublishRequest { room: &room, body: &body, image: Some(&stored), urgent };
        let (published, first_url) = self.publish_image(request, &stored).await?;
        let sent = sent(body.id, published, first_url.unwrap_or(url));
        Ok(ImageSent { room: Some(room), ..sent })
    }

    async fn send_image_privately(
        &self,
        actor: &Actor,
        to: &Recipient,
        image: Checked,
    ) -> Result<ImageSent, Refusal> {
        let owner = ImageOwner::Sender(actor.person()?);
        if let Recipient::Typed { room, .. } = to {
            actor.check_access(room)?;
        }
        let stored = self.store.images.store(owner, image.image_type, &image.bytes).await?;
        let url = self.url(&stored);
        let content = image.content(&url);
        let body = private_body(actor, image.id, content)?;
        let result = self.send_privately(actor, to, &body, Some(&stored)).await;
        let (first_url, keep) = match &result {
            Ok(Delivered { first, .. }) => {
                let first_url = first.as_deref().map(url_in);
                let keep = may_refer(first_url.as_ref(), &stored.id);
                (first_url.transpose(), keep)
            }
            Err(NotSent::Refused(_)) => (Ok(None), false),
            Err(NotSent::Store(error)) => (Ok(None), may_be_stored(error)),
        };
        if !keep {
            self.store.images.discard(&stored).await;
        }
        let Delivered { published, delivered, .. } = result?;
        Ok(ImageSent { delivered: Some(delivered), ..sent(body.id, published, first_url?.unwrap_or(url)) })
    }

    /// Publishes a message that refers to an image. If the id was known, the URL of the first image is returned, too.
    async fn publish_image(
        &self,
        request: PublishRequest<'_>,
        stored: &StoredImage,
    ) -> Result<(Published, Option<String>), Refusal> {
        let published = self.repeat_if_unknown(|| self.store.log.publish(request)).await;
        let first_url = match &published {
            Ok(Published { duplicate: true, position, .. }) => {
                Some(self.url_of(request.room, position.offset).await)
            }
            _ => None,
        };
        let keep = match &published {
            Ok(_) => may_refer(first_url.as_ref(), &stored.id),
            Err(error) => may_be_stored(error),
        };
        if !keep {
            self.store.images.discard(stored).await;
        }
        let published = published?;
        if !published.duplicate {
            self.telemetry.rooms.stored();
        }
        Ok((published, first_url.transpose()?))
    }

    /// The URL of the image of a message that was stored before.
    async fn url_of(&self, room: &RoomName, offset: u64) -> Result<String, Refusal> {
        let page = self.store.log.before(room, Some(offset + 1), ReadLimit::entries(1)).await?;
        let entry = page.entries.first().filter(|entry| entry.offset == offset);
        entry.map_or_else(|| Err(unreadable()), |entry| url_in(&entry.body))
    }

    /// The image with this id, which whoever knows it may read, as long as its message is kept.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub(crate) async fn image(&self, id: &ImageId) -> Result<Option<ImageFile>, StoreError> {
        self.store.images.read(id).await
    }
}

fn sent(id: String, Published { position, ts, .. }: Published, url: String) -> ImageSent {
    let (epoch, offset) = (position.epoch, position.offset);
    ImageSent { id, room: None, epoch, offset, ts, delivered: None, url }
}

/// The URL of the image of a stored body.
fn url_in(body: &str) -> Result<String, Refusal> {
    match Body::parse(body).ok().map(|body| body.content) {
        Some(Content::Image { image, .. }) => Ok(image.url),
        Some(_) => Err(Refusal::new(Code::IdTaken, "a message of yours that is no image has this id")),
        None => Err(unreadable()),
    }
}

fn unreadable() -> Refusal {
    Refusal::new(Code::Unavailable, "the first image could not be read; try again")
}

/// Whether a message that was stored, now or with the URL that is given, may refer to the image with this id. If none does
/// although this is true, the image goes when its lease ends.
fn may_refer(first_url: Option<&Result<String, Refusal>>, id: &ImageId) -> bool {
    match first_url {
        None => true,
        // The id may be known because an answer was lost and the message was published again.
        Some(Ok(url)) => url.ends_with(&id.to_string()),
        Some(Err(refusal)) => refusal.code != Code::IdTaken,
    }
}

/// The same after an error.
fn may_be_stored(error: &StoreError) -> bool {
    matches!(error, StoreError::Unknown(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_discarded_only_if_no_message_can_refer_to_it() {
        let id = ImageId::parse(&"0f".repeat(16)).unwrap();
        let url = |id: &str| Ok(format!("https://chat.example/images/{id}"));
        let refused = |code| Err(Refusal::new(code, ""));
        assert!(may_refer(None, &id));
        assert!(may_refer(Some(&url(&"0f".repeat(16))), &id), "published twice by this node");
        assert!(!may_refer(Some(&url(&"1f".repeat(16))), &id), "sent twice by the client");
        assert!(!may_refer(Some(&refused(Code::IdTaken)), &id));
        assert!(may_refer(Some(&refused(Code::Unavailable)), &id));
        assert!(may_be_stored(&StoreError::Unknown(String::new())));
        assert!(!may_be_stored(&StoreError::Unavailable(String::new())));
        assert!(!may_be_stored(&StoreError::IdTaken));
    }
}
