//! The WebSocket handshake: answers the upgrade request and passes the connection to socketioxide as a [`Conn`]. Called
//! by `requests.rs` after the origin check.

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
use crate::edge::handshake_stream::{HandshakeStream, UpgradedStream};

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// Whether a request's head asks for a WebSocket.
pub(super) fn is_upgrade(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && has_token(headers, &UPGRADE, "websocket")
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &SEC_WEBSOCKET_VERSION, "13")
}

/// Answers the handshake and, once hyper has released the connection, passes it to socketioxide.
pub(super) fn upgrade(requests: &Arc<RequestContext>, mut request: Request) -> Response {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| is_upgrade(&request)) else {
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

    // socketioxide keeps this request as long as the connection lives, so it holds only what socketioxide reads.
    let mut request_for_socketioxide = http::Request::new(());
    let sid = query(&request, "sid").map(Cow::into_owned);
    *request_for_socketioxide.uri_mut() = match protocol {
        // Other query parameters are the auth of Engine.IO 3 clients, whose connect packet carries none.
        '4' if sid.is_none() => Uri::from_static("/socket.io/?EIO=4&transport=websocket"),
        _ => detached(request.uri()),
    };

    let upgraded = hyper::upgrade::on(&mut request);
    let context = Arc::clone(requests);
    requests.lifecycle.spawn("upgrade", async move {
        match upgraded.await {
            Ok(upgraded) => {
                serve_upgraded(&context, upgraded, request_for_socketioxide, sid.as_deref(), protocol)
            }
            Err(error) => tracing::debug!(%error, "upgrade failed"),
        }
    });
    let headers = [
        (CONNECTION, "upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn serve_upgraded(
    requests: &RequestContext,
    upgraded: Upgraded,
    mut request: http::Request<()>,
    sid: Option<&str>,
    protocol: char,
) {
    let Some(UpgradedStream { stream, response, read_ahead }) = HandshakeStream::from_upgraded(upgraded)
    else {
        tracing::error!("upgraded connection was not accepted by this listener");
        return;
    };
    let outbox = Outbox::new(stream, requests.bounds, requests.lifecycle.clone(), requests.telemetry.clone());
    outbox.hold_first_packet(response);
    let control = Arc::new(Control::new(Arc::new(outbox)));
    request.extensions_mut().insert(Arc::clone(&control));
    match sid {
        Some(sid) => requests.sessions.upgraded(sid, &control),
        // Engine.IO 3 has no connect packet for `/`: the connection itself is one.
        None if protocol == '3' => control.connect_started(),
        None => {}
    }
    let conn = Conn::new(&read_ahead, control);
    // The future is ready at once: socketioxide serves the connection in a task of its own.
    let accepted = requests.socket_io.clone().call((conn, request)).into_inner();
    if let Err(error) = accepted {
        tracing::debug!(?error, "socketioxide refused a connection");
    }
}
