//! The directory: who is online where, and the sweeper that notices the nodes that died. `main.rs` and
//! the tests build an [`App`]; everything else is behind it. It calls the store and `ops`, and knows
//! neither Redis nor Socket.IO.

pub mod app;
pub mod config;
pub mod directory;

mod listener;
mod online_count;
mod sweeper;
mod telemetry;

pub use app::App;
pub use config::{Args, Config};
pub use telemetry::inventory;
