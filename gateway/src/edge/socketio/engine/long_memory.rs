//! The memory of packets that are longer than others because they carry an image: how many of them this node holds at
//! once, and for how long one may arrive. Used by the transports and by `session.rs`; calls nothing.

use std::sync::Arc;
use std::time::Duration;

use roomcast_protocol::limits::MAX_IMAGE_PACKET_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of all long packets that are held.
const MEMORY: usize = 64 * 1024 * 1024;
/// Bytes that one counts as: the packet, and what is decoded of it.
const PER_PACKET: usize = 2 * MAX_IMAGE_PACKET_BYTES;
/// Time allowed for a long packet to arrive, with its attachments.
pub(crate) const LONG_TIMEOUT: Duration = Duration::from_secs(30);

/// The memory of the long packets of this node. Clones share it.
#[derive(Clone)]
pub(crate) struct LongPackets(Arc<Semaphore>);

impl Default for LongPackets {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY / PER_PACKET)))
    }
}

/// The memory of one long packet. It counts until this is dropped.
pub(crate) struct Held {
    _permit: OwnedSemaphorePermit,
}

impl LongPackets {
    /// None if others use all the memory.
    pub(crate) fn hold(&self) -> Option<Held> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(|permit| Held { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_long_packets_is_bounded() {
        let packets = LongPackets::default();
        let held: Vec<_> = std::iter::from_fn(|| packets.hold()).collect();
        assert_eq!(held.len(), MEMORY / PER_PACKET);
        drop(held);
        assert!(packets.hold().is_some());
    }
}
