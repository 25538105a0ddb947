//! The presence service over real HTTP, against a real redis-server that each test starts for itself.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail their test"
)]

mod directory;
mod outage;
mod process;
mod support;
mod sweeping;
