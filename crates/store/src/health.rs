//! Whether the store can be reached: one value that changes, watched by whoever depends on it. Written by
//! `link.rs`; in memory it never changes.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Whether the store can be reached, and how often it was connected to.
#[derive(Clone)]
pub struct Health(watch::Receiver<Connectivity>);

/// What [`Health`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connectivity {
    /// True while commands are answered, of a cluster by any node.
    pub up: bool,
    /// Set while a node of a cluster does not answer: when a command may have failed first.
    pub partial_since: Option<Instant>,
    /// How often the connection was made, the first time included. After a change presence has to be
    /// written again: the server may have lost it.
    pub connections: u64,
}

impl Connectivity {
    /// Whether commands are answered, of a cluster by every node.
    pub fn is_whole(&self) -> bool {
        self.up && self.partial_since.is_none()
    }
}

impl Health {
    /// Follows the sender of a connection.
    pub(crate) fn new(connectivity: watch::Receiver<Connectivity>) -> Self {
        Self(connectivity)
    }

    /// The health of what cannot fail.
    pub(crate) fn always_up() -> Self {
        // One sender for all, never dropped: a receiver without a sender would not wait, it would err.
        static ALWAYS: LazyLock<watch::Sender<Connectivity>> = LazyLock::new(|| {
            watch::Sender::new(Connectivity { up: true, partial_since: None, connections: 1 })
        });
        Self(ALWAYS.subscribe())
    }

    /// The state now.
    pub fn now(&self) -> Connectivity {
        *self.0.borrow()
    }

    /// A receiver of changes. In memory there never are any, and waiting for one waits for ever.
    pub fn watch(&self) -> watch::Receiver<Connectivity> {
        self.0.clone()
    }

    /// Waits until commands are answered, at most `timeout`; false where they still are not.
    pub async fn wait_up(&self, timeout: Duration) -> bool {
        let mut receiver = self.0.clone();
        let up = receiver.wait_for(|connectivity| connectivity.up);
        matches!(tokio::time::timeout(timeout, up).await, Ok(Ok(_)))
    }
}
