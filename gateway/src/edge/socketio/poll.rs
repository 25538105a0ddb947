//! Long-polling: requests go to socketioxide, with two exceptions that it does not handle: sessions that were closed
//! by the gateway, and events in the same request as the connect packet that they depend on. Called by `requests.rs`.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use bytes::Buf as _;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Method, StatusCode};
use roomcast_protocol::limits::MAX_PACKET_BYTES;
use tower::ServiceExt as _;

use super::context::RequestContext;
use super::query::{detached, query};
use super::transport::is_connect;
use crate::edge::error::{refuse, unknown_session};
use crate::edge::peer::sid;

/// Separates the packets of one request in Engine.IO 4.
const SEPARATOR: u8 = 0x1e;
/// How long events wait for the answer to the connect packet before them.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Limit for reading the open packet, in bytes; it is far smaller.
const MAX_OPEN_BYTES: usize = 4_096;

pub(super) async fn poll(requests: &RequestContext, request: Request) -> Response {
    let Some(sid) = query(&request, "sid").map(Cow::into_owned) else {
        return open_session(requests, request).await;
    };
    if requests.sessions.is_closed(&sid) {
        return unknown_session();
    }
    let response = if request.method() == Method::POST {
        post(requests, &sid, request).await
    } else {
        call_socketioxide(requests, request).await
    };
    // The session may have been closed while the poll was waiting: the client must learn that instead.
    if requests.sessions.is_closed(&sid) { unknown_session() } else { response }
}

async fn call_socketioxide(requests: &RequestContext, request: Request) -> Response {
    match requests.socket_io.clone().oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// Opens a session: records its id and protocol for the upgrade that may follow, and sends the client an id tagged
/// with this node.
async fn open_session(requests: &RequestContext, mut request: Request) -> Response {
    let protocol = query(&request, "EIO").and_then(|protocol| protocol.chars().next());
    // socketioxide keeps the request as long as the session lives, so only what it reads is passed on.
    *request.uri_mut() = detached(request.uri());
    request.headers_mut().clear();
    let response = call_socketioxide(requests, request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(mut body) = to_bytes(body, MAX_OPEN_BYTES).await else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, 3, "Bad request");
    };
    if let (Some((open, sid)), Some(protocol)) = (parse_open_packet(&body), protocol) {
        requests.sessions.opened(sid, protocol);
        if let Some(peers) = &requests.peers {
            body = sid::add_tag(open, sid, peers.tag()).into();
            head.headers.remove(CONTENT_LENGTH);
        }
    }
    Response::from_parts(head, Body::from(body))
}

/// An open packet and the session id in it.
fn parse_open_packet(body: &Bytes) -> Option<(&str, &str)> {
    let open = std::str::from_utf8(body).ok()?;
    let (_, rest) = open.split_once(r#""sid":""#)?;
    rest.split_once('"').map(|(sid, _)| (open, sid))
}

/// Reads a request's whole body.
pub(super) async fn read_body(request: Request) -> Result<(Parts, Bytes), Response> {
    let (mut head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_PACKET_BYTES).await else {
        return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, 3, "the payload is too large"));
    };
    // The new body has its own length.
    head.headers.remove(CONTENT_LENGTH);
    Ok((head, body))
}

/// Passes the packets of a POST to socketioxide; those after a connect packet once that is answered.
async fn post(requests: &RequestContext, sid: &str, request: Request) -> Response {
    let (head, mut rest) = match read_body(request).await {
        Ok(parts) => parts,
        Err(refused) => return refused,
    };
    while let Some(end) = connect_packet_end(&rest) {
        let first = rest.split_to(end);
        // Skips the separator.
        rest.advance(1);
        let answered = requests.sessions.connecting(sid);
        let response =
            call_socketioxide(requests, Request::from_parts(head.clone(), Body::from(first))).await;
        if response.status() != StatusCode::OK {
            return response;
        }
        // Without an answer in time, socketioxide decides about the packets that follow.
        if tokio::time::timeout(CONNECT_WAIT, answered).await.is_err() {
            tracing::debug!("connect packet was not answered in time");
        }
    }
    call_socketioxide(requests, Request::from_parts(head, Body::from(rest))).await
}

/// The end of the first connect packet, if other packets follow it.
fn connect_packet_end(body: &[u8]) -> Option<usize> {
    let mut start = 0;
    for (at, byte) in body.iter().enumerate() {
        if *byte == SEPARATOR {
            if is_connect(body.get(start..at)?) {
                return Some(at);
            }
            start = at + 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_split_after_a_connect_packet_that_others_follow() {
        assert_eq!(connect_packet_end(b"40{}\x1e42[\"join\"]"), Some(4));
        assert_eq!(connect_packet_end(b"3\x1e40/native,{}\x1e42[1]"), Some(14));
        for whole in [&b"40{}"[..], b"", b"42[1]\x1e42[2]", b"42[1]\x1e40{}", b"40/x,\x1e42[1]"] {
            assert_eq!(connect_packet_end(whole), None, "{whole:?}");
        }
    }

    #[test]
    fn the_session_is_found_in_an_open_packet() {
        let four = Bytes::from_static(br#"0{"sid":"abc","upgrades":[]}"#);
        let three = Bytes::from_static(br#"85:0{"sid":"abc","upgrades":[]}"#);
        for open in [four, three] {
            assert_eq!(parse_open_packet(&open).map(|(_, sid)| sid), Some("abc"));
        }
        assert_eq!(parse_open_packet(&Bytes::from_static(b"ok")), None);
    }
}
