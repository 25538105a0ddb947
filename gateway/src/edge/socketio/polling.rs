//! Long-polling: opens sessions, answers polls with what is queued for the client, and handles the packets that it
//! posts. Called by `requests.rs`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use roomcast_protocol::limits::MAX_PACKET_BYTES;
use roomcast_wire::engine::{Version, decode_payload, put_payload_packet};

use super::context::RequestContext;
use super::engine::{Ended, Session};
use super::{body, visitor};
use crate::edge::error::HttpError;

/// How long a poll waits while the client moves to a WebSocket: it upgrades once its polls have been answered.
const PROBING_POLL: Duration = Duration::from_millis(100);

/// Opens a session.
pub(super) fn open(requests: &RequestContext, version: Version, query: &str) -> Response {
    let session = Session::open(&requests.session, version, query, None);
    let open = session.open_packet(&["websocket"]);
    session.begin();
    payload(version, &open)
}

/// Answers a poll: at once if packets are queued, else when one is.
pub(super) async fn poll(session: &Arc<Session>) -> Response {
    let Some(_polling) = session.requests().begin_poll() else {
        // As in the reference: the client cannot tell any more which of its polls gets what.
        session.close(Ended::TransportError);
        return HttpError::BAD_REQUEST.into_response();
    };
    let version = session.version();
    let polled = async {
        match session.outbox().poll(version, MAX_PACKET_BYTES).await {
            Some(packets) => text(packets),
            None => HttpError::UNKNOWN_SESSION.into_response(),
        }
    };
    let probing = async {
        session.requests().probed().await;
        tokio::time::sleep(PROBING_POLL).await;
    };
    tokio::select! {
        biased;
        response = polled => response,
        () = probing => payload(version, "6"),
    }
}

/// Handles the packets of a POST.
pub(super) async fn post(
    requests: &RequestContext,
    session: &Arc<Session>,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    let Some(_posting) = session.requests().begin_post() else {
        body::drain(body).await;
        session.close(Ended::TransportError);
        return HttpError::BAD_REQUEST.into_response();
    };
    session.set_visitor(|| visitor::secret(headers));
    let read = match requests.bodies.read(body).await {
        Ok(read) => read,
        Err(refused) => return refused,
    };
    let binary = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/octet-stream"));
    let mut packets = Vec::new();
    let decoded = decode_payload(session.version(), binary, &read.bytes, |packet| {
        packets.push(packet);
        true
    });
    for packet in packets {
        session.pause().resumed().await;
        if let Err(ended) = session.receive(packet) {
            session.close(ended);
            // A client that closes its session is not told that it did so wrongly.
            return if ended == Ended::TransportClose {
                text("ok".to_owned())
            } else {
                HttpError::BAD_REQUEST.into_response()
            };
        }
    }
    match decoded {
        Ok(()) => text("ok".to_owned()),
        Err(error) => {
            tracing::debug!(%error, "a payload could not be decoded");
            session.close(Ended::BadPacket);
            HttpError::BAD_REQUEST.into_response()
        }
    }
}

/// The answer of one packet.
fn payload(version: Version, packet: &str) -> Response {
    let mut out = String::new();
    put_payload_packet(version, &mut out, packet);
    text(out)
}

fn text(body: String) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, "text/plain; charset=UTF-8")], body).into_response()
}
