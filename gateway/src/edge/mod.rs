//! Everything that clients, operators and other gateways connect to: Socket.IO (`socketio/`), the web UI and debug
//! pages (`http/`), and the peer listener (`peer/`). Requests are decoded here and decided in `chat/`. Built by
//! `app.rs`.

pub(crate) mod accept;
pub(crate) mod client_stream;
mod error;
mod handshake_stream;
pub(crate) mod hosts;
pub(crate) mod http;
pub(crate) mod peer;
pub(crate) mod socketio;

use std::sync::Arc;

use ::http::header::HOST;
use ::http::{Method, StatusCode};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use roomcast_ops::{Lifecycle, error_response, method_not_allowed};
use tokio_util::sync::CancellationToken;

use crate::chat::Chat;
use crate::hub::Registry;
use crate::telemetry::Telemetry;
use error::HttpError;
use hosts::Hosts;
use peer::Peers;
use socketio::{
    Bodies, Bounds, ClientContext, ClientSockets, DialectName, Heartbeat, LongPackets, OriginSettings,
    Origins, RequestContext, SessionConfig, Sessions, VISITOR_SCRIPT, drain, forwarded, socket_io,
    visitor_script,
};

/// The path of Socket.IO.
const SOCKET_IO: &str = "/socket.io/";

/// Dependencies and settings of the edge.
pub(crate) struct EdgeConfig {
    pub(crate) chat: Chat,
    pub(crate) registry: Registry,
    /// Forwarding to other gateways, if it is configured.
    pub(crate) peers: Option<Peers>,
    /// Which hosts are served.
    pub(crate) hosts: Hosts,
    /// Which pages may connect.
    pub(crate) origins: OriginSettings,
    /// Limits of what a slow reader may queue.
    pub(crate) bounds: Bounds,
    pub(crate) heartbeat: Heartbeat,
    /// The dialect of the namespace `/`.
    pub(crate) dialect: DialectName,
    pub(crate) lifecycle: Lifecycle,
    /// Cancelled once all clients are closed; then sessions without a client are closed, too.
    pub(crate) drained: CancellationToken,
}

/// The routes of each listener.
pub(crate) struct Routes {
    pub(crate) public: Router,
    pub(crate) peer: Router,
}

/// Builds the routes of the public and the peer listener, and starts the timer of their sessions.
pub(crate) fn routes(config: EdgeConfig) -> Routes {
    let EdgeConfig { chat, registry, peers, hosts, origins, bounds, heartbeat, dialect, lifecycle, drained } =
        config;
    let origins = Origins::new(origins, hosts.clone());
    let sessions = Sessions::default();
    lifecycle.spawn_until_hard("sessions", sessions.clone().keep(drained));
    let plain = http::routes(dialect.classic_name().as_deref(), origins.clone(), &chat.images.public_url);
    let plain = plain.with_state(chat.clone());
    let tag = peers.as_ref().map(Peers::tag);
    let telemetry = chat.telemetry.clone();
    let check_host = middleware::from_fn_with_state((Arc::new(hosts), telemetry.clone()), check_host);
    let clients = ClientContext { chat, registry, root: dialect, lifecycle: lifecycle.clone() };
    let session = Arc::new(SessionConfig {
        heartbeat,
        bounds,
        long_packets: LongPackets::default(),
        tag,
        table: Arc::new(sessions.clone()),
        sockets: Arc::new(ClientSockets(Arc::new(clients))),
        telemetry,
        lifecycle,
    });
    let requests = Arc::new(RequestContext { sessions, session, origins, bodies: Bodies::default(), peers });
    let public = Router::new()
        .route(SOCKET_IO, any(socket_io))
        .route(VISITOR_SCRIPT, get(visitor_script))
        .with_state(Arc::clone(&requests))
        .merge(plain)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(page_not_found)
        .layer(check_host)
        .layer(middleware::from_fn(read_body_first));
    let peer = Router::new().route(SOCKET_IO, any(forwarded)).with_state(requests).fallback(not_found);
    Routes { public, peer }
}

/// Refuses a request for a host that is not served.
async fn check_host(
    State((hosts, telemetry)): State<(Arc<Hosts>, Telemetry)>,
    request: Request,
    next: Next,
) -> Response {
    if hosts.serves(&request) {
        return next.run(request).await;
    }
    let host = request.headers().get(HOST).map(hosts::shown).unwrap_or_default();
    telemetry.connections.host_refused(&host);
    let is_socket_io = request.uri().path() == SOCKET_IO;
    drain(request.into_body()).await;
    let why = "this host is not served here";
    if is_socket_io {
        HttpError::new(StatusCode::MISDIRECTED_REQUEST, 4, why).into_response()
    } else {
        error_response(StatusCode::MISDIRECTED_REQUEST, "unknown_host", why)
    }
}

/// Answers an address of the public listener that does not exist: with a page where one is asked for, as browsers do.
async fn page_not_found(request: Request) -> Response {
    if http::asks_for_a_page(request.headers()) {
        return http::not_found();
    }
    not_found().await
}

async fn not_found() -> Response {
    error_response(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
}

/// Reads and drops the body of a request whose handler reads none, so that no proxy is answered while it still sends.
/// Only sessions of Socket.IO read bodies, within bounds of their own.
async fn read_body_first(request: Request, next: Next) -> Response {
    if request.uri().path() == SOCKET_IO && request.method() == Method::POST {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    drain(body).await;
    next.run(Request::from_parts(head, axum::body::Body::empty())).await
}
