//! Events whose packets are longer than others because they carry an image, decided by their first bytes. Called by
//! `websocket.rs` and `../long_body.rs` before they keep one; calls the sockets of the session.

use std::sync::Arc;

use roomcast_wire::socket::{Kind, Packet as SocketPacket};

use super::super::packet::{NotKept, Packet, Payload, first_event_name};
use super::session::Session;
use super::socket::Socket;

/// An event whose packet is longer than usual, as far as its first bytes say.
pub(crate) struct LongEvent {
    socket: Arc<dyn Socket>,
    event: String,
    ack_id: Option<u64>,
}

impl LongEvent {
    /// Parses the first bytes of a packet of text. None if no packet that begins so may be long.
    pub(crate) fn parse(session: &Session, beginning: &[u8]) -> Option<Self> {
        let (socket, event, packet) = parse(session, beginning)?;
        (packet.attachments == 0).then(|| Self { socket, event: event.to_owned(), ack_id: packet.id })
    }

    /// Answers it with an error, in the order of the client's events.
    pub(crate) fn refuse(self, why: NotKept) {
        let Self { socket, event, ack_id } = self;
        socket.receive(Packet { event, payload: Payload::NotKept(why), ack_id, held: None });
    }
}

/// Whether a packet of text announces attachments that may be long.
pub(crate) fn announces_long_attachments(session: &Session, packet: &[u8]) -> bool {
    parse(session, packet).is_some_and(|(_, _, packet)| packet.attachments > 0)
}

fn parse<'a>(session: &Session, beginning: &'a [u8]) -> Option<(Arc<dyn Socket>, &'a str, SocketPacket<'a>)> {
    let valid = beginning.utf8_chunks().next()?.valid();
    let packet = SocketPacket::decode(valid.strip_prefix('4')?).ok()?;
    if packet.kind != Kind::Event {
        return None;
    }
    let socket = session.socket_at(packet.namespace)?;
    let event = first_event_name(packet.data)?;
    socket.may_be_long(event).then_some((socket, event, packet))
}
