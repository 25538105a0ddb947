//! The gateway of Roomcast: accepts Socket.IO and HTTP, and sends room events to clients. `main.rs` builds an [`App`]
//! and runs it; tests do the same on port 0.

mod app;
mod chat;
mod config;
mod edge;
mod hub;
mod inbox;
mod listener;
mod node;
#[cfg(test)]
mod presence_model;
mod recovery;
mod room;
mod telemetry;
mod users;

pub use app::App;
pub use config::{Args, Config};
pub use telemetry::inventory;
