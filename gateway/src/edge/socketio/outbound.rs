//! Sending to one client in one namespace, through the outbox of its session. Created by `connect.rs`; the hub sends
//! through it (`hub::Outbound`), and `client.rs` answers through it.

use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use roomcast_protocol::UserName;

use super::dialect::{Dialect, EncodedReply};
use super::dialects::Namespace;
use super::encode;
use super::engine::{Ended, Kind, Session, frame};
use super::own_messages::OwnMessages;
use super::threads::{CHANGED, Notice};
use crate::hub::{Batch, Event, Frames, Outbound, OutboundStatus, Packet, SendError};
use crate::telemetry::{Telemetry, Written};

/// A handle; clones send to the same client.
#[derive(Clone)]
pub(super) struct SocketOutbound {
    namespace: &'static Namespace,
    dialect: &'static dyn Dialect,
    /// The dialect that its first event decided, where `dialect` stands for several.
    decided: Option<Arc<OnceLock<&'static dyn Dialect>>>,
    session: Arc<Session>,
    /// Messages that are not sent back to this client; none where its dialect wants them back.
    own_messages: Option<Arc<OwnMessages>>,
}

impl SocketOutbound {
    pub(super) fn new(
        namespace: &'static Namespace,
        dialect: &'static dyn Dialect,
        session: Arc<Session>,
    ) -> Self {
        let decided = dialect.is_undecided().then(Arc::default);
        let own_messages = (dialect.omits_own_messages() || decided.is_some()).then(Arc::default);
        Self { namespace, dialect, decided, session, own_messages }
    }

    pub(super) fn dialect(&self) -> &'static dyn Dialect {
        self.decided.as_ref().and_then(|decided| decided.get().copied()).unwrap_or(self.dialect)
    }

    /// Decides which dialect the client speaks, once.
    pub(super) fn decide(&self, dialect: &'static dyn Dialect) {
        if let Some(decided) = &self.decided {
            decided.get_or_init(|| dialect);
        }
    }

    /// The messages that are not sent back to this client; none where its dialect wants them back.
    pub(super) fn own_messages(&self) -> Option<&OwnMessages> {
        self.own_messages.as_deref().filter(|_| self.dialect().omits_own_messages())
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
        let count = usize::from(ack_id.is_some()) + reply.events.len();
        self.send_frames(&Frames { bytes: out.freeze(), count }, Kind::Own)
    }

    /// Sends the events of a reply that is not the last one of its request, so that it has no acknowledgement.
    ///
    /// # Errors
    /// The session is closed, or its queue is full.
    pub(super) fn send_events(&self, events: &[Packet]) -> Result<Written, SendError> {
        self.send_frames(&encode::frames(events, self.namespace), Kind::Own)
    }

    fn telemetry(&self) -> &Telemetry {
        self.session.outbox().telemetry()
    }

    fn packets<'a>(&self, batch: &'a Batch) -> &'a [Packet] {
        encode::batch_packets(batch, self.dialect(), self.telemetry())
    }

    fn send_frames(&self, Frames { bytes, count }: &Frames, kind: Kind) -> Result<Written, SendError> {
        if *count == 0 { Ok(Written::default()) } else { self.session.outbox().send(bytes, *count, kind) }
    }
}

impl Outbound for SocketOutbound {
    fn send(&self, batch: &Batch) -> Result<Written, SendError> {
        let kind = if batch.is_volatile() { Kind::Volatile } else { Kind::Broadcast };
        let own = self.own_messages().filter(|own| own.are_awaited());
        if let Some(own) = own
            && let Some(others) = own.leave_out(self.packets(batch))
        {
            return self.send_frames(&encode::frames(others, self.namespace), kind);
        }
        self.send_frames(encode::batch_frames(batch, self.namespace, self.dialect(), self.telemetry()), kind)
    }

    fn send_observed(&self, batch: &Batch, user: Option<&UserName>) -> Result<Written, SendError> {
        let dialect = self.dialect();
        if dialect.outside().is_empty() {
            return Ok(Written::default());
        }
        for event in batch.events() {
            if let Event::Presence { change, .. } = event
                && user.is_some_and(|user| change.left.contains(user))
            {
                self.session.notify(self.namespace, Notice::Gone(change.room.clone()));
            }
        }
        for (_, change) in self.packets(batch).iter().filter(|(event, _)| *event == CHANGED) {
            match serde_json::from_str(change.get()) {
                Ok(change) => self.session.notify(self.namespace, Notice::Changed(change)),
                Err(error) => tracing::error!(%error, "a change of threads cannot be parsed"),
            }
        }
        self.send_frames(
            encode::outside_frames(batch, self.namespace, dialect, self.telemetry()),
            Kind::Broadcast,
        )
    }

    fn send_own(&self, event: &Event) -> Result<Written, SendError> {
        let packets = encode::packets(std::slice::from_ref(event), self.dialect());
        self.send_frames(&encode::frames(&packets, self.namespace), Kind::Own)
    }

    fn close(&self) {
        self.session.close(Ended::Server);
    }

    fn status(&self) -> OutboundStatus {
        let queued_and_sent = Some(self.session.outbox().queued_and_sent());
        OutboundStatus { kind: self.session.transport(), namespace: self.namespace.path(), queued_and_sent }
    }
}
