//! The clock of the in-memory store: milliseconds since 1970 that never decrease, also when the machine's clock is set.
//! Called by `log/memory.rs` and `presence/memory.rs`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A clock; copies show the same time.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    at: Duration,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), at }
    }

    pub(crate) fn now(&self) -> u64 {
        milliseconds(self.at + self.began.elapsed())
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
