//! Sending to one client: through the outbox, bypassing socketioxide, if the connection was opened as a WebSocket;
//! through socketioxide if it polls or began with polling. The choice never changes, so that order is kept. Created by
//! `connect.rs`; the hub sends through it (`hub::Outbound`), and `client.rs` answers through it.

use std::sync::Arc;

use bytes::BytesMut;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::{SendError as SocketSendError, SocketError, TransportType};

use super::dialect::EncodedReply;
use super::dialects::Namespace;
use super::encode;
use super::transport::{Outbox, TransportHandle, frame};
use crate::hub::{Batch, Event, Frames, Outbound, OutboundStatus, Packet, SendError};
use crate::telemetry::{TransportKind, Written};

/// A handle; clones send to the same client.
#[derive(Clone)]
pub(super) struct SocketOutbound {
    namespace: &'static Namespace,
    socket: SocketRef,
    transport: TransportHandle,
    /// Bypasses socketioxide; none where socketioxide writes.
    outbox: Option<Arc<Outbox>>,
}

impl SocketOutbound {
    pub(super) fn new(namespace: &'static Namespace, socket: SocketRef, transport: TransportHandle) -> Self {
        let outbox = transport.outbox();
        Self { namespace, socket, transport, outbox }
    }

    pub(super) fn namespace(&self) -> &'static Namespace {
        self.namespace
    }

    /// Stops or resumes reading from the client; does nothing for long-polling.
    pub(super) fn pause(&self, paused: bool) {
        self.transport.pause(paused);
    }

    /// Whether the transport was closed because the client read nothing for too long.
    pub(super) fn stalled(&self) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| outbox.stalled())
    }

    /// Answers an event with the acknowledgement, if the client asked for one, and the events after it, in one write.
    ///
    /// # Errors
    /// The transport is closed, or its queue is full.
    pub(super) fn answer(
        &self,
        ack: AckSender,
        ack_id: Option<i64>,
        reply: &EncodedReply,
    ) -> Result<Written, SendError> {
        let Some(outbox) = &self.outbox else {
            if ack_id.is_some() {
                emit_result(ack.send(&reply.ack))?;
            }
            return self.emit_by_socketioxide(&reply.events);
        };
        let mut out = BytesMut::new();
        if let Some(id) = ack_id {
            frame::put_ack(&mut out, self.namespace, id, &reply.ack);
        }
        for (event, payload) in &reply.events {
            frame::put_event(&mut out, self.namespace, event, payload);
        }
        if out.is_empty() {
            return Ok(Written::default());
        }
        outbox.send_own(self.namespace, &out.freeze(), usize::from(ack_id.is_some()) + reply.events.len())
    }

    /// Sends through socketioxide.
    fn emit_by_socketioxide(&self, packets: &[Packet]) -> Result<Written, SendError> {
        let mut packets = packets.iter();
        packets.try_for_each(|(event, payload)| emit_result(self.socket.emit(event, payload)))?;
        Ok(Written::default())
    }
}

impl Outbound for SocketOutbound {
    fn send(&self, batch: &Batch) -> Result<Written, SendError> {
        let Some(outbox) = &self.outbox else {
            return self.emit_by_socketioxide(encode::batch_packets(batch, self.namespace.dialect()));
        };
        if batch.is_volatile() && outbox.backlog() > 0 {
            return Err(SendError::Skipped);
        }
        let frames = encode::batch_frames(batch, self.namespace);
        outbox.send(self.namespace, &frames.bytes, frames.count)
    }

    fn send_own(&self, event: &Event) -> Result<Written, SendError> {
        let packets = encode::packets(std::slice::from_ref(event), self.namespace.dialect());
        let Some(outbox) = &self.outbox else { return self.emit_by_socketioxide(&packets) };
        let Frames { bytes, count } = encode::frames(&packets, self.namespace);
        outbox.send_own(self.namespace, &bytes, count)
    }

    fn close(&self) {
        self.transport.close(&self.socket);
    }

    fn status(&self) -> OutboundStatus {
        let kind = match self.socket.transport_type() {
            TransportType::Polling => TransportKind::Polling,
            TransportType::Websocket => TransportKind::WebSocket,
        };
        let queued_and_sent = self.outbox.as_ref().map(|outbox| outbox.queued_and_sent());
        OutboundStatus { kind, namespace: self.namespace.path(), queued_and_sent }
    }
}

/// Maps the result of sending through socketioxide.
fn emit_result(result: Result<(), SocketSendError>) -> Result<(), SendError> {
    match result {
        Ok(()) => Ok(()),
        Err(SocketSendError::Socket(SocketError::Closed)) => Err(SendError::Gone),
        Err(SocketSendError::Socket(SocketError::InternalChannelFull)) => Err(SendError::SlowReader),
        Err(SocketSendError::Serialize(error)) => {
            tracing::error!(%error, "failed to encode a packet");
            Ok(())
        }
    }
}
