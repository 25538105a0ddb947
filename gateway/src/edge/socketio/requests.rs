//! Requests of Socket.IO: checks their origin and their query, and has them answered by the node that holds the session:
//! this one, by `upgrade.rs` (WebSockets) and `polling.rs` (long-polling), or another, through `peer/`. Called by
//! `edge/mod.rs`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use roomcast_wire::engine::Version;

use super::context::RequestContext;
use super::engine::Session;
use super::query::Query;
use super::{body, polling, upgrade, visitor};
use crate::edge::error::HttpError;
use crate::edge::peer::sid::{SessionId, Tag};
use crate::telemetry::TransportKind;

/// The gateway that answers a request, if it is another one.
fn peer_of(requests: &RequestContext, query: &Query) -> Result<Option<Tag>, HttpError> {
    let (Some(peers), Some(sid)) = (&requests.peers, &query.sid) else { return Ok(None) };
    match SessionId::parse(sid) {
        SessionId::Tagged(tag) => Ok(Some(tag).filter(|tag| *tag != peers.tag())),
        SessionId::Untagged => Ok(None),
        SessionId::Malformed => Err(HttpError::UNKNOWN_SESSION),
    }
}

/// What a request asks of this node.
enum Asked {
    Open(Version),
    Poll(Arc<Session>),
    Post(Arc<Session>),
    WebSocket(Version, Option<Arc<Session>>),
}

/// Checks a request's query and method.
///
/// # Errors
/// The response that refuses it.
fn check(requests: &RequestContext, query: &Query, method: &Method) -> Result<Asked, HttpError> {
    let Some(transport) = query.transport() else { return Err(HttpError::bad(0, "Transport unknown")) };
    let Some(version) = query.version() else {
        return Err(HttpError::bad(5, "Unsupported protocol version"));
    };
    if query.jsonp {
        return Err(HttpError::bad(3, "JSONP is not supported: use long-polling without it"));
    }
    let session = match &query.sid {
        Some(sid) => Some(requests.sessions.find(sid).ok_or(HttpError::UNKNOWN_SESSION)?),
        None => None,
    };
    // A session of another protocol version, or one that has moved to a WebSocket.
    let fits = |session: &Arc<Session>| {
        session.version() == version && session.transport() == TransportKind::Polling
    };
    if !session.as_ref().is_none_or(fits) {
        return Err(HttpError::BAD_REQUEST);
    }
    match (transport, method, session) {
        (TransportKind::WebSocket, _, Some(session)) if session.requests().is_probing() => {
            Err(HttpError::BAD_REQUEST)
        }
        (TransportKind::WebSocket, _, session) => Ok(Asked::WebSocket(version, session)),
        (TransportKind::Polling, &Method::GET, None) => Ok(Asked::Open(version)),
        (TransportKind::Polling, &Method::GET, Some(session)) => Ok(Asked::Poll(session)),
        (TransportKind::Polling, &Method::POST, Some(session)) => Ok(Asked::Post(session)),
        (TransportKind::Polling, _, None) => Err(HttpError::bad(2, "Bad handshake method")),
        (TransportKind::Polling, _, Some(_)) => Err(HttpError::BAD_REQUEST),
    }
}

/// Answers a request of a session of this node, or for a new one. A refusal is sent once the body has been read.
async fn serve_local(requests: &RequestContext, query: &Query, request: Request) -> Response {
    let asked = check(requests, query, request.method());
    if let Ok(Asked::WebSocket(version, session)) = asked {
        return upgrade::upgrade(&requests.session, request, version, session);
    }
    let (head, body) = request.into_parts();
    if let Ok(Asked::Post(session)) = asked {
        return polling::post(requests, &session, &head.headers, body).await;
    }
    body::drain(body).await;
    match asked {
        Ok(Asked::Open(version)) => polling::open(requests, version, head.uri.query().unwrap_or_default()),
        Ok(Asked::Poll(session)) => polling::poll(&session).await,
        Ok(Asked::Post(_) | Asked::WebSocket(..)) => HttpError::BAD_REQUEST.into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn forward(requests: &RequestContext, tag: Tag, query: &Query, request: Request) -> Response {
    let Some(peers) = &requests.peers else { return HttpError::UNKNOWN_SESSION.into_response() };
    let answer = if query.transport() != Some(TransportKind::WebSocket) {
        let (head, body) = request.into_parts();
        match requests.bodies.forward(body).await {
            Ok(body) => peers.poll(tag, Request::from_parts(head, body)).await,
            Err(refused) => return refused,
        }
    } else if upgrade::is_upgrade(&request) {
        peers.upgrade(tag, request).await
    } else {
        return HttpError::BAD_REQUEST.into_response();
    };
    answer.unwrap_or_else(|| HttpError::UNKNOWN_SESSION.into_response())
}

/// Answers a request that another gateway forwarded. It is never forwarded again.
pub(crate) async fn forwarded(State(requests): State<Arc<RequestContext>>, request: Request) -> Response {
    let query = Query::parse(request.uri());
    match peer_of(&requests, &query) {
        Ok(None) if query.sid.is_some() => serve_local(&requests, &query, request).await,
        Ok(_) | Err(_) => HttpError::UNKNOWN_SESSION.into_response(),
    }
}

pub(crate) async fn socket_io(State(requests): State<Arc<RequestContext>>, mut request: Request) -> Response {
    let cors = match requests.origins.check(&request) {
        Ok(cors) => cors,
        Err(origin) => {
            let is_websocket = Query::parse(request.uri()).transport() == Some(TransportKind::WebSocket);
            origin.report(&requests.session.telemetry, is_websocket);
            body::drain(request.into_body()).await;
            let mut refused =
                HttpError::new(StatusCode::FORBIDDEN, 4, "this origin is not allowed").into_response();
            refused.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return refused;
        }
    };
    let reads_cookie = requests.origins.reads_cookie(&request);
    visitor::restrict(request.headers_mut(), reads_cookie);
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let query = Query::parse(request.uri());
        match peer_of(&requests, &query) {
            Ok(None) => serve_local(&requests, &query, request).await,
            Ok(Some(tag)) => forward(&requests, tag, &query, request).await,
            Err(malformed) => {
                body::drain(request.into_body()).await;
                malformed.into_response()
            }
        }
    };
    let headers = response.headers_mut();
    // An answer that a cache gave to another client would be another's session.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    cors.add_to(headers);
    response
}
