//! What the requests and the connections of Socket.IO share. Filled by `app.rs`, read by the other files of this
//! folder.

use axum::Router;
use roomcast_ops::Lifecycle;
use socketioxide::service::SocketIoService;

use super::origin::Origins;
use super::transport::{Bounds, Sessions};
use crate::chat::Chat;
use crate::edge::peer::Peers;
use crate::hub::Registry;
use crate::telemetry::Telemetry;

/// socketioxide, for long-polling and for connections handed to it. What it does not know is 404.
pub(crate) type SocketIoHttp = SocketIoService<Router>;

/// What clients' connections share.
pub(crate) struct ClientContext {
    pub(crate) chat: Chat,
    pub(crate) registry: Registry,
    pub(crate) sessions: Sessions,
    pub(crate) lifecycle: Lifecycle,
}

/// What the routes share.
pub(crate) struct RequestContext {
    pub(crate) socket_io: SocketIoHttp,
    pub(crate) origins: Origins,
    pub(crate) sessions: Sessions,
    /// How much a slow reader may cost.
    pub(crate) bounds: Bounds,
    pub(crate) telemetry: Telemetry,
    pub(crate) lifecycle: Lifecycle,
    /// The gateways that hold other sessions, where there may be any.
    pub(crate) peers: Option<Peers>,
}
