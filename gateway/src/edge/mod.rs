//! Everything that clients, operators and other gateways connect to: Socket.IO (`socketio/`), the web UI and debug
//! pages (`http/`), and the peer listener (`peer/`). Requests are decoded here and decided in `chat/`. Built by
//! `app.rs`.

pub(crate) mod accept;
mod error;
mod handshake_stream;
pub(crate) mod http;
pub(crate) mod peer;
pub(crate) mod socketio;

use std::sync::Arc;

use ::http::StatusCode;
use axum::Router;
use axum::routing::any;
use roomcast_ops::Lifecycle;

use crate::chat::Chat;
use crate::hub::Registry;
use peer::Peers;
use socketio::{Bounds, ClientContext, Heartbeat, Origins, RequestContext, Sessions, forwarded, socket_io};

/// Dependencies and settings of the edge.
pub(crate) struct EdgeConfig {
    pub(crate) chat: Chat,
    pub(crate) registry: Registry,
    /// Forwarding to other gateways, if it is configured.
    pub(crate) peers: Option<Peers>,
    pub(crate) origins: Origins,
    /// Limits of what a slow reader may queue.
    pub(crate) bounds: Bounds,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) lifecycle: Lifecycle,
}

/// The routes of each listener.
pub(crate) struct Routes {
    pub(crate) public: Router,
    pub(crate) peer: Router,
}

/// Builds the routes of the public and the peer listener.
pub(crate) fn routes(config: EdgeConfig) -> Routes {
    let EdgeConfig { chat, registry, peers, origins, bounds, heartbeat, lifecycle } = config;
    let (sessions, telemetry) = (Sessions::default(), chat.telemetry.clone());
    let plain = http::routes().with_state(chat.clone());
    let clients = ClientContext { chat, registry, sessions: sessions.clone(), lifecycle: lifecycle.clone() };
    let socket_io_service = socketio::service(heartbeat, clients);
    let requests = Arc::new(RequestContext {
        socket_io: socket_io_service,
        origins,
        sessions,
        bounds,
        telemetry,
        lifecycle,
        peers,
    });
    let not_found = async || error::refuse(StatusCode::NOT_FOUND, 0, "not found");
    let public = Router::new()
        .route("/socket.io/", any(socket_io))
        .with_state(Arc::clone(&requests))
        .merge(plain)
        .fallback(not_found);
    let peer = Router::new().route("/socket.io/", any(forwarded)).with_state(requests).fallback(not_found);
    Routes { public, peer }
}
