//! The way to one client: past socketioxide, where the connection has been a WebSocket from the beginning, or by
//! socketioxide's own path, where it polls or began with polling; one of the two, for good, so that order holds.
//! Made by `connect.rs`; the hub sends through it (`hub::Outbound`), and `client.rs` answers through it.

use std::sync::Arc;

use bytes::BytesMut;
use serde_json::value::RawValue;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::{SendError as SocketSendError, SocketError, TransportType};

use super::dialect::EncodedReply;
use super::dialects::Namespace;
use super::transport::{Outbox, TransportHandle, frame};
use crate::hub::{Batch, Event, Frames, Outbound, SendError};
use crate::telemetry::{TransportKind, Written};

/// Clones reach the same client.
#[derive(Clone)]
pub(super) struct SocketOutbound {
    namespace: &'static Namespace,
    socket: SocketRef,
    transport: TransportHandle,
    /// The way past socketioxide.
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

    /// Answers an event: the acknowledgement where the client asked for one, and events behind it, in one write.
    ///
    /// # Errors
    /// The transport cannot go on.
    pub(super) fn answer(
        &self,
        ack: AckSender,
        ack_id: Option<i64>,
        reply: &EncodedReply,
    ) -> Result<Written, SendError> {
        let Some(outbox) = &self.outbox else {
            if ack_id.is_some() {
                emitted(ack.send(&reply.ack))?;
            }
            let mut events = reply.events.iter();
            return events
                .try_for_each(|(event, payload)| emitted(self.socket.emit(event, payload)))
                .map(|()| Written::default());
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
        outbox.answer(self.namespace, &out.freeze(), usize::from(ack_id.is_some()) + reply.events.len())
    }

    /// Frames of events, as whole WebSocket frames. An event that cannot be encoded is left out, and logged.
    fn encode(&self, events: &[Event]) -> Frames {
        let (mut out, mut count) = (BytesMut::new(), 0);
        let mut put = |event: &str, payload: &RawValue| {
            frame::put_event(&mut out, self.namespace, event, payload);
            count += 1;
        };
        for event in events {
            if let Err(error) = self.namespace.dialect().encode_event(event, &mut put) {
                tracing::error!(%error, "an event could not be encoded");
            }
        }
        Frames { bytes: out.freeze(), count }
    }

    /// By socketioxide's own path.
    fn emit(&self, events: &[Event]) -> Result<Written, SendError> {
        let mut emitting = Ok(());
        let mut emit = |event: &str, payload: &RawValue| {
            if emitting.is_ok() {
                emitting = emitted(self.socket.emit(event, payload));
            }
        };
        for event in events {
            if let Err(error) = self.namespace.dialect().encode_event(event, &mut emit) {
                tracing::error!(%error, "an event could not be encoded");
            }
        }
        emitting.map(|()| Written::default())
    }
}

impl Outbound for SocketOutbound {
    fn send(&self, batch: &Batch) -> Result<Written, SendError> {
        let Some(outbox) = &self.outbox else { return self.emit(batch.events()) };
        if batch.is_volatile() && outbox.backlog() > 0 {
            return Err(SendError::Skipped);
        }
        let frames = batch.frames(self.namespace.encoding(), || self.encode(batch.events()));
        outbox.send(self.namespace, &frames.bytes, frames.count)
    }

    fn send_own(&self, event: &Event) -> Result<Written, SendError> {
        let events = std::slice::from_ref(event);
        let Some(outbox) = &self.outbox else { return self.emit(events) };
        let Frames { bytes, count } = self.encode(events);
        outbox.answer(self.namespace, &bytes, count)
    }

    fn close(&self) {
        self.transport.close(&self.socket);
    }

    fn pause(&self, paused: bool) {
        self.transport.pause(paused);
    }

    fn kind(&self) -> TransportKind {
        match self.socket.transport_type() {
            TransportType::Polling => TransportKind::Polling,
            TransportType::Websocket => TransportKind::WebSocket,
        }
    }

    fn stalled(&self) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| outbox.stalled())
    }

    fn carried(&self) -> Option<(usize, u64)> {
        self.outbox.as_ref().map(|outbox| outbox.carried())
    }

    fn namespace(&self) -> &str {
        self.namespace.path()
    }
}

/// What socketioxide says of a packet that it was given.
fn emitted(result: Result<(), SocketSendError>) -> Result<(), SendError> {
    match result {
        Ok(()) => Ok(()),
        Err(SocketSendError::Socket(SocketError::Closed)) => Err(SendError::Gone),
        Err(SocketSendError::Socket(SocketError::InternalChannelFull)) => Err(SendError::SlowReader),
        Err(SocketSendError::Serialize(error)) => {
            tracing::error!(%error, "a packet could not be encoded");
            Ok(())
        }
    }
}
