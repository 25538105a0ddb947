//! How people and other nodes reach this one: Socket.IO (`socketio/`), the web UI and operators' pages (`http/`),
//! and other gateways (`peer/`). What comes in is decoded here and decided in `chat/`. Built by `app.rs`.

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

/// What the edge stands on and is set up with.
pub(crate) struct EdgeConfig {
    pub(crate) chat: Chat,
    pub(crate) registry: Registry,
    /// The gateways that hold other sessions, where there may be any.
    pub(crate) peers: Option<Peers>,
    pub(crate) origins: Origins,
    /// How much a slow reader may cost.
    pub(crate) bounds: Bounds,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) lifecycle: Lifecycle,
}

/// The routes of each listener.
pub(crate) struct Routes {
    pub(crate) public: Router,
    pub(crate) peer: Router,
}

/// Every way in, ready to be served.
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
    let nothing = async || error::refuse(StatusCode::NOT_FOUND, 0, "there is nothing here");
    let public = Router::new()
        .route("/socket.io/", any(socket_io))
        .with_state(Arc::clone(&requests))
        .merge(plain)
        .fallback(nothing);
    let peer = Router::new().route("/socket.io/", any(forwarded)).with_state(requests).fallback(nothing);
    Routes { public, peer }
}
