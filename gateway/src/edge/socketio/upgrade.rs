//! WebSocket upgrades: answers the handshake and, once hyper has released the connection, opens a session on it, or
//! moves the session that the request names from long-polling to it. Called by `requests.rs` after the origin check.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use roomcast_store::Secret;
use roomcast_wire::engine::{Packet, Version, decode_text};
use roomcast_wire::websocket::{Decoder, Message};
use tungstenite::handshake::derive_accept_key;

use super::engine::{Session, SessionConfig, frame, websocket};
use super::visitor;
use crate::edge::client_stream::ClientStream;
use crate::edge::error::HttpError;
use crate::edge::handshake_stream::{HandshakeStream, UpgradedStream};

/// Time allowed from the handshake of an upgrade to its last packet, as in the reference.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes read at once during an upgrade.
const CHUNK: usize = 4 * 1024;

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

/// Answers the handshake and serves the WebSocket in a task. `session` is the one to be moved to it, if any.
pub(super) fn upgrade(
    config: &Arc<SessionConfig>,
    mut request: Request<Body>,
    version: Version,
    session: Option<Arc<Session>>,
) -> Response {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| is_upgrade(&request)) else {
        return HttpError::BAD_REQUEST.into_response();
    };
    let accept = derive_accept_key(key.as_bytes());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let visitor = visitor::secret(request.headers());
    let upgraded = hyper::upgrade::on(&mut request);
    let own = Arc::clone(config);
    config.lifecycle.spawn_until_hard("websocket", async move {
        match upgraded.await.map(HandshakeStream::from_upgraded) {
            // Boxed: the moves are rare, and the task of a session lives long.
            Ok(Some(stream)) => match session {
                Some(session) => Box::pin(move_session(session, stream)).await,
                None => open_session(&own, stream, version, (&query, visitor)).await,
            },
            Ok(None) => tracing::error!("upgraded connection was not accepted by this listener"),
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

async fn open_session(
    config: &Arc<SessionConfig>,
    stream: UpgradedStream,
    version: Version,
    (query, visitor): (&str, Option<Secret>),
) {
    let UpgradedStream { stream, response, read_ahead } = stream;
    let session = Session::open(config, version, query, Some(stream));
    session.set_visitor(|| visitor);
    let open = frame::text(&[&session.open_packet(&[])]);
    // In one write; a failure is noticed by the first read.
    session.outbox().begin([response, open]).unwrap_or_default();
    session.begin();
    websocket::serve(session, websocket::decoder(), read_ahead).await;
}

/// Moves a session to the WebSocket, once the client has probed it and says so. If it does not, the session goes on
/// polling.
async fn move_session(session: Arc<Session>, stream: UpgradedStream) {
    let UpgradedStream { stream, response, read_ahead } = stream;
    let Some(probe) = session.requests().begin_probe() else { return };
    let mut decoder = websocket::decoder();
    let probing = async {
        write(&stream, &response).await?;
        let (mut rest, mut probed) = (read_ahead, false);
        loop {
            let (packet, after) = next_packet(&stream, &mut decoder, session.version(), rest).await?;
            rest = after;
            match packet {
                UpgradePacket::Probe => write(&stream, &frame::text(&["3probe"])).await?,
                UpgradePacket::Upgrade if probed => return Some(rest),
                UpgradePacket::Upgrade => return None,
            }
            probed = true;
            probe.answered();
        }
    };
    let rest = tokio::select! {
        rest = tokio::time::timeout(UPGRADE_TIMEOUT, probing) => rest.ok().flatten(),
        () = session.pause().ended() => None,
    };
    drop(probe);
    match rest {
        Some(rest) if session.move_to(stream) => websocket::serve(session, decoder, rest).await,
        _ => tracing::debug!("a client did not upgrade to the WebSocket that it opened"),
    }
}

async fn write(stream: &ClientStream, mut bytes: &[u8]) -> Option<()> {
    let stream = stream.stream();
    while !bytes.is_empty() {
        stream.writable().await.ok()?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// The packets of an upgrade.
enum UpgradePacket {
    Probe,
    Upgrade,
}

/// Waits for the next packet and returns it with the bytes that were read behind it; none if another one came.
async fn next_packet(
    stream: &ClientStream,
    decoder: &mut Decoder,
    version: Version,
    mut read: Bytes,
) -> Option<(UpgradePacket, Bytes)> {
    loop {
        let mut bytes = read.to_vec();
        let mut input = &mut bytes[..];
        let packet = match decoder.decode(&mut input).ok()? {
            Some(Message::Text(text)) => match decode_text(version, text) {
                Ok(Packet::Ping("probe")) => Some(UpgradePacket::Probe),
                Ok(Packet::Upgrade) => Some(UpgradePacket::Upgrade),
                _ => return None,
            },
            Some(
                Message::Binary(_)
                | Message::LongText(_)
                | Message::LongBinary
                | Message::Discarded(_)
                | Message::Close(_),
            ) => return None,
            Some(Message::Ping(_) | Message::Pong) | None => None,
        };
        let rest = Bytes::copy_from_slice(input);
        match packet {
            Some(packet) => return Some((packet, rest)),
            None if rest.is_empty() => read = read_more(stream).await?,
            None => read = rest,
        }
    }
}

async fn read_more(stream: &ClientStream) -> Option<Bytes> {
    loop {
        stream.stream().readable().await.ok()?;
        match read_once(stream) {
            Ok(bytes) if bytes.is_empty() => return None,
            Ok(bytes) => return Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

/// The buffer is on the stack of a function that never waits.
fn read_once(stream: &ClientStream) -> std::io::Result<Bytes> {
    let mut chunk = [0; CHUNK];
    let read = stream.stream().try_read(&mut chunk)?;
    Ok(Bytes::copy_from_slice(chunk.get(..read).unwrap_or_default()))
}
