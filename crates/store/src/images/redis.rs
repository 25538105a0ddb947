//! Images in Redis. Four things, each in a slot of its own:
//!
//! - the bytes, under their hash, with the ids that refer to them, each with the end of its lease;
//! - in the meta of a room's log or of an inbox, the ids of the images that its messages refer to: the truth about whether
//!   an image may be read;
//! - for each id, the room whose meta that is, or the persons: two have a copy of a private message;
//! - in one place for the whole cluster, how many bytes there are.
//!
//! A script touches one slot, so the steps between them may be cut off by the end of a node. What is left then cannot be
//! read, because the log does not refer to it, and is removed when its lease ends: twice the time for which an unused room
//! is kept. Leases are renewed when a room is opened and while it is in use (`log/redis.rs`), and while one of the inboxes
//! is used (`inbox/redis.rs`).
//!
//! When a copy of a private message is removed, the image is released unless the other copy is there. Each removes its own
//! before it looks for the other, so that whoever looks last finds none. Before both are stored only the sender is
//! recorded, and nobody releases the image: it may be between the two.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt as _};
use redis::{Cmd, cmd};
use roomcast_protocol::{ImageType, RoomName};

use super::holder::{Holder, ImageOwner};
use super::kept::{ImageFile, OVERHEAD};
use super::{ImageId, Images, StoredImage, hash};
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::Link;
use crate::person::Person;
use crate::script;

/// Leases renewed at once.
const RENEWALS_AT_ONCE: usize = 32;

/// A handle; clones share the connection.
#[derive(Clone)]
pub(crate) struct RedisImages {
    link: Link,
    keys: Keys,
    /// How long an image stays if no node renews its lease, in milliseconds.
    lease: String,
    /// The most bytes of all images.
    limit: String,
}

impl RedisImages {
    pub(crate) fn new(link: Link, keys: Keys, idle: Duration, limit: usize) -> Self {
        Self { link, keys, lease: (2 * idle).as_millis().to_string(), limit: limit.to_string() }
    }

    /// Counts the bytes of an image, and renews the count's lease. Returns the number of this admission.
    async fn admit(&self, hash: &str, bytes: usize) -> Result<u64> {
        let charged = (bytes + OVERHEAD).to_string();
        let args = [hash, &charged, &self.lease, &self.limit].map(str::as_bytes);
        match self.link.script(&script::IMAGE_ADMIT, &self.keys.images(), &args).await? {
            0 => Err(StoreError::ImagesFull),
            number => Ok(number),
        }
    }

    /// Messages that referred to these images are gone. What fails is left to the end of its lease.
    pub(crate) async fn release(&self, references: &[String]) {
        for image in references.iter().filter_map(|reference| StoredImage::of_reference(reference)) {
            if let Err(error) = self.release_one(&image).await {
                tracing::debug!(%error, "an image could not be released; it stays until its lease ends");
            }
        }
    }

    /// Copies of private messages that referred to these images are gone.
    pub(crate) async fn release_copies(&self, references: &[String]) {
        for image in references.iter().filter_map(|reference| StoredImage::of_reference(reference)) {
            if let Err(error) = self.release_copy(&image).await {
                tracing::debug!(%error, "a private image could not be released; it stays until its lease ends");
            }
        }
    }

    async fn release_copy(&self, image: &StoredImage) -> Result<()> {
        match self.holder(&image.id).await? {
            Some(holder) if holder.is_complete() && self.find(&image.id, &holder).await?.is_none() => {
                self.release_one(image).await
            }
            _ => Ok(()),
        }
    }

    async fn release_one(&self, image: &StoredImage) -> Result<()> {
        let StoredImage { id, hash, .. } = image;
        self.link.command::<()>(cmd("DEL").arg(self.keys.image_holder(id))).await?;
        let keys = self.keys.image(hash);
        let number: u64 = self.link.script(&script::IMAGE_RELEASE, &keys, &[id.0.as_bytes()]).await?;
        if number == 0 {
            return Ok(());
        }
        let number = number.to_string();
        let args = [hash.as_bytes(), number.as_bytes()];
        self.link.script(&script::IMAGE_FORGET, &self.keys.images(), &args).await
    }

    /// Both copies of a private message that refers to an image are stored.
    pub(crate) async fn sent(&self, reference: &str, from: &Person, to: &Person) -> Result<()> {
        let Some(image) = StoredImage::of_reference(reference) else { return Ok(()) };
        self.link.command(&self.hold(&image.id, &Holder::of_both(from, to))).await
    }

    fn hold(&self, id: &ImageId, holder: &Holder) -> Cmd {
        let mut place = cmd("SET");
        place.arg(self.keys.image_holder(id)).arg(holder.encode()).arg("PX").arg(&self.lease);
        place
    }

    async fn holder(&self, id: &ImageId) -> Result<Option<Holder>> {
        let holder: Option<String> = self.link.command(cmd("GET").arg(self.keys.image_holder(id))).await?;
        Ok(holder.and_then(|holder| Holder::parse(&holder)))
    }

    /// The hash of an image, where a message refers to it.
    async fn find(&self, id: &ImageId, holder: &Holder) -> Result<Option<String>> {
        let (from, to) = match holder {
            Holder::Room(room) => {
                return self.link.script(&script::IMAGE_FIND, &self.keys.log(room), &[id.0.as_bytes()]).await;
            }
            Holder::Inboxes { from, to } => (from, to),
        };
        for person in [from].into_iter().chain(to.get()) {
            let keys = self.keys.inbox(person);
            let hash: Option<String> =
                self.link.script(&script::IMAGE_FIND, &keys, &[id.0.as_bytes()]).await?;
            if hash.is_some() {
                return Ok(hash);
            }
        }
        Ok(None)
    }

    /// Renews the leases of the images to which a room's log refers, and releases those to which it does not any more.
    pub(crate) async fn renew_room(&self, room: &RoomName) -> Result<()> {
        let keys = self.keys.log(room);
        let (kept, gone) = self.list(&keys).await?;
        self.release(&gone).await;
        self.renew(&keys, &kept).await
    }

    /// The same of an inbox.
    pub(crate) async fn renew_inbox(&self, person: &Person) -> Result<()> {
        let keys = self.keys.inbox(person);
        let (kept, gone) = self.list(&keys).await?;
        self.release_copies(&gone).await;
        self.renew(&keys, &kept).await
    }

    async fn list(&self, keys: &[String]) -> Result<(Vec<String>, Vec<String>)> {
        self.link.script(&script::IMAGE_LIST, keys, &[]).await
    }

    async fn renew(&self, keys: &[String], kept: &[String]) -> Result<()> {
        let images = kept.iter().filter_map(|reference| StoredImage::of_reference(reference));
        let renewing = stream::iter(images.map(Ok));
        renewing
            .try_for_each_concurrent(RENEWALS_AT_ONCE, async |image: StoredImage| {
                self.renew_one(&image).await
            })
            .await?;
        self.link.script(&script::IMAGE_RENEWED, keys, &[]).await
    }

    async fn renew_one(&self, StoredImage { id, hash, .. }: &StoredImage) -> Result<()> {
        let counted = [hash.as_bytes(), self.lease.as_bytes()];
        // First the count: it must not end before the bytes.
        self.link.script::<()>(&script::IMAGE_COUNT, &self.keys.images(), &counted).await?;
        let args = [self.lease.as_bytes(), id.0.as_bytes()];
        self.link.script::<()>(&script::IMAGE_RENEW, &self.keys.image(hash), &args).await?;
        self.link.command(cmd("PEXPIRE").arg(self.keys.image_holder(id)).arg(&self.lease)).await
    }
}

#[async_trait]
impl Images for RedisImages {
    async fn store(&self, owner: ImageOwner<'_>, image_type: ImageType, bytes: &[u8]) -> Result<StoredImage> {
        let image = StoredImage { id: ImageId::random(), hash: hash(image_type, bytes), kept: None };
        let number = self.admit(&image.hash, bytes.len()).await?.to_string();
        let args: [&[u8]; 5] = [
            bytes,
            image_type.media_type().as_bytes(),
            image.id.0.as_bytes(),
            self.lease.as_bytes(),
            number.as_bytes(),
        ];
        let keys = self.keys.image(&image.hash);
        let hold = self.hold(&image.id, &owner.into());
        let stored = futures_util::future::try_join(
            self.link.script::<()>(&script::IMAGE_STORE, &keys, &args),
            self.link.command::<()>(&hold),
        );
        if let Err(error) = stored.await {
            self.discard(&image).await;
            return Err(error);
        }
        Ok(image)
    }

    async fn discard(&self, image: &StoredImage) {
        self.release(&[image.reference()]).await;
    }

    async fn read(&self, id: &ImageId) -> Result<Option<ImageFile>> {
        let Some(holder) = self.holder(id).await? else { return Ok(None) };
        let Some(hash) = self.find(id, &holder).await? else { return Ok(None) };
        let [data, _] = self.keys.image(&hash);
        let (media_type, bytes): (Option<String>, Option<Vec<u8>>) =
            self.link.command(cmd("HMGET").arg(data).arg("t").arg("b")).await?;
        let image_type = media_type.and_then(|media_type| ImageType::of_media_type(&media_type));
        Ok(image_type
            .zip(bytes)
            .map(|(image_type, bytes)| ImageFile { image_type, bytes: Bytes::from(bytes) }))
    }
}
