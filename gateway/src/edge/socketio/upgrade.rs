//! The WebSocket handshake: axum's request in, our own stream under socketioxide. Called by
//! `http/mod.rs` once the origin was judged.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use hyper::upgrade::Upgraded;
use tower::Service as _;
use tungstenite::handshake::derive_accept_key;

use super::context::RequestContext;
use super::query::{detached, query};
use super::transport::{Conn, Control, Outbox};
use crate::edge::error::refuse;
use crate::edge::handshake_stream::{HandshakeStream, Switched};

fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
}

/// Whether a request asks for a WebSocket, as far as the head tells.
pub(super) fn is_asked(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && has(headers, &UPGRADE, "websocket")
        && has(headers, &CONNECTION, "upgrade")
        && has(headers, &SEC_WEBSOCKET_VERSION, "13")
}

/// Answers the handshake; once the bytes are ours, hands them to socketioxide.
pub(super) fn upgrade(requests: &Arc<RequestContext>, mut request: Request) -> Response {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| is_asked(&request)) else {
        return refuse(StatusCode::BAD_REQUEST, 3, "Bad request");
    };
    let protocol = match query(&request, "EIO").as_deref() {
        Some("3") => '3',
        Some("4") => '4',
        _ => return refuse(StatusCode::BAD_REQUEST, 5, "Unsupported protocol version"),
    };
    if query(&request, "sid").is_some_and(|sid| !requests.sessions.may_upgrade(&sid, protocol)) {
        return refuse(StatusCode::BAD_REQUEST, 3, "Bad request");
    }
    let accept = derive_accept_key(key.as_bytes());

    // Lives as long as the connection: nothing but what socketioxide asks of it is kept.
    let mut kept = http::Request::new(());
    let sid = query(&request, "sid").map(Cow::into_owned);
    *kept.uri_mut() = match protocol {
        // The rest of what a client says there is for Engine.IO 3, where its connect packet says nothing.
        '4' if sid.is_none() => Uri::from_static("/socket.io/?EIO=4&transport=websocket"),
        _ => detached(request.uri()),
    };

    let upgraded = hyper::upgrade::on(&mut request);
    let handing = Arc::clone(requests);
    requests.lifecycle.spawn("upgrade", async move {
        match upgraded.await {
            Ok(upgraded) => hand_over(&handing, upgraded, kept, sid.as_deref(), protocol),
            Err(error) => tracing::debug!(%error, "an upgrade was not finished"),
        }
    });
    let switched = [
        (CONNECTION, "upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, switched).into_response()
}

fn hand_over(
    requests: &RequestContext,
    upgraded: Upgraded,
    mut request: http::Request<()>,
    sid: Option<&str>,
    protocol: char,
) {
    let Some(Switched { stream, answer, early }) = HandshakeStream::leave(upgraded) else {
        tracing::error!("a connection is not the listener's own");
        return;
    };
    let outbox = Outbox::new(stream, requests.bounds, requests.lifecycle.clone(), requests.telemetry.clone());
    outbox.hold_first_packet(answer);
    let control = Arc::new(Control::new(Arc::new(outbox)));
    request.extensions_mut().insert(Arc::clone(&control));
    match sid {
        Some(sid) => requests.sessions.upgraded(sid, &control),
        // Engine.IO 3 has no connect packet for `/`: the connection itself is one.
        None if protocol == '3' => control.connect_read(),
        None => {}
    }
    let conn = Conn::new(&early, control);
    // The answer is ready at once: socketioxide serves the connection in a task of its own.
    let handed = requests.socket_io.clone().call((conn, request)).into_inner();
    if let Err(error) = handed {
        tracing::debug!(?error, "a connection was refused");
    }
}
