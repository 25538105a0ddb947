//! What the cluster remembers, and the only code that speaks to Redis. The gateway and the presence
//! service call it through the traits below; each has a memory implementation (one process, nothing installed)
//! and a Redis implementation, and one contract suite (`tests/it`) that both must pass.

pub mod bus;
pub mod images;
pub mod inbox;
pub mod log;
pub mod names;
pub mod nodes;
pub mod presence;

mod address;
mod batcher;
mod capacity;
mod clock;
mod envelope;
mod error;
mod health;
mod keys;
mod layout;
mod link;
mod memory;
mod metrics;
mod observer;
mod partition;
mod person;
mod redis;
mod script;
mod settings;
mod store;
mod sweep;

use std::sync::Arc;

pub use bus::{Bus, BusEvent, BusListener, IgnoreEvents};
pub use error::{Result, StoreError};
pub use health::{Connectivity, Health};
pub use images::{ImageFile, ImageId, ImageOwner, Images, StoredImage};
pub use inbox::{Delivery, Inbox, InboxEntry, InboxEvent, InboxPage, Missed};
pub use log::{Entry, Opened, Page, PublishRequest, Published, ReadLimit, Replay, Retention, RoomLog};
pub use memory::Memory;
pub use metrics::StoreMetrics;
pub use names::{Claim, Hold, Names, Secret};
pub use nodes::{Incarnation, NodeInfo, NodeLease, Nodes, Peer, Sealed};
pub use observer::{FAILURES, Observer, Unobserved};
pub use person::Person;
pub use presence::{Change, Presence, RoomState, RoomsPage, UsersPage, Version};
pub use settings::{DEFAULT_IMAGE_STORE_BYTES, DEFAULT_INBOX_LEN, DEFAULT_PREFIX, Settings, parse_prefix};
pub use store::Store;
pub use sweep::Swept;

impl Store {
    /// The memory implementations: everything in this process, gone with it.
    pub fn in_memory(settings: &Settings, listener: Arc<dyn BusListener>) -> Self {
        Memory::new(settings).node(listener)
    }

    /// The Redis implementations. Returns at once, connected or not: [`Health`] says which, and commands are refused
    /// with [`StoreError::Unavailable`] until then. `url` is `redis://[user:password@]host:port[/db]` or
    /// `redis-cluster://host:port?node=host:port…`. The tasks that serve it end when its last handle is
    /// dropped, or with the hard token: they outlive the soft one for those who finish their work after it.
    ///
    /// # Errors
    /// The URL is not one of these.
    pub fn on_redis(
        url: &str,
        settings: &Settings,
        listener: Arc<dyn BusListener>,
        observer: Arc<dyn Observer>,
        lifecycle: &roomcast_ops::Lifecycle,
    ) -> Result<Self> {
        redis::open(url, settings, listener, observer, lifecycle)
    }
}
