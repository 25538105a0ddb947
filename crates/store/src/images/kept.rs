//! What keeps an image in memory: held by the entries of rooms' logs (`log/memory.rs`) and of inboxes
//! (`inbox/memory.rs`), so that the last of them to go takes it along. Calls nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use roomcast_protocol::ImageType;

use super::holder::Holder;
use crate::person::Person;

/// What an image counts beyond its bytes: keys, and what says which messages refer to it.
pub(super) const OVERHEAD: usize = 1024;

/// An image as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Its type.
    pub image_type: ImageType,
    /// Its bytes.
    pub bytes: Bytes,
}

/// An image, kept for one message.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(super) holder: Holder,
    /// Its message was stored.
    pub(super) published: AtomicBool,
    pub(super) stored: Arc<Stored>,
}

impl Kept {
    /// Its message was stored: from now on it can be read.
    pub(crate) fn publish(&self) {
        self.published.store(true, Ordering::Release);
    }

    /// The same, of a private message: both copies were stored.
    pub(crate) fn publish_to(&self, recipient: &Person) {
        if let Holder::Inboxes { to, .. } = &self.holder {
            to.get_or_init(|| recipient.clone());
        }
        self.publish();
    }
}

/// Bytes that are kept once.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) file: ImageFile,
    /// Bytes of all images.
    pub(super) total: Arc<AtomicUsize>,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.total.fetch_sub(self.file.bytes.len() + OVERHEAD, Ordering::AcqRel);
    }
}
