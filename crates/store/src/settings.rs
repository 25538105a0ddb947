//! What the caller decides about the store. Read by both kinds of implementations.

use std::time::Duration;

use crate::log::Retention;

/// What the caller decides about the store.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How much of each room's log is kept.
    pub retention: Retention,
    /// Stands before every key and channel, so that several clusters may share one Redis.
    pub prefix: String,
    /// How long a message may wait for others of its node, so that they are sent to Redis as one batch. The
    /// first after a quiet moment never waits; at zero none does.
    pub batch_window: Duration,
    /// How long no node of an older release must have held a lease before message bodies are written in
    /// the layout that only this release and newer ones read: twice the lease is enough.
    pub upgrade_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            prefix: "rc1".into(),
            batch_window: Duration::ZERO,
            upgrade_wait: Duration::from_secs(30),
        }
    }
}
