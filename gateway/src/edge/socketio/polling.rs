//! Long-polling: opens sessions, answers polls with what is queued for the client, and handles the packets that it
//! posts. Called by `requests.rs`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use roomcast_protocol::limits::MAX_PACKET_BYTES;
use roomcast_wire::engine::{PacketError, Version, decode_packet, decode_payload, put_payload_packet};

use super::body::{self, Posted, ReadBody};
use super::context::RequestContext;
use super::engine::{Ended, Session};
use super::long_body::LongBodyPacket;
use super::visitor;
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
    let binary = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/octet-stream"));
    let received = match requests.bodies.read(session, binary, body).await {
        Ok(Posted::Usual(read)) => receive(session, binary, &read).await,
        Ok(Posted::Long(packets)) => receive_long(session, packets).await,
        Err(refused) => return refused,
    };
    let Err(ended) = received else { return text("ok".to_owned()) };
    session.close(ended);
    match ended {
        // A client that closes its session is not told that it did so wrongly.
        Ended::TransportClose => text("ok".to_owned()),
        Ended::TooLong => {
            HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, 3, "the payload is too large").into_response()
        }
        _ => HttpError::BAD_REQUEST.into_response(),
    }
}

/// Handles the packets of a body.
async fn receive(session: &Arc<Session>, binary: bool, read: &ReadBody) -> Result<(), Ended> {
    let mut packets = Vec::new();
    let decoded = decode_payload(session.version(), binary, &read.bytes, |packet| {
        packets.push(packet);
        true
    });
    for packet in packets {
        session.pause().resumed().await;
        session.receive(packet, None)?;
    }
    decoded.map_err(|error| invalid(&error))
}

/// Handles the packets of a body that is longer than usual.
async fn receive_long(session: &Arc<Session>, packets: Vec<LongBodyPacket>) -> Result<(), Ended> {
    for packet in packets {
        session.pause().resumed().await;
        match packet {
            LongBodyPacket::Kept(bytes, is_bytes, memory) => {
                let packet = decode_packet(session.version(), is_bytes, &bytes);
                session.receive(packet.map_err(|error| invalid(&error))?, memory)?;
            }
            LongBodyPacket::Event(event, why) => event.refuse(why),
            LongBodyPacket::Attachment(length, why) => session.receive_discarded(length, why)?,
            LongBodyPacket::Invalid => return Err(Ended::BadPacket),
        }
    }
    Ok(())
}

fn invalid(error: &PacketError) -> Ended {
    tracing::debug!(%error, "a payload could not be decoded");
    Ended::BadPacket
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
