//! What a session does with the packets of its client: decodes those of Socket.IO, collects the attachments of events, and
//! passes events to the sockets of the namespaces. Called by the transports.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use roomcast_wire::engine::{self, Version};
use roomcast_wire::socket::{Kind as PacketKind, Packet as SocketPacket};

use super::super::super::dialects::Namespace;
use super::super::super::packet::{NotKept, Packet};
use super::super::attachments::PartialEvent;
use super::super::ended::Ended;
use super::super::long_memory::{Held, LONG_TIMEOUT, LongPackets};
use super::super::socket::Socket;
use super::Session;
use crate::room::Departure;

impl Session {
    /// Handles one packet of the client. `memory` is what holds it if it is longer than usual.
    ///
    /// # Errors
    /// The session must be closed.
    pub(crate) fn receive(
        self: &Arc<Self>,
        packet: engine::Packet<'_>,
        memory: Option<Held>,
    ) -> Result<(), Ended> {
        self.hear();
        match (packet, self.version) {
            (engine::Packet::Message(text), _) => self.receive_message(text, memory),
            (engine::Packet::Binary(bytes), _) => {
                self.receive_attachment(|partial, long| partial.add(&bytes, memory, long))
            }
            (engine::Packet::Ping(text), Version::V3) => {
                // A failed write ends the session elsewhere.
                self.send_packet(&["3", text]).unwrap_or_default();
                Ok(())
            }
            (engine::Packet::Close, _) => Err(Ended::TransportClose),
            // A heartbeat of the other version.
            (engine::Packet::Ping(_), Version::V4) | (engine::Packet::Pong(_), Version::V3) => {
                Err(Ended::BadPacket)
            }
            (
                engine::Packet::Pong(_)
                | engine::Packet::Open
                | engine::Packet::Upgrade
                | engine::Packet::Noop,
                _,
            ) => Ok(()),
        }
    }

    /// The client was heard.
    fn hear(&self) {
        self.heard.store(self.now(), Ordering::Relaxed);
    }

    /// In version 3 a namespace may carry the query that is the client's auth.
    fn path_and_query<'a>(&self, namespace: &'a str) -> (&'a str, &'a str) {
        match (self.version, namespace.split_once('?')) {
            (Version::V3, Some(parts)) => parts,
            (Version::V3, None) | (Version::V4, _) => (namespace, ""),
        }
    }

    fn receive_message(self: &Arc<Self>, text: &str, memory: Option<Held>) -> Result<(), Ended> {
        let packet = SocketPacket::decode(text).map_err(|_| Ended::BadPacket)?;
        {
            let mut state = self.state.lock();
            if state.partial.is_some() {
                // An attachment must come first.
                return Err(Ended::BadPacket);
            }
            state.long_until = None;
        }
        let (path, query) = self.path_and_query(packet.namespace);
        let namespace = Namespace::of_path(path);
        let entered = namespace.and_then(|namespace| self.socket(namespace));
        match (packet.kind, entered) {
            (PacketKind::Connect, None) => {
                let valid = packet.data.is_empty() || is_object(packet.data);
                match namespace {
                    _ if !valid => return Err(Ended::BadPacket),
                    Some(namespace) => self.enter(namespace, packet.data, query),
                    None => self.refuse_namespace(path)?,
                }
                Ok(())
            }
            (PacketKind::Event, Some(socket)) => {
                if packet.attachments == 0 {
                    let packet = Packet::decode(packet.data, packet.id, None).ok_or(Ended::BadPacket)?;
                    socket.receive(Packet { held: memory, ..packet });
                    return Ok(());
                }
                let partial = PartialEvent::new(socket, packet).ok_or(Ended::BadPacket)?;
                self.state.lock().partial = Some(Box::new(partial));
                Ok(())
            }
            (PacketKind::Disconnect, Some(socket)) => {
                self.leave(socket.id());
                socket.disconnect(Departure::Left, "client");
                Ok(())
            }
            // No event of the server asks for an acknowledgement.
            (PacketKind::Ack, Some(_)) if packet.attachments == 0 => Ok(()),
            // A second connect packet, an event of a namespace that was not entered, a connect error.
            _ => Err(Ended::BadPacket),
        }
    }

    fn receive_attachment(
        self: &Arc<Self>,
        add: impl FnOnce(&mut PartialEvent, &LongPackets) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        let mut state = self.state.lock();
        let mut partial = state.partial.take().ok_or(Ended::BadPacket)?;
        add(&mut partial, &self.config.long_packets)?;
        if !partial.is_complete() {
            let is_held = partial.is_held();
            state.partial = Some(partial);
            drop(state);
            if is_held {
                self.limit_time();
            }
            return Ok(());
        }
        state.long_until = None;
        drop(state);
        let (socket, packet) = partial.complete().ok_or(Ended::BadPacket)?;
        socket.receive(packet);
        Ok(())
    }

    /// A long attachment was not kept.
    ///
    /// # Errors
    /// The session must be closed.
    pub(crate) fn receive_discarded(self: &Arc<Self>, length: usize, why: NotKept) -> Result<(), Ended> {
        self.hear();
        self.receive_attachment(|partial, _| partial.add_discarded(length, why))
    }

    /// Whether the next packet may be a long attachment.
    pub(crate) fn expects_long_attachment(&self) -> bool {
        self.state.lock().partial.as_ref().is_some_and(|partial| partial.may_be_long())
    }

    /// A long attachment begins to arrive on the WebSocket; returns whether it is to be kept.
    pub(in super::super) fn begin_long_attachment(self: &Arc<Self>) -> bool {
        let keeps = match &mut self.state.lock().partial {
            Some(partial) => partial.begin_long(&self.config.long_packets),
            None => false,
        };
        if keeps {
            self.limit_time();
        }
        keeps
    }

    /// The memory for a long packet that begins to arrive on the WebSocket; none if there is none left.
    pub(in super::super) fn hold_long(self: &Arc<Self>) -> Option<Held> {
        let held = self.config.long_packets.hold();
        if held.is_some() {
            self.limit_time();
        }
        held
    }

    /// A long packet that arrived was not kept.
    pub(in super::super) fn long_ended(&self) {
        self.hear();
        self.state.lock().long_until = None;
    }

    /// Limits the time in which what is arriving must have arrived.
    fn limit_time(self: &Arc<Self>) {
        self.state.lock().long_until.get_or_insert_with(|| Instant::now() + LONG_TIMEOUT);
        self.config.table.wake(self);
    }

    pub(crate) fn long_packets(&self) -> &LongPackets {
        &self.config.long_packets
    }

    /// The socket of a namespace as packets name it, if the client has entered it.
    pub(in super::super) fn socket_at(&self, namespace: &str) -> Option<Arc<dyn Socket>> {
        Namespace::of_path(self.path_and_query(namespace).0).and_then(|namespace| self.socket(namespace))
    }
}

/// Whether text may be a JSON object; parsing it is left to who needs it.
fn is_object(json: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(json).is_ok_and(|value| value.get().starts_with('{'))
}
