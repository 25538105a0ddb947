//! One connected client: who it is and the way to it. Made by `socket/connect.rs`; rooms, acknowledgements
//! and fan-out send through it, and all of it arrives in the order in which it was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::BytesMut;
use roomcast_ops::trace;
use roomcast_protocol::ack::Answer as Acknowledgement;
use roomcast_protocol::{Refusal, UserName};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::{SendError, SocketError, TransportType};

use crate::conn::frame::{self, Namespace};
use crate::conn::{Ended, Outbox, Transport};
use crate::fanout::Batch;
use crate::room::state::ClientId;
use crate::telemetry::{self, Events};

/// A client. Its way is one of two, for good: past socketioxide, where it has been a WebSocket from the
/// beginning, or by socketioxide's own path.
pub(crate) struct Client {
    id: ClientId,
    user: UserName,
    namespace: Namespace,
    socket: SocketRef,
    transport: Transport,
    direct: Option<Arc<Outbox>>,
    events: Events,
    since: Instant,
    cut: AtomicBool,
}

impl Client {
    pub(crate) fn new(
        id: ClientId,
        user: UserName,
        socket: SocketRef,
        transport: Transport,
        events: Events,
    ) -> Self {
        let (namespace, direct) = (Namespace::of(socket.ns()), transport.direct());
        let (since, cut) = (Instant::now(), AtomicBool::new(false));
        Self { id, user, namespace, socket, transport, direct, events, since, cut }
    }

    pub(crate) fn id(&self) -> ClientId {
        self.id
    }

    pub(crate) fn user(&self) -> &UserName {
        &self.user
    }

    /// Sends an event that only this client gets.
    pub(crate) fn emit<T: Serialize>(&self, event: &str, payload: &T) {
        let payload = match to_raw_value(payload) {
            Ok(payload) => payload,
            Err(error) => return tracing::error!(event, %error, "an event could not be encoded"),
        };
        match &self.direct {
            None => self.settle(self.socket.emit(event, &payload)),
            Some(outbox) => {
                let mut out = BytesMut::new();
                frame::put_event(&mut out, self.namespace, event, &payload);
                self.sent(&outbox.answer(self.namespace, &out.freeze(), 1));
            }
        }
    }

    /// The way past socketioxide, where there is one.
    pub(crate) fn direct(&self) -> Option<(Namespace, Arc<Outbox>)> {
        self.direct.as_ref().map(|outbox| (self.namespace, Arc::clone(outbox)))
    }

    /// Sends what all members of a room get, by socketioxide's own path.
    pub(crate) fn emit_batch(&self, batch: &Batch) {
        batch.events().for_each(|(event, json)| self.settle(self.socket.emit(event, json)));
    }

    /// The way to answer one event of this client.
    pub(crate) fn answer(self: &Arc<Self>, ack: AckSender, id: Option<i64>) -> Answer {
        Answer { client: Arc::clone(self), ack, id }
    }

    /// Closes the transport: the stock client comes back by itself.
    pub(crate) fn cut(&self, why: &'static str) {
        if !self.cut.swap(true, Ordering::AcqRel) {
            self.events.cut(why);
            self.transport.cut(&self.socket);
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        self.socket.ns()
    }

    /// When it came.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Bytes that wait for it, and bytes that were written to its connection ever; none where socketioxide
    /// carries them.
    pub(crate) fn carried(&self) -> Option<(usize, u64)> {
        self.direct.as_ref().map(|outbox| outbox.carried())
    }

    /// How it is connected now: long-polling may become a WebSocket.
    pub(crate) fn way(&self) -> telemetry::Transport {
        match self.socket.transport_type() {
            TransportType::Polling => telemetry::Transport::Polling,
            TransportType::Websocket => telemetry::Transport::WebSocket,
        }
    }

    /// Whether its peer took nothing for so long that the connection was ended.
    pub(crate) fn stalled(&self) -> bool {
        self.direct.as_ref().is_some_and(|outbox| outbox.stalled())
    }

    /// Stops or resumes reading from a client whose events pile up.
    pub(crate) fn pause(&self, paused: bool) {
        self.transport.pause(paused);
    }

    /// Takes note of what came of sending to the outbox.
    pub(crate) fn sent<T>(&self, sent: &Result<T, Ended>) {
        match sent {
            // Gone: its departure is on its way.
            Ok(_) | Err(Ended::Gone) => {}
            // Never drop silently: whoever reads too slowly is closed, and recovers by `since`.
            Err(Ended::SlowReader) => self.cut("slow_reader"),
        }
    }

    fn settle(&self, sent: Result<(), SendError>) {
        match sent {
            Ok(()) | Err(SendError::Socket(SocketError::Closed)) => {}
            Err(SendError::Socket(SocketError::InternalChannelFull)) => self.cut("slow_reader"),
            Err(SendError::Serialize(error)) => tracing::error!(%error, "a packet could not be encoded"),
        }
    }
}

/// The way to answer one event; nothing is sent where the client asked for no acknowledgement.
pub(crate) struct Answer {
    client: Arc<Client>,
    ack: AckSender,
    id: Option<i64>,
}

impl Answer {
    /// `{status: "ok", …}`.
    pub(crate) fn give<T: Serialize>(self, fields: &T) {
        self.send(&Acknowledgement::Ok(fields));
    }

    /// `{status: "error", …}`.
    pub(crate) fn refuse(self, refusal: Refusal) {
        self.client.events.refused(refusal.code);
        trace::fail(refusal.code.name());
        self.send(&Acknowledgement::<()>::Error(refusal.into()));
    }

    /// Either.
    pub(crate) fn settle<T: Serialize>(self, result: Result<T, Refusal>) {
        match result {
            Ok(fields) => self.give(&fields),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// `{status: "ok", …}`, and in the same write an event that only this client gets.
    pub(crate) fn give_with<T: Serialize, E: Serialize>(self, fields: &T, event: &str, payload: &E) {
        let (client, id) = (&self.client, self.id);
        let (Some(outbox), Some(id)) = (&client.direct, id) else {
            let client = Arc::clone(client);
            self.give(fields);
            return client.emit(event, payload);
        };
        let (ack, payload) = match (to_raw_value(&Acknowledgement::Ok(fields)), to_raw_value(payload)) {
            (Ok(ack), Ok(payload)) => (ack, payload),
            (Err(error), _) | (_, Err(error)) => {
                return tracing::error!(event, %error, "an answer could not be encoded");
            }
        };
        let mut out = BytesMut::from(frame::ack(client.namespace, id, &ack));
        frame::put_event(&mut out, client.namespace, event, &payload);
        client.sent(&outbox.answer(client.namespace, &out.freeze(), 2));
    }

    fn send<T: Serialize>(self, answer: &Acknowledgement<T>) {
        let Some(id) = self.id else { return };
        let json: Box<RawValue> = match to_raw_value(answer) {
            Ok(json) => json,
            Err(error) => return tracing::error!(%error, "an acknowledgement could not be encoded"),
        };
        match &self.client.direct {
            Some(outbox) => {
                let namespace = self.client.namespace;
                self.client.sent(&outbox.answer(namespace, &frame::ack(namespace, id, &json), 1));
            }
            None => self.client.settle(self.ack.send(&json)),
        }
    }
}
