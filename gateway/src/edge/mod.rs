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

use socketio::{RequestContext, forwarded, socket_io};

/// The routes of each listener.
pub(crate) struct Routes {
    pub(crate) public: Router,
    pub(crate) peer: Router,
}

pub(crate) fn routes(requests: RequestContext) -> Routes {
    let requests = Arc::new(requests);
    let nothing = async || error::refuse(StatusCode::NOT_FOUND, 0, "there is nothing here");
    let public = Router::new()
        .route("/socket.io/", any(socket_io))
        .with_state(Arc::clone(&requests))
        .merge(http::assets::routes())
        .fallback(nothing);
    let peer = Router::new().route("/socket.io/", any(forwarded)).with_state(requests).fallback(nothing);
    Routes { public, peer }
}
