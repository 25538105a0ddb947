//! Socket.IO: requests of the public listener (`requests.rs`, `upgrade.rs`, `poll.rs`), the transports under
//! socketioxide (`transport/`), clients and their events (`connect.rs`, `client.rs`), and one folder for each
//! dialect (`dialects/`). Built by `edge/mod.rs`; calls `chat/`, and is called back by the hub
//! through `outbound.rs`.

mod client;
mod connect;
mod context;
mod dialect;
mod dialects;
mod encode;
mod event_queue;
mod origin;
mod outbound;
mod packet;
mod poll;
mod query;
mod requests;
mod service;
mod transport;
mod upgrade;

pub(super) use context::{ClientContext, RequestContext};
pub(crate) use origin::Origins;
pub(super) use requests::{forwarded, socket_io};
pub(crate) use service::Heartbeat;
pub(super) use service::service;
pub(crate) use transport::Bounds;
pub(super) use transport::Sessions;
