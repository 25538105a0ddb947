//! Long-polling: requests go to socketioxide, but for what it cannot be trusted with: a session that was
//! cut, and events in the same request as the connect packet they need. Called by `requests.rs`.

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

/// Between two packets of one request, since Engine.IO 4.
const SEPARATOR: u8 = 0x1e;
/// How long events wait for the connect packet in front of them.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// An open packet is far smaller.
const OPEN_BYTES: usize = 4_096;

pub(super) async fn poll(requests: &RequestContext, request: Request) -> Response {
    let Some(sid) = query(&request, "sid").map(Cow::into_owned) else {
        return begin(requests, request).await;
    };
    if requests.sessions.is_refused(&sid) {
        return unknown_session();
    }
    let response = if request.method() == Method::POST {
        post(requests, &sid, request).await
    } else {
        pass(requests, request).await
    };
    // Cut while the poll was waiting: what it would carry must not be the last word.
    if requests.sessions.is_refused(&sid) { unknown_session() } else { response }
}

async fn pass(requests: &RequestContext, request: Request) -> Response {
    match requests.socket_io.clone().oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// A new session: its id and protocol are noted for the upgrade that will follow, and the client is told
/// an id that leads back here.
async fn begin(requests: &RequestContext, mut request: Request) -> Response {
    let protocol = query(&request, "EIO").and_then(|protocol| protocol.chars().next());
    // Kept as long as the session lives: nothing but what socketioxide asks of it.
    *request.uri_mut() = detached(request.uri());
    request.headers_mut().clear();
    let response = pass(requests, request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(mut body) = to_bytes(body, OPEN_BYTES).await else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, 3, "Bad request");
    };
    if let (Some((open, sid)), Some(protocol)) = (opened(&body), protocol) {
        requests.sessions.began(sid, protocol);
        if let Some(peers) = &requests.peers {
            body = sid::mark(open, sid, peers.tag()).into();
            head.headers.remove(CONTENT_LENGTH);
        }
    }
    Response::from_parts(head, Body::from(body))
}

/// An open packet, and the session id in it.
fn opened(body: &Bytes) -> Option<(&str, &str)> {
    let open = std::str::from_utf8(body).ok()?;
    let (_, rest) = open.split_once(r#""sid":""#)?;
    rest.split_once('"').map(|(sid, _)| (open, sid))
}

/// A request's head, and all of its body.
pub(super) async fn whole(request: Request) -> Result<(Parts, Bytes), Response> {
    let (mut head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_PACKET_BYTES).await else {
        return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, 3, "the payload is too large"));
    };
    // It says so itself.
    head.headers.remove(CONTENT_LENGTH);
    Ok((head, body))
}

/// Hands the packets up; those behind a connect packet once it is answered.
async fn post(requests: &RequestContext, sid: &str, request: Request) -> Response {
    let (head, mut rest) = match whole(request).await {
        Ok(whole) => whole,
        Err(refused) => return refused,
    };
    while let Some(end) = connect_ends(&rest) {
        let first = rest.split_to(end);
        // The separator itself.
        rest.advance(1);
        let answered = requests.sessions.connecting(sid);
        let response = pass(requests, Request::from_parts(head.clone(), Body::from(first))).await;
        if response.status() != StatusCode::OK {
            return response;
        }
        // Not answered in time, or never to be: what follows is for socketioxide to judge.
        if tokio::time::timeout(CONNECT_WAIT, answered).await.is_err() {
            tracing::debug!("a connect packet was not answered in time");
        }
    }
    pass(requests, Request::from_parts(head, Body::from(rest))).await
}

/// Where the first connect packet ends, if other packets follow it.
fn connect_ends(body: &[u8]) -> Option<usize> {
    let mut begin = 0;
    for (at, byte) in body.iter().enumerate() {
        if *byte == SEPARATOR {
            if is_connect(body.get(begin..at)?) {
                return Some(at);
            }
            begin = at + 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_cut_behind_a_connect_packet_that_others_follow() {
        assert_eq!(connect_ends(b"40{}\x1e42[\"join\"]"), Some(4));
        assert_eq!(connect_ends(b"3\x1e40/native,{}\x1e42[1]"), Some(14));
        for whole in [&b"40{}"[..], b"", b"42[1]\x1e42[2]", b"42[1]\x1e40{}", b"40/x,\x1e42[1]"] {
            assert_eq!(connect_ends(whole), None, "{whole:?}");
        }
    }

    #[test]
    fn the_session_is_found_in_an_open_packet() {
        let four = Bytes::from_static(br#"0{"sid":"abc","upgrades":[]}"#);
        let three = Bytes::from_static(br#"85:0{"sid":"abc","upgrades":[]}"#);
        for open in [four, three] {
            assert_eq!(opened(&open).map(|(_, sid)| sid), Some("abc"));
        }
        assert_eq!(opened(&Bytes::from_static(b"ok")), None);
    }
}
