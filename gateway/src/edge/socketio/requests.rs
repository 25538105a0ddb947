//! Requests of Socket.IO, judged by their origin and answered where their session is: here, by `upgrade.rs`
//! (WebSockets) and `poll.rs` (long-polling), or by another gateway, through `peer/`. Called by `edge/mod.rs`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode, Uri};
use roomcast_ops::Lifecycle;

use super::origin::{Judged, Origins};
use super::transport::{Bounds, Sessions};
use super::{SocketIoHttp, poll, upgrade};
use crate::edge::error::{refuse, unknown_session};
use crate::edge::peer::Peers;
use crate::edge::peer::sid::{self, Presented, Tag};
use crate::telemetry::Events;

/// What the routes share.
pub(crate) struct Requests {
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

/// The same address in memory of its own: as it comes, it is a slice of the buffer that the request was
/// read into, and would keep all of that for as long as a session lives.
pub(super) fn detached(uri: &Uri) -> Uri {
    Uri::from_maybe_shared(Bytes::from(uri.to_string())).unwrap_or_default()
}

/// One value of a query.
pub(super) fn query<'a>(request: &'a Request, name: &str) -> Option<Cow<'a, str>> {
    let pairs = form_urlencoded::parse(request.uri().query()?.as_bytes());
    pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))
}

/// The same address with Engine.IO's own session id.
fn with_own_sid(uri: &Uri, id: &str) -> Result<Uri, http::uri::InvalidUri> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let pairs = pairs.map(|(key, value)| if key == "sid" { (key, Cow::Borrowed(id)) } else { (key, value) });
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Uri::from_maybe_shared(Bytes::from(format!("{}?{query}", uri.path())))
}

/// Where a request is to be answered.
enum Place {
    /// Here; its session, if it names one, is Engine.IO's own id now.
    Here(Request),
    Elsewhere(Tag, Request),
    Nowhere,
}

fn place(requests: &Requests, mut request: Request) -> Place {
    let (Some(peers), Some(presented)) = (&requests.peers, query(&request, "sid")) else {
        return Place::Here(request);
    };
    match sid::read(&presented) {
        Presented::Bare => Place::Here(request),
        Presented::Malformed => Place::Nowhere,
        Presented::Tagged(_, tag) if tag != peers.tag() => Place::Elsewhere(tag, request),
        Presented::Tagged(id, _) => {
            match with_own_sid(request.uri(), id) {
                Ok(own) => *request.uri_mut() = own,
                Err(_) => return Place::Nowhere,
            }
            Place::Here(request)
        }
    }
}

fn is_websocket(request: &Request) -> bool {
    query(request, "transport").as_deref() == Some("websocket")
}

async fn here(requests: &Arc<Requests>, request: Request) -> Response {
    if is_websocket(&request) {
        upgrade::upgrade(requests, request)
    } else {
        poll::poll(requests, request).await
    }
}

async fn elsewhere(requests: &Requests, tag: Tag, request: Request) -> Response {
    let Some(peers) = &requests.peers else { return unknown_session() };
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
    answer.unwrap_or_else(unknown_session)
}

/// What another gateway passed on, for a session that is held here: it never goes further.
pub(in crate::edge) async fn forwarded(State(requests): State<Arc<Requests>>, request: Request) -> Response {
    match place(&requests, request) {
        Place::Here(request) if query(&request, "sid").is_some() => here(&requests, request).await,
        Place::Here(_) | Place::Elsewhere(..) | Place::Nowhere => unknown_session(),
    }
}

pub(in crate::edge) async fn socket_io(State(requests): State<Arc<Requests>>, request: Request) -> Response {
    let origin = match requests.origins.judge(request.headers()) {
        Judged::Refused => return refuse(StatusCode::FORBIDDEN, 4, "this origin is not allowed"),
        Judged::Own => None,
        Judged::Allowed(origin) => Some(origin),
    };
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        match place(&requests, request) {
            Place::Here(request) => here(&requests, request).await,
            Place::Elsewhere(tag, request) => elsewhere(&requests, tag, request).await,
            Place::Nowhere => unknown_session(),
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
