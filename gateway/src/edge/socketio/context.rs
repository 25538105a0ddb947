//! Dependencies shared by the requests and the connections of Socket.IO. Filled by `edge/mod.rs`, read by the other
//! files of this folder.

use axum::Router;
use roomcast_ops::Lifecycle;
use socketioxide::service::SocketIoService;

use super::origin::Origins;
use super::transport::{Bounds, Sessions};
use crate::chat::Chat;
use crate::edge::peer::Peers;
use crate::hub::Registry;
use crate::telemetry::Telemetry;

/// socketioxide's HTTP service: serves long-polling and the streams passed to it; answers 404 to anything else.
pub(crate) type SocketIoHttp = SocketIoService<Router>;

/// Dependencies of clients' connections.
pub(crate) struct ClientContext {
    pub(crate) chat: Chat,
    pub(crate) registry: Registry,
    pub(crate) sessions: Sessions,
    pub(crate) lifecycle: Lifecycle,
}

/// Dependencies of the routes.
pub(crate) struct RequestContext {
    pub(crate) socket_io: SocketIoHttp,
    pub(crate) origins: Origins,
    pub(crate) sessions: Sessions,
    /// Limits of what a slow reader may queue.
    pub(crate) bounds: Bounds,
    pub(crate) telemetry: Telemetry,
    pub(crate) lifecycle: Lifecycle,
    /// Forwarding to other gateways, if it is configured.
    pub(crate) peers: Option<Peers>,
}
