//! Socket.IO: requests of the public listener (`requests.rs`, `polling.rs`, `upgrade.rs`), which pages may make them
//! (`origin.rs`) and whose they are (`visitor.rs`), the sessions of Engine.IO
//! (`engine/`), sockets and their clients (`socket.rs`, `connect.rs`, `client.rs`), and one folder for each dialect
//! (`dialects/`). Built by `edge/mod.rs`; calls `chat/`, and is called back by the hub through `outbound.rs`.

mod body;
mod client;
mod connect;
mod context;
mod dialect;
mod dialects;
mod encode;
mod engine;
mod event_queue;
mod identity;
mod image_data;
mod long_body;
mod origin;
mod outbound;
mod own_messages;
mod packet;
mod polling;
mod query;
mod requests;
mod socket;
mod threads;
mod upgrade;
mod visitor;

pub(super) use body::{Bodies, drain};
pub(super) use context::{ClientContext, RequestContext};
pub(crate) use dialects::{DialectName, ribbit_message};
pub(crate) use engine::LONG_TIMEOUT;
pub(super) use engine::LongPackets;
pub(crate) use engine::{Bounds, Heartbeat};
pub(super) use engine::{SessionConfig, Sessions};
pub(crate) use origin::OriginSettings;
pub(super) use origin::Origins;
pub(super) use requests::{forwarded, socket_io};
pub(super) use socket::ClientSockets;
pub(super) use visitor::{SCRIPT as VISITOR_SCRIPT, serve_script as visitor_script};
