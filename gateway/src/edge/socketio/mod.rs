//! Socket.IO: requests and connections of the public listener (`requests.rs`, `upgrade.rs`, `poll.rs`), the
//! transports under socketioxide (`transport/`), clients and their events (`connect.rs`, `client.rs`), and one
//! folder for each vocabulary (`dialect.rs`, named in `namespace.rs`). Built by `app.rs`; calls `chat/`, and is
//! called back by the hub through `outbound.rs`.

mod client;
mod connect;
mod dialect;
mod event_queue;
mod namespace;
mod native;
mod origin;
mod outbound;
mod packet;
mod poll;
mod requests;
mod transport;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use roomcast_ops::Lifecycle;
use roomcast_protocol::limits::MAX_PACKET_BYTES;
use socketioxide::service::SocketIoService;
use socketioxide::{ParserConfig, SocketIo};

pub(crate) use origin::Origins;
pub(crate) use requests::Requests;
pub(super) use requests::{forwarded, socket_io};
pub(crate) use transport::{Bounds, Sessions};

use crate::chat::Chat;
use crate::hub::Registry;

/// Packets that may wait for one client on socketioxide's own path; more, and it reads too slowly.
const CLIENT_QUEUE: usize = 4_096;
/// Bytes of each connection's buffer for what it reads. A connection's stream has room for more while it reads.
const READ_BUFFER: usize = 128;
/// How long a client may take from its connection to its first connect packet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// socketioxide, for long-polling and for connections handed to it. What it does not know is 404.
pub(crate) type SocketIoHttp = SocketIoService<Router>;

/// What clients' connections share.
pub(crate) struct SocketIoEdge {
    pub(crate) chat: Chat,
    pub(crate) registry: Registry,
    pub(crate) sessions: Sessions,
    pub(crate) lifecycle: Lifecycle,
}

/// How connections are asked whether they are alive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heartbeat {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// socketioxide, with every namespace of the table on it.
pub(crate) fn service(heartbeat: Heartbeat, edge: SocketIoEdge) -> SocketIoHttp {
    let parser = ParserConfig::common()
        .max_incoming_binaries(10)
        .max_incoming_binary_buf_size(MAX_PACKET_BYTES)
        .packet_completion_timeout(Duration::from_secs(10));
    let (service, io) = SocketIo::builder()
        .ping_interval(heartbeat.interval)
        .ping_timeout(heartbeat.timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        .max_buffer_size(CLIENT_QUEUE)
        .max_payload(MAX_PACKET_BYTES as u64)
        .ws_max_message_size(MAX_PACKET_BYTES)
        .ws_max_frame_size(MAX_PACKET_BYTES)
        .ws_read_buffer_size(READ_BUFFER)
        .with_parser(parser)
        .build_with_inner_svc(Router::new());
    let edge = Arc::new(edge);
    for namespace in &namespace::NAMESPACES {
        connect::mount(&io, &edge, namespace);
    }
    service
}
