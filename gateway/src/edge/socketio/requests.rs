//! RequestContext of Socket.IO, judged by their origin and answered where their session is: here, by `upgrade.rs`
//! (WebSockets) and `poll.rs` (long-polling), or by another gateway, through `peer/`. Called by `edge/mod.rs`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};

use super::context::RequestContext;
use super::origin::Judged;
use super::query::{query, with_own_sid};
use super::{poll, upgrade};
use crate::edge::error::{refuse, unknown_session};
use crate::edge::peer::sid::{self, Presented, Tag};

/// Where a request is to be answered.
enum Place {
    /// Here; its session, if it names one, is Engine.IO's own id now.
    Here(Request),
    Elsewhere(Tag, Request),
    Nowhere,
}

fn place(requests: &RequestContext, mut request: Request) -> Place {
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

async fn here(requests: &Arc<RequestContext>, request: Request) -> Response {
    if is_websocket(&request) {
        upgrade::upgrade(requests, request)
    } else {
        poll::poll(requests, request).await
    }
}

async fn elsewhere(requests: &RequestContext, tag: Tag, request: Request) -> Response {
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
pub(crate) async fn forwarded(State(requests): State<Arc<RequestContext>>, request: Request) -> Response {
    match place(&requests, request) {
        Place::Here(request) if query(&request, "sid").is_some() => here(&requests, request).await,
        Place::Here(_) | Place::Elsewhere(..) | Place::Nowhere => unknown_session(),
    }
}

pub(crate) async fn socket_io(State(requests): State<Arc<RequestContext>>, request: Request) -> Response {
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
