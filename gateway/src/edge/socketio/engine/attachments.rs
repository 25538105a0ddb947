//! An event whose attachments arrive after it, in packets of bytes. They are kept if the event may carry an image; of
//! others only the length is counted. Called by `session.rs`.

use std::sync::Arc;

use bytes::Bytes;
use roomcast_protocol::limits::{MAX_DISCARDED_BYTES, MAX_IMAGE_PACKET_BYTES, MAX_PACKET_BYTES};
use roomcast_wire::socket::Packet as SocketPacket;

use super::super::packet::{NotKept, Packet, Payload, first_event_name};
use super::ended::Ended;
use super::long_memory::{Held, LongPackets};
use super::socket::Socket;

/// The most attachments of one event.
const MAX_ATTACHMENTS: usize = 10;

pub(super) struct PartialEvent {
    socket: Arc<dyn Socket>,
    data: String,
    ack_id: Option<u64>,
    missing: usize,
    /// Bytes of those that have arrived.
    length: usize,
    attachments: Attachments,
}

/// What has arrived.
enum Attachments {
    /// The event has no use for them.
    Unused,
    Kept(Vec<Bytes>, Option<Held>),
    NotKept(NotKept),
}

impl PartialEvent {
    /// None if it announces too many attachments.
    pub(super) fn new(socket: Arc<dyn Socket>, packet: SocketPacket<'_>) -> Option<Self> {
        let missing = packet.attachments;
        let is_used = first_event_name(packet.data).is_some_and(|event| socket.may_be_long(event));
        let attachments = if is_used { Attachments::Kept(Vec::new(), None) } else { Attachments::Unused };
        (missing <= MAX_ATTACHMENTS).then(|| Self {
            socket,
            data: packet.data.to_owned(),
            ack_id: packet.id,
            missing,
            length: 0,
            attachments,
        })
    }

    /// Whether its attachments may be longer than usual packets.
    pub(super) fn may_be_long(&self) -> bool {
        !matches!(self.attachments, Attachments::Unused)
    }

    /// Whether it holds memory of long packets.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.attachments, Attachments::Kept(_, Some(_)))
    }

    /// A long attachment begins; returns whether it is to be kept.
    pub(super) fn begin_long(&mut self, memory: &LongPackets) -> bool {
        if let Attachments::Kept(_, held @ None) = &mut self.attachments {
            *held = memory.hold();
            if held.is_none() {
                self.attachments = Attachments::NotKept(NotKept::NoMemory);
            }
        }
        self.is_held()
    }

    /// The next attachment has arrived. `memory` is what holds it, if it is long and came by long-polling.
    ///
    /// # Errors
    /// All attachments together are too long, whatever the event is.
    pub(super) fn add(
        &mut self,
        bytes: &[u8],
        memory: Option<Held>,
        long_packets: &LongPackets,
    ) -> Result<(), Ended> {
        self.count(bytes.len())?;
        if let (Attachments::Kept(_, held @ None), Some(memory)) = (&mut self.attachments, memory) {
            *held = Some(memory);
        }
        if self.length > MAX_PACKET_BYTES {
            self.begin_long(long_packets);
        }
        if let Attachments::Kept(kept, _) = &mut self.attachments {
            kept.push(Bytes::copy_from_slice(bytes));
        }
        Ok(())
    }

    /// The next attachment has arrived, with this length, and was not kept.
    ///
    /// # Errors
    /// All attachments together are too long, whatever the event is.
    pub(super) fn add_discarded(&mut self, length: usize, why: NotKept) -> Result<(), Ended> {
        self.count(length)?;
        if self.may_be_long() && !matches!(self.attachments, Attachments::NotKept(_)) {
            self.attachments = Attachments::NotKept(why);
        }
        Ok(())
    }

    fn count(&mut self, length: usize) -> Result<(), Ended> {
        self.length += length;
        self.missing -= 1;
        match self.attachments {
            Attachments::Unused if self.length > MAX_PACKET_BYTES => Err(Ended::BadPacket),
            Attachments::Unused => Ok(()),
            _ if self.length > MAX_DISCARDED_BYTES => Err(Ended::TooLong),
            Attachments::Kept(..) if self.length > MAX_IMAGE_PACKET_BYTES => {
                self.attachments = Attachments::NotKept(NotKept::TooLong);
                Ok(())
            }
            Attachments::Kept(..) | Attachments::NotKept(_) => Ok(()),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// The whole event; none if it is no event.
    pub(super) fn complete(self) -> Option<(Arc<dyn Socket>, Packet)> {
        let (kept, held, not_kept) = match self.attachments {
            Attachments::Unused => (Vec::new(), None, None),
            Attachments::Kept(kept, held) => (kept, held, None),
            Attachments::NotKept(why) => (Vec::new(), None, Some(why)),
        };
        let mut packet = Packet::decode(&self.data, self.ack_id, Some(kept))?;
        packet.held = held;
        if let Some(why) = not_kept {
            packet.payload = Payload::NotKept(why);
        }
        Some((self.socket, packet))
    }
}
