//! The body of a POST that is longer than usual: split into packets as it arrives, of which those that carry images may
//! be long, and those that are too long are not kept. Called by `body.rs`; asks the session.

use std::sync::Arc;

use roomcast_protocol::limits::{MAX_DISCARDED_BYTES, MAX_IMAGE_PACKET_BYTES, MAX_PACKET_BYTES};
use roomcast_wire::engine::{Part, Splitter};

use super::engine::{Held, LongEvent, Session, announces_long_attachments};
use super::packet::NotKept;

/// How much of a packet is looked at to decide whether it may be long.
const BEGINNING: usize = 256;

/// A packet is too long that carries no image, or the whole body is.
#[derive(Debug)]
pub(super) struct TooLong;

/// A packet of a long body.
pub(super) enum LongBodyPacket {
    /// Its bytes, whether it is one of bytes, and the memory that it holds if it is long.
    Kept(Vec<u8>, bool, Option<Held>),
    /// An event that was not kept.
    Event(LongEvent, NotKept),
    /// An attachment that was not kept, with its length.
    Attachment(usize, NotKept),
    /// What follows cannot be decoded.
    Invalid,
}

/// A long packet that is arriving.
struct Long {
    /// The event; none if it is an attachment.
    event: Option<LongEvent>,
    /// The memory for it, or why it is not kept.
    held: Result<Held, NotKept>,
}

/// A body that is being read.
pub(super) struct LongBody<'a> {
    session: &'a Arc<Session>,
    splitter: Splitter,
    packets: Vec<LongBodyPacket>,
    /// What is kept of the present packet, and its length so far.
    present: Vec<u8>,
    length: usize,
    long: Option<Long>,
    /// Bytes of the packets of usual length.
    usual: usize,
    total: usize,
    /// An event was announced whose attachments may be long.
    expects_attachment: bool,
    invalid: bool,
}

impl<'a> LongBody<'a> {
    pub(super) fn new(session: &'a Arc<Session>, binary: bool) -> Self {
        Self {
            session,
            splitter: Splitter::new(session.version(), binary),
            packets: Vec::new(),
            present: Vec::new(),
            length: 0,
            long: None,
            usual: 0,
            total: 0,
            expects_attachment: session.expects_long_attachment(),
            invalid: false,
        }
    }

    /// A chunk of the body has arrived.
    ///
    /// # Errors
    /// A packet is too long that carries no image, or the whole body is.
    pub(super) fn feed(&mut self, mut chunk: &[u8]) -> Result<(), TooLong> {
        self.total += chunk.len();
        if self.total > MAX_DISCARDED_BYTES {
            return Err(TooLong);
        }
        while !self.invalid {
            match self.splitter.next(&mut chunk) {
                Ok(Some(Part::Bytes(bytes))) => self.add(bytes)?,
                Ok(Some(Part::End)) => self.end()?,
                Ok(None) => break,
                Err(_) => self.invalid = true,
            }
        }
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        self.length += bytes.len();
        if self.length > MAX_PACKET_BYTES && self.long.is_none() {
            self.long = Some(self.begin_long(bytes)?);
        }
        if let Some(long) = &mut self.long {
            if long.held.is_ok() && self.length > MAX_IMAGE_PACKET_BYTES {
                long.held = Err(NotKept::TooLong);
            }
            if long.held.is_err() {
                self.present = Vec::new();
                return Ok(());
            }
        }
        self.present.extend_from_slice(bytes);
        Ok(())
    }

    /// The present packet is longer than usual: `bytes` come after what is kept of it.
    fn begin_long(&self, bytes: &[u8]) -> Result<Long, TooLong> {
        let beginning: Vec<u8> = self.present.iter().chain(bytes).take(BEGINNING).copied().collect();
        let is_attachment = self.splitter.is_bytes() || beginning.first() == Some(&b'b');
        let event = match is_attachment {
            true if self.expects_attachment => None,
            true => return Err(TooLong),
            false => Some(LongEvent::parse(self.session, &beginning).ok_or(TooLong)?),
        };
        Ok(Long { event, held: self.session.long_packets().hold().ok_or(NotKept::NoMemory) })
    }

    fn end(&mut self) -> Result<(), TooLong> {
        let (present, length) = (std::mem::take(&mut self.present), std::mem::take(&mut self.length));
        let is_bytes = self.splitter.is_bytes();
        let packet = match self.long.take() {
            Some(Long { held: Ok(held), .. }) => LongBodyPacket::Kept(present, is_bytes, Some(held)),
            Some(Long { event: Some(event), held: Err(why) }) => LongBodyPacket::Event(event, why),
            Some(Long { event: None, held: Err(why) }) => LongBodyPacket::Attachment(length, why),
            None => {
                self.usual += length;
                if self.usual > MAX_PACKET_BYTES {
                    return Err(TooLong);
                }
                self.expects_attachment |= announces_long_attachments(self.session, &present);
                LongBodyPacket::Kept(present, is_bytes, None)
            }
        };
        self.packets.push(packet);
        Ok(())
    }

    /// The packets, once the body has ended.
    ///
    /// # Errors
    /// The last one is too long and carries no image.
    pub(super) fn finish(mut self) -> Result<Vec<LongBodyPacket>, TooLong> {
        match self.splitter.finish() {
            Ok(ends) if !self.invalid => {
                if ends {
                    self.end()?;
                }
            }
            Ok(_) | Err(_) => self.packets.push(LongBodyPacket::Invalid),
        }
        Ok(self.packets)
    }
}
