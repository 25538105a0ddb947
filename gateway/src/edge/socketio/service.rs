//! Configures socketioxide and registers every namespace of the table. Called by `edge/mod.rs`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use roomcast_protocol::limits::MAX_PACKET_BYTES;
use socketioxide::{ParserConfig, SocketIo};

use super::connect;
use super::context::{ClientContext, SocketIoHttp};
use super::dialects::NAMESPACES;

/// Packets that socketioxide queues for one client; a client that exceeds it is closed as a slow reader.
const CLIENT_QUEUE: usize = 4_096;
/// Size of socketioxide's read buffer of each connection, in bytes. The stream itself reads larger chunks.
const READ_BUFFER: usize = 128;
/// Time allowed from the connection of a client to its first connect packet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Engine.IO's pings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heartbeat {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// Builds the service, with every namespace of the table.
pub(crate) fn service(heartbeat: Heartbeat, context: ClientContext) -> SocketIoHttp {
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
    let context = Arc::new(context);
    for namespace in &NAMESPACES {
        connect::mount(&io, &context, namespace);
    }
    service
}
