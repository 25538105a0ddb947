//! The public listener's routes: the web UI, and Socket.IO with its rules on origins; and those of the
//! listener for other gateways. Called by `app.rs`; hands WebSockets to `upgrade.rs`, long-polling to
//! `poll.rs`, and both to `peer/` where another gateway holds the session.

mod assets;
pub(crate) mod edge;
mod origin;
mod poll;
pub(crate) mod server;
mod upgrade;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode, Uri};
use roomcast_ops::Lifecycle;
use socketioxide::service::SocketIoService;

use crate::conn::{Bounds, Sessions};
use crate::http::origin::Judged;
use crate::peer::Peers;
use crate::peer::sid::{self, Presented, Tag};
use crate::telemetry::Events;
pub(crate) use origin::Origins;

/// socketioxide, for long-polling and for connections handed to it. What it does not know is 404.
pub(crate) type SocketIoHttp = SocketIoService<Router>;

/// What the routes share.
pub(crate) struct Web {
    pub(crate) socket_io: SocketIoHttp,
    pub(crate) origins: Origins,
    pub(crate) sessions: Sessions,
    /// How much a slow reader may cost.
    pub(crate) bounds: Bounds,
    pub(crate) events: Events,
    pub(crate) lifecycle: Lifecycle,
    /// The gateways that hold other sessions, where there may be any.
    pub(crate) peers: Option<Peers>,
}

/// The routes of each listener.
pub(crate) struct Routes {
    pub(crate) public: Router,
    pub(crate) peer: Router,
}

pub(crate) fn routes(web: Web) -> Routes {
    let web = Arc::new(web);
    let nothing = async || refuse(StatusCode::NOT_FOUND, 0, "there is nothing here");
    let public = Router::new()
        .route("/socket.io/", any(socket_io))
        .with_state(Arc::clone(&web))
        .merge(assets::routes())
        .fallback(nothing);
    let peer = Router::new().route("/socket.io/", any(passed_on)).with_state(web).fallback(nothing);
    Routes { public, peer }
}

/// An error in the shape that Engine.IO clients know: `{code, message}`.
fn refuse(status: StatusCode, code: u8, message: &str) -> Response {
    (status, Json(serde_json::json!({ "code": code, "message": message }))).into_response()
}

fn unknown() -> Response {
    refuse(StatusCode::BAD_REQUEST, 1, "Session ID unknown")
}

/// The same address in memory of its own: as it comes, it is a slice of the buffer that the request was
/// read into, and would keep all of that for as long as a session lives.
fn detached(uri: &Uri) -> Uri {
    Uri::from_maybe_shared(Bytes::from(uri.to_string())).unwrap_or_default()
}

/// One value of a query.
fn query<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find_map(|(key, value)| (key == name).then_some(value))
}

/// Where a request is to be answered.
enum Place {
    /// Here; its session, if it names one, is Engine.IO's own id now.
    Here(Request),
    Elsewhere(Tag, Request),
    Nowhere,
}

fn place(web: &Web, mut request: Request) -> Place {
    let (Some(peers), Some(presented)) = (&web.peers, query(&request, "sid")) else {
        return Place::Here(request);
    };
    match sid::read(presented) {
        Presented::Bare => Place::Here(request),
        Presented::Malformed => Place::Nowhere,
        Presented::Tagged(_, tag) if tag != peers.tag() => Place::Elsewhere(tag, request),
        Presented::Tagged(id, _) => {
            let own = request.uri().to_string().replacen(presented, id, 1);
            match Uri::from_maybe_shared(Bytes::from(own)) {
                Ok(own) => *request.uri_mut() = own,
                Err(_) => return Place::Nowhere,
            }
            Place::Here(request)
        }
    }
}

fn is_websocket(request: &Request) -> bool {
    query(request, "transport") == Some("websocket")
}

async fn here(web: &Arc<Web>, request: Request) -> Response {
    if is_websocket(&request) { upgrade::upgrade(web, request) } else { poll::poll(web, request).await }
}

async fn elsewhere(web: &Web, tag: Tag, request: Request) -> Response {
    let Some(peers) = &web.peers else { return unknown() };
    let answer = if !is_websocket(&request) {
        match poll::whole(request).await {
            Ok((head, body)) => peers.poll(tag, Request::from_parts(head, body.into())).await,
            Err(refused) => return refused,
        }
    } else if upgrade::is_asked(&request) {
        peers.upgrade(tag, request).await
    } else {
        return refuse(StatusCode::BAD_REQUEST, 3, "Bad request");
    };
    answer.unwrap_or_else(unknown)
}

/// What another gateway passed on, for a session that is held here: it never goes further.
async fn passed_on(State(web): State<Arc<Web>>, request: Request) -> Response {
    match place(&web, request) {
        Place::Here(request) if query(&request, "sid").is_some() => here(&web, request).await,
        Place::Here(_) | Place::Elsewhere(..) | Place::Nowhere => unknown(),
    }
}

async fn socket_io(State(web): State<Arc<Web>>, request: Request) -> Response {
    let origin = match web.origins.judge(request.headers()) {
        Judged::Refused => return refuse(StatusCode::FORBIDDEN, 4, "this origin is not allowed"),
        Judged::Own => None,
        Judged::Allowed(origin) => Some(origin),
    };
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        match place(&web, request) {
            Place::Here(request) => here(&web, request).await,
            Place::Elsewhere(tag, request) => elsewhere(&web, tag, request).await,
            Place::Nowhere => unknown(),
        }
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    response
}
