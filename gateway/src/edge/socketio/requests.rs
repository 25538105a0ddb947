//! Requests of Socket.IO: checks their origin and has them answered by the node that holds the session: this one, by
//! `upgrade.rs` (WebSockets) and `poll.rs` (long-polling), or another, through `peer/`. Called by `edge/mod.rs`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};

use super::context::RequestContext;
use super::origin::OriginCheck;
use super::query::{query, with_sid};
use super::{poll, upgrade};
use crate::edge::error::{refuse, unknown_session};
use crate::edge::peer::sid::{SessionId, Tag};

/// The node that answers a request.
enum Destination {
    /// This node. A session id in the request has been replaced by Engine.IO's own id.
    Local(Request),
    /// The gateway with this tag.
    Peer(Tag, Request),
    /// The session id is malformed.
    Unknown,
}

fn destination(requests: &RequestContext, mut request: Request) -> Destination {
    let (Some(peers), Some(sid)) = (&requests.peers, query(&request, "sid")) else {
        return Destination::Local(request);
    };
    match SessionId::parse(&sid) {
        SessionId::Untagged => Destination::Local(request),
        SessionId::Malformed => Destination::Unknown,
        SessionId::Tagged(_, tag) if tag != peers.tag() => Destination::Peer(tag, request),
        SessionId::Tagged(id, _) => {
            match with_sid(request.uri(), id) {
                Ok(own) => *request.uri_mut() = own,
                Err(_) => return Destination::Unknown,
            }
            Destination::Local(request)
        }
    }
}

fn is_websocket(request: &Request) -> bool {
    query(request, "transport").as_deref() == Some("websocket")
}

async fn serve_local(requests: &Arc<RequestContext>, request: Request) -> Response {
    if is_websocket(&request) {
        upgrade::upgrade(requests, request)
    } else {
        poll::poll(requests, request).await
    }
}

async fn forward(requests: &RequestContext, tag: Tag, request: Request) -> Response {
    let Some(peers) = &requests.peers else { return unknown_session() };
    let answer = if !is_websocket(&request) {
        match poll::read_body(request).await {
            Ok((head, body)) => peers.poll(tag, Request::from_parts(head, body.into())).await,
            Err(refused) => return refused,
        }
    } else if upgrade::is_upgrade(&request) {
        peers.upgrade(tag, request).await
    } else {
        return refuse(StatusCode::BAD_REQUEST, 3, "Bad request");
    };
    answer.unwrap_or_else(unknown_session)
}

/// Answers a request that another gateway forwarded. It is never forwarded again.
pub(crate) async fn forwarded(State(requests): State<Arc<RequestContext>>, request: Request) -> Response {
    match destination(&requests, request) {
        Destination::Local(request) if query(&request, "sid").is_some() => {
            serve_local(&requests, request).await
        }
        Destination::Local(_) | Destination::Peer(..) | Destination::Unknown => unknown_session(),
    }
}

pub(crate) async fn socket_io(State(requests): State<Arc<RequestContext>>, request: Request) -> Response {
    let origin = match requests.origins.check(request.headers()) {
        OriginCheck::Denied => return refuse(StatusCode::FORBIDDEN, 4, "this origin is not allowed"),
        OriginCheck::SameOrigin => None,
        OriginCheck::Allowed(origin) => Some(origin),
    };
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        match destination(&requests, request) {
            Destination::Local(request) => serve_local(&requests, request).await,
            Destination::Peer(tag, request) => forward(&requests, tag, request).await,
            Destination::Unknown => unknown_session(),
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
