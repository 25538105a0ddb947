//! Sending to one client in one namespace, through the outbox of its session. Created by `connect.rs`; the hub sends
//! through it (`hub::Outbound`), and `client.rs` answers through it.

use std::sync::Arc;

use bytes::BytesMut;

use super::dialect::EncodedReply;
use super::dialects::Namespace;
use super::encode;
use super::engine::{Ended, Kind, Session, frame};
use crate::hub::{Batch, Event, Frames, Outbound, OutboundStatus, SendError};
use crate::telemetry::Written;

/// A handle; clones send to the same client.
#[derive(Clone)]
pub(super) struct SocketOutbound {
    namespace: &'static Namespace,
    session: Arc<Session>,
}

impl SocketOutbound {
    pub(super) fn new(namespace: &'static Namespace, session: Arc<Session>) -> Self {
        Self { namespace, session }
    }

    pub(super) fn namespace(&self) -> &'static Namespace {
        self.namespace
    }

    /// Answers an event with the acknowledgement, if the client asked for one, and the events after it, in one write.
    ///
    /// # Errors
    /// The session is closed, or its queue is full.
    pub(super) fn answer(&self, ack_id: Option<u64>, reply: &EncodedReply) -> Result<Written, SendError> {
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
        let count = usize::from(ack_id.is_some()) + reply.events.len();
        self.session.outbox().send(&out.freeze(), count, Kind::Own)
    }
}

impl Outbound for SocketOutbound {
    fn send(&self, batch: &Batch) -> Result<Written, SendError> {
        let Frames { bytes, count } = encode::batch_frames(batch, self.namespace);
        let kind = if batch.is_volatile() { Kind::Volatile } else { Kind::Broadcast };
        self.session.outbox().send(bytes, *count, kind)
    }

    fn send_own(&self, event: &Event) -> Result<Written, SendError> {
        let packets = encode::packets(std::slice::from_ref(event), self.namespace.dialect());
        let Frames { bytes, count } = encode::frames(&packets, self.namespace);
        self.session.outbox().send(&bytes, count, Kind::Own)
    }

    fn close(&self) {
        self.session.close(Ended::Server);
    }

    fn status(&self) -> OutboundStatus {
        let queued_and_sent = Some(self.session.outbox().queued_and_sent());
        OutboundStatus { kind: self.session.transport(), namespace: self.namespace.path(), queued_and_sent }
    }
}
