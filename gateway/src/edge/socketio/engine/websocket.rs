//! Reads one WebSocket: decodes its frames and passes the packets in them to the session, until one of the two ends.
//! Called by `upgrade.rs`, in a task for each WebSocket.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roomcast_protocol::limits::{MAX_DISCARDED_BYTES, MAX_IMAGE_PACKET_BYTES, MAX_PACKET_BYTES};
use roomcast_wire::engine;
use roomcast_wire::websocket::{Decoder, FrameError, Limits, Message};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::super::packet::NotKept;
use super::ended::Ended;
use super::long_memory::Held;
use super::long_packets::LongEvent;
use super::session::Session;

/// Bytes read at once.
const CHUNK: usize = 4 * 1024;
/// The most frames of one message.
const MAX_FRAMES: usize = 256;
/// How long a client may take to close its side after a close frame, and how much of what it sends until then is read:
/// closing a connection with unread bytes could destroy the close frame on its way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const CLOSE_BYTES: usize = 2 * MAX_DISCARDED_BYTES;

/// The end of a WebSocket.
enum End {
    /// The stream ended, or failed.
    Stream,
    /// The session is to be closed without a close frame, which not all clients notice.
    Session(Ended),
    /// A close frame is to be sent, with this status.
    CloseFrame(Ended, Option<u16>),
}

/// A decoder for the WebSocket of a client.
pub(crate) fn decoder() -> Decoder {
    Decoder::new(Limits {
        message: MAX_PACKET_BYTES,
        kept: MAX_IMAGE_PACKET_BYTES,
        discarded: MAX_DISCARDED_BYTES,
        frames: MAX_FRAMES,
    })
}

/// What has been read of a WebSocket and not handled.
struct Reader {
    decoder: Decoder,
    /// The event whose long packet is arriving, and the memory for it, if there is any.
    long: Option<(LongEvent, Option<Held>)>,
}

/// Reads until the session ends. `read_ahead` are bytes that have been read already, before `stream` is read.
pub(crate) async fn serve(session: Arc<Session>, decoder: Decoder, read_ahead: Bytes) {
    let Some(stream) = session.outbox().stream() else { return };
    let mut reader = Reader { decoder, long: None };
    let mut first = read_ahead.to_vec();
    let end = match reader.receive(&session, &mut first) {
        Err(end) => end,
        Ok(()) => read(&session, stream, &mut reader).await,
    };
    drop(reader);
    drop(first);
    match end {
        End::Stream => session.close(Ended::TransportClose),
        End::Session(ended) => session.close(ended),
        End::CloseFrame(ended, status) => {
            session.close_with_status(ended, status);
            tokio::time::timeout(CLOSE_TIMEOUT, drain(stream)).await.unwrap_or_default();
            session.outbox().close();
        }
    }
}

async fn read(session: &Arc<Session>, stream: &TcpStream, reader: &mut Reader) -> End {
    loop {
        session.pause().resumed().await;
        if stream.readable().await.is_err() {
            return End::Stream;
        }
        if let Err(end) = read_once(session, stream, reader) {
            return end;
        }
        // A stream that is always readable must yield to other tasks.
        tokio::task::consume_budget().await;
    }
}

/// Reads once. The buffer is on the stack of a function that never waits, so that an idle connection has none.
fn read_once(session: &Arc<Session>, stream: &TcpStream, reader: &mut Reader) -> Result<(), End> {
    let mut chunk = [0; CHUNK];
    let mut read = None;
    let tried = stream.try_io(Interest::READABLE, || {
        let count = (&*socket2::SockRef::from(stream)).read(&mut chunk)?;
        read = Some(count);
        // A short read means that the socket is empty: clearing the readiness saves a system call that would only
        // return `WouldBlock`. (tokio's own reads do the same.)
        if 0 < count && count < CHUNK { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match (tried, read) {
        (_, Some(0)) => Err(End::Stream),
        (_, Some(count)) => {
            session.outbox().telemetry().wire.read(count);
            reader.receive(session, chunk.get_mut(..count).unwrap_or_default())
        }
        (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        (_, None) => Err(End::Stream),
    }
}

impl Reader {
    /// Decodes bytes of the client and handles the packets in them.
    fn receive(&mut self, session: &Arc<Session>, mut bytes: &mut [u8]) -> Result<(), End> {
        loop {
            let decoded = self.decoder.decode(&mut bytes);
            let message =
                decoded.map_err(|error| End::CloseFrame(Ended::TransportError, Some(error.status())))?;
            let packet = match message {
                None => return Ok(()),
                Some(Message::Text(text)) => engine::decode_text(session.version(), text),
                Some(Message::Binary(bytes)) => engine::decode_binary(session.version(), bytes),
                Some(Message::LongText(beginning)) => {
                    let event = LongEvent::parse(session, beginning).ok_or_else(too_long)?;
                    let held = session.hold_long();
                    if held.is_some() {
                        self.decoder.keep()
                    } else {
                        self.decoder.discard()
                    }
                    self.long = Some((event, held));
                    continue;
                }
                Some(Message::LongBinary) => {
                    if !session.expects_long_attachment() {
                        return Err(too_long());
                    }
                    if session.begin_long_attachment() {
                        self.decoder.keep()
                    } else {
                        self.decoder.discard()
                    }
                    continue;
                }
                Some(Message::Discarded(length)) => {
                    match self.long.take() {
                        Some((event, held)) => {
                            session.long_ended();
                            event.refuse(if held.is_some() { NotKept::TooLong } else { NotKept::NoMemory });
                        }
                        None => session.receive_discarded(length, NotKept::TooLong).map_err(end)?,
                    }
                    continue;
                }
                Some(Message::Ping(payload)) => {
                    session.outbox().pong(payload);
                    continue;
                }
                Some(Message::Pong) => continue,
                // Answered with the same status (RFC 6455, section 5.5.1).
                Some(Message::Close(status)) => {
                    return Err(End::CloseFrame(Ended::TransportClose, status));
                }
            };
            let memory = self.long.take().and_then(|(_, held)| held);
            let received =
                packet.map_err(|_| Ended::BadPacket).and_then(|packet| session.receive(packet, memory));
            received.map_err(end)?;
        }
    }
}

/// A message is longer than it may be.
fn too_long() -> End {
    end(Ended::TooLong)
}

/// How a WebSocket ends whose session must be closed.
fn end(ended: Ended) -> End {
    match ended {
        Ended::TooLong => End::CloseFrame(ended, Some(FrameError::TooLong.status())),
        _ => End::Session(ended),
    }
}

/// Reads and drops what the client still sends, until it closes its side.
async fn drain(stream: &TcpStream) {
    let mut left = CLOSE_BYTES;
    while left > 0 && stream.readable().await.is_ok() {
        match drain_once(stream) {
            Ok(0) => return,
            Ok(read) => left = left.saturating_sub(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn drain_once(stream: &TcpStream) -> io::Result<usize> {
    stream.try_read(&mut [0; CHUNK])
}
