//! Images in memory. An entry of a room's log or of an inbox keeps the image that it refers to (`Kept`), so that the last of
//! them to go takes it along.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use roomcast_protocol::ImageType;

use super::holder::{Holder, ImageOwner};
use super::kept::{ImageFile, Kept, OVERHEAD, Stored};
use super::{ImageId, Images, StoredImage, hash};
use crate::capacity::Capacity;
use crate::error::{Result, StoreError};
use crate::inbox::memory::MemoryInbox;
use crate::log::memory::MemoryLog;
use crate::script;

/// Fewer entries of images that are gone are not searched for.
const PURGE_ABOVE: usize = 256;

pub(crate) struct MemoryImages {
    log: Arc<MemoryLog>,
    inbox: Arc<MemoryInbox>,
    tables: Mutex<Tables>,
    total: Arc<AtomicUsize>,
    limit: usize,
    capacity: Capacity,
}

#[derive(Default)]
struct Tables {
    by_id: HashMap<ImageId, Weak<Kept>>,
    by_hash: HashMap<String, Weak<Stored>>,
    purge_at: usize,
}

impl Tables {
    fn purge(&mut self) {
        if self.by_id.len() + self.by_hash.len() > self.purge_at {
            self.by_id.retain(|_, kept| kept.strong_count() > 0);
            self.by_hash.retain(|_, stored| stored.strong_count() > 0);
            self.purge_at = PURGE_ABOVE.max(2 * (self.by_id.len() + self.by_hash.len()));
        }
    }
}

impl MemoryImages {
    pub(crate) fn new(
        (log, inbox): (Arc<MemoryLog>, Arc<MemoryInbox>),
        limit: usize,
        capacity: Capacity,
    ) -> Self {
        Self { log, inbox, tables: Mutex::default(), total: Arc::default(), limit, capacity }
    }

    fn kept(&self, id: &ImageId) -> Option<Arc<Kept>> {
        let kept = self.tables.lock().by_id.get(id).and_then(Weak::upgrade);
        kept.filter(|kept| kept.published.load(Ordering::Acquire))
    }
}

#[async_trait]
impl Images for MemoryImages {
    async fn store(&self, owner: ImageOwner<'_>, image_type: ImageType, bytes: &[u8]) -> Result<StoredImage> {
        self.capacity.check(&script::IMAGE_ADMIT)?;
        let (id, hash) = (ImageId::random(), hash(image_type, bytes));
        let mut tables = self.tables.lock();
        tables.purge();
        let stored = match tables.by_hash.get(&hash).and_then(Weak::upgrade) {
            Some(stored) => stored,
            None => {
                let charged = bytes.len() + OVERHEAD;
                if self.total.load(Ordering::Acquire) + charged > self.limit {
                    return Err(StoreError::ImagesFull);
                }
                self.total.fetch_add(charged, Ordering::AcqRel);
                let file = ImageFile { image_type, bytes: Bytes::copy_from_slice(bytes) };
                let stored = Arc::new(Stored { file, total: Arc::clone(&self.total) });
                tables.by_hash.insert(hash.clone(), Arc::downgrade(&stored));
                stored
            }
        };
        let kept = Arc::new(Kept { holder: owner.into(), published: AtomicBool::new(false), stored });
        tables.by_id.insert(id.clone(), Arc::downgrade(&kept));
        Ok(StoredImage { id, hash, kept: Some(kept) })
    }

    /// It goes with the caller's handle.
    async fn discard(&self, _image: &StoredImage) {}

    async fn read(&self, id: &ImageId) -> Result<Option<ImageFile>> {
        let Some(kept) = self.kept(id) else { return Ok(None) };
        // Removes what expired.
        match &kept.holder {
            Holder::Room(room) => {
                self.log.exists(room);
            }
            Holder::Inboxes { from, to } => {
                [from].into_iter().chain(to.get()).for_each(|person| self.inbox.expire(person))
            }
        }
        drop(kept);
        Ok(self.kept(id).map(|kept| kept.stored.file.clone()))
    }
}
