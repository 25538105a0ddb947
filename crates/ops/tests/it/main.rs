//! The one integration binary of the crate: real HTTP on port 0, real signals, no sleeps.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail their test"
)]

mod admin;
mod http;
mod signals;
