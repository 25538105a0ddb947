//! Socket.IO: requests of the public listener (`requests.rs`, `upgrade.rs`, `poll.rs`), the transports under
//! socketioxide (`transport/`), clients and their events (`connect.rs`, `client.rs`), and one folder for each
//! vocabulary (`dialect.rs`, named in `namespace.rs`). Built by `app.rs`; calls `chat/`, and is called back by the hub
//! through `outbound.rs`.

mod client;
mod connect;
mod context;
mod dialect;
mod event_queue;
mod namespace;
mod native;
mod origin;
mod outbound;
mod packet;
mod poll;
mod query;
mod requests;
mod service;
mod transport;
mod upgrade;

pub(crate) use context::{ClientContext, RequestContext};
pub(crate) use origin::Origins;
pub(super) use requests::{forwarded, socket_io};
pub(crate) use service::{Heartbeat, service};
pub(crate) use transport::{Bounds, Sessions};
