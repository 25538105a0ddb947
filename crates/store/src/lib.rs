//! What the cluster remembers, and the only code that speaks to Redis. The gateway and the presence
//! service call it through the traits below; each has a memory twin (one process, nothing installed)
//! and a Redis twin, and one contract suite (`tests/it`) that both must pass.

pub mod bus;
pub mod log;
pub mod names;
pub mod nodes;
pub mod presence;

mod clock;
mod envelope;
mod error;
mod group;
mod keys;
mod link;
mod memory;
mod observer;
mod partition;
mod redis;
mod script;
mod sweep;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::watch;

pub use bus::{Bus, News, Sink};
pub use error::{Result, StoreError};
pub use log::{Entry, Opened, Page, Published, Replay, Retention, RoomLog, SendRequest};
pub use memory::Memory;
pub use names::{Claim, Hold, Names, Secret};
pub use nodes::{Incarnation, NodeInfo, NodeLease, Nodes, Peer, Sealed};
pub use observer::{FAILURES, OPERATIONS, Observer, Unobserved};
pub use presence::{Change, Presence, RoomState, RoomsPage, UsersPage, Version};
pub use sweep::Swept;

/// What the caller decides about the store.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How much of each room's log is kept.
    pub retention: Retention,
    /// Stands before every key and channel, so that several clusters may share one Redis.
    pub prefix: String,
    /// How long messages wait for each other where a node sends many, so that they leave for Redis together;
    /// at zero none does.
    pub gather: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { retention: Retention::default(), prefix: "rc1".into(), gather: Duration::ZERO }
    }
}

/// Everything the cluster remembers, as cheap handles.
#[derive(Clone)]
pub struct Store {
    /// Rooms' messages.
    pub log: Arc<dyn RoomLog>,
    /// Who is in which room.
    pub presence: Arc<dyn Presence>,
    /// Who owns which name.
    pub names: Arc<dyn Names>,
    /// Which nodes live.
    pub nodes: Arc<dyn Nodes>,
    /// News between nodes.
    pub bus: Arc<dyn Bus>,
    /// Whether what remembers can be reached.
    pub health: Health,
}

/// Whether what the store stands on can be reached, and how often it came back.
#[derive(Clone)]
pub struct Health(watch::Receiver<Reach>);

/// What [`Health`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// True while commands are answered.
    pub up: bool,
    /// How often the connection was made, the first time included. A change means: write presence anew.
    pub connections: u64,
}

impl Health {
    fn always_up() -> Self {
        // One sender for all, never dropped: a receiver without a sender would not wait, it would err.
        static ALWAYS: LazyLock<watch::Sender<Reach>> =
            LazyLock::new(|| watch::Sender::new(Reach { up: true, connections: 1 }));
        Self(ALWAYS.subscribe())
    }

    /// The state now.
    pub fn now(&self) -> Reach {
        *self.0.borrow()
    }

    /// A receiver of changes. In memory there never are any, and waiting for one waits for ever.
    pub fn watch(&self) -> watch::Receiver<Reach> {
        self.0.clone()
    }

    /// Waits until commands are answered, at most so long; false where they still are not.
    pub async fn wait_up(&self, patience: Duration) -> bool {
        let mut receiver = self.0.clone();
        let up = receiver.wait_for(|reach| reach.up);
        matches!(tokio::time::timeout(patience, up).await, Ok(Ok(_)))
    }
}

impl Store {
    /// The memory twins: everything in this process, gone with it.
    pub fn in_memory(settings: &Settings, sink: Arc<dyn Sink>) -> Self {
        Memory::new(settings).node(sink)
    }

    /// The Redis twins. Returns at once, connected or not: [`Health`] tells, and commands are refused
    /// with [`StoreError::Unavailable`] until then. `url` is `redis://[user:password@]host:port[/db]` or
    /// `redis-cluster://host:port?node=host:port…`. What runs for it ends with the last of its handles, or
    /// with the hard token: it serves those who finish their work after the soft one.
    ///
    /// # Errors
    /// The URL is not one of these.
    pub fn on_redis(
        url: &str,
        settings: &Settings,
        sink: Arc<dyn Sink>,
        observer: Arc<dyn Observer>,
        lifecycle: &roomcast_ops::Lifecycle,
    ) -> Result<Self> {
        redis::open(url, settings, sink, observer, lifecycle)
    }
}
