//! An event whose attachments arrive after it, in packets of bytes. Called by `session.rs`.

use std::sync::Arc;

use roomcast_protocol::limits::MAX_PACKET_BYTES;
use roomcast_wire::socket::Packet as SocketPacket;

use super::super::packet::Packet;
use super::socket::Socket;

/// The most attachments of one event.
const MAX_ATTACHMENTS: usize = 10;

pub(super) struct PartialEvent {
    socket: Arc<dyn Socket>,
    data: String,
    ack_id: Option<u64>,
    missing: usize,
    /// Bytes of those that have arrived. No event of ours has attachments, so they are not kept.
    length: usize,
}

/// The attachments are too long together.
#[derive(Debug)]
pub(super) struct TooLong;

impl PartialEvent {
    /// None if it announces too many attachments.
    pub(super) fn new(socket: Arc<dyn Socket>, packet: SocketPacket<'_>) -> Option<Self> {
        let missing = packet.attachments;
        (missing <= MAX_ATTACHMENTS).then(|| Self {
            socket,
            data: packet.data.to_owned(),
            ack_id: packet.id,
            missing,
            length: 0,
        })
    }

    /// The next attachment has arrived, with this length in bytes.
    ///
    /// # Errors
    /// All attachments together are longer than a packet may be.
    pub(super) fn add(&mut self, length: usize) -> Result<(), TooLong> {
        self.length += length;
        self.missing -= 1;
        if self.length > MAX_PACKET_BYTES { Err(TooLong) } else { Ok(()) }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// The whole event; none if it is no event.
    pub(super) fn complete(self) -> Option<(Arc<dyn Socket>, Packet)> {
        let packet = Packet::decode(&self.data, self.ack_id, true)?;
        Some((self.socket, packet))
    }
}
