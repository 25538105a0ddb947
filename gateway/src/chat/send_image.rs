//! `send_image`: stores an image, and appends a message that refers to it to the room's log. The message has the image's
//! URL; its bytes are fetched by HTTP (`edge/http/images.rs`), from any node.

use roomcast_protocol::ack::{ImageSent, Sent};
use roomcast_protocol::image::Image;
use roomcast_protocol::{Body, Code, Content, Refusal, RoomName};
use roomcast_store::{ImageFile, ImageId, PublishRequest, Published, ReadLimit, StoreError, StoredImage};

use super::command::SendImage;
use super::image::{IMAGES_PATH, inspect};
use super::limits::{check_alt, message_id};
use super::{Actor, Chat};

impl Chat {
    pub(super) async fn send_image(
        &self,
        actor: &Actor,
        message: SendImage,
        urgent: bool,
    ) -> Result<ImageSent, Refusal> {
        let SendImage { room, to, image: bytes, alt, id } = message;
        let room = match (room, to) {
            (Some(room), None) => room,
            (None, Some(_)) => {
                return Err(Refusal::new(
                    Code::BadRequest,
                    "to: images are sent to rooms only, not to a user",
                ));
            }
            _ => {
                return Err(Refusal::new(Code::BadRequest, "an image is sent either to a room or to a user"));
            }
        };
        let max = self.images.max_bytes;
        if bytes.len() > max {
            return Err(Refusal::new(Code::ImageTooLarge, format!("an image has at most {max} bytes")));
        }
        let (r#type, width, height) = inspect(&bytes)?;
        let alt = alt.unwrap_or_default();
        check_alt(&alt)?;
        let id = message_id(id)?;
        let (user, verified) = self.check_sender(actor, &room).await?;
        let stored = self.store.images.store(&room, r#type, &bytes).await?;
        let url = format!("{}{IMAGES_PATH}/{}", self.images.public_url, stored.id);
        let image = Image { url: url.clone(), width, height, r#type, bytes: bytes.len() };
        let body = Body { id, user, verified, content: Content::Image { image, alt }, extra: None };
        let request = PublishRequest { room: &room, body: &body, image: Some(&stored), urgent };
        let (published, first_url) = self.publish_image(request, &stored).await?;
        let Published { position, ts, .. } = published;
        let sent = Sent { id: body.id, room, epoch: position.epoch, offset: position.offset, ts };
        Ok(ImageSent { sent, url: first_url.unwrap_or(url) })
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
        if !may_refer(&published, first_url.as_ref(), &stored.id) {
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
        match entry.and_then(|entry| Body::parse(&entry.body).ok()).map(|body| body.content) {
            Some(Content::Image { image, .. }) => Ok(image.url),
            Some(_) => Err(Refusal::new(Code::IdTaken, "a message of yours that is no image has this id")),
            None => Err(Refusal::new(Code::Unavailable, "the first image could not be read; try again")),
        }
    }

    /// The image with this id, which whoever knows it may read, as long as its message is kept.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub(crate) async fn image(&self, id: &ImageId) -> Result<Option<ImageFile>, StoreError> {
        self.store.images.read(id).await
    }
}

/// Whether a message may refer to the image with this id. If none does although this is true, the image goes when its
/// lease ends.
fn may_refer(
    published: &Result<Published, StoreError>,
    first_url: Option<&Result<String, Refusal>>,
    id: &ImageId,
) -> bool {
    match (published, first_url) {
        (Ok(_), None) | (Err(StoreError::Unknown(_)), _) => true,
        (Err(_), _) => false,
        // The id may be known because an answer was lost and the message was published again.
        (Ok(_), Some(Ok(url))) => url.ends_with(&id.to_string()),
        (Ok(_), Some(Err(refusal))) => refusal.code != Code::IdTaken,
    }
}

#[cfg(test)]
mod tests {
    use roomcast_protocol::{Epoch, Position};

    use super::*;

    #[test]
    fn an_image_is_discarded_only_if_no_message_can_refer_to_it() {
        let id = ImageId::parse(&"0f".repeat(16)).unwrap();
        let published = |duplicate| {
            Ok(Published { position: Position { epoch: Epoch::new("e"), offset: 1 }, ts: 1, duplicate })
        };
        let url = |id: &str| Ok(format!("https://chat.example/images/{id}"));
        let refused = |code| Err(Refusal::new(code, ""));
        assert!(may_refer(&published(false), None, &id));
        assert!(
            may_refer(&published(true), Some(&url(&"0f".repeat(16))), &id),
            "published twice by this node"
        );
        assert!(!may_refer(&published(true), Some(&url(&"1f".repeat(16))), &id), "sent twice by the client");
        assert!(!may_refer(&published(true), Some(&refused(Code::IdTaken)), &id));
        assert!(may_refer(&published(true), Some(&refused(Code::Unavailable)), &id));
        assert!(may_refer(&Err(StoreError::Unknown(String::new())), None, &id));
        assert!(!may_refer(&Err(StoreError::Unavailable(String::new())), None, &id));
        assert!(!may_refer(&Err(StoreError::IdTaken), None, &id));
    }
}
