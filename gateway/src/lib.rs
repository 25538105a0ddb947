//! The edge of Roomcast: Socket.IO and HTTP in, room events out. `main.rs` builds an [`App`] and runs
//! it; tests do the same on port 0.

mod app;
mod client;
mod config;
mod conn;
mod debug;
mod fanout;
mod http;
mod node;
mod peer;
#[cfg(test)]
mod presence_model;
mod recovery;
mod room;
mod session;
mod socket;
mod telemetry;
mod trace;
mod users;

pub use app::App;
pub use config::{Args, Config};
pub use telemetry::inventory;
