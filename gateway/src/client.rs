//! One connected client: who it is, the way to it, and the queue that keeps its events in order. Made by
//! `socket/connect.rs`; rooms and fan-out send through it.

use std::sync::Arc;

use parking_lot::Mutex;
use roomcast_protocol::ack::Answer as Acknowledgement;
use roomcast_protocol::{Refusal, UserName};
use serde::Serialize;
use serde_json::value::RawValue;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::{SendError, SocketError};

use crate::conn::Transport;
use crate::room::state::ClientId;
use crate::telemetry::Events;

/// A client. Everything that is sent to it passes here, in order.
pub(crate) struct Client {
    id: ClientId,
    user: UserName,
    socket: SocketRef,
    transport: Transport,
    events: Events,
    /// The socket refers to the client and the client to the socket: this ends the circle.
    gone: Mutex<bool>,
}

impl Client {
    pub(crate) fn new(
        id: ClientId,
        user: UserName,
        socket: SocketRef,
        transport: Transport,
        events: Events,
    ) -> Self {
        Self { id, user, socket, transport, events, gone: Mutex::new(false) }
    }

    pub(crate) fn id(&self) -> ClientId {
        self.id
    }

    pub(crate) fn user(&self) -> &UserName {
        &self.user
    }

    /// Sends an event that only this client gets.
    pub(crate) fn emit<T: Serialize>(&self, event: &str, payload: &T) {
        match serde_json::value::to_raw_value(payload) {
            Ok(payload) => self.emit_raw(event, &payload),
            Err(error) => tracing::error!(event, %error, "an event could not be encoded"),
        }
    }

    /// Sends an event whose payload was encoded once for everyone who gets it.
    pub(crate) fn emit_raw(&self, event: &str, payload: &RawValue) {
        self.settle(self.socket.emit(event, payload));
    }

    /// The way to answer one event of this client.
    pub(crate) fn answer(self: &Arc<Self>, ack: AckSender) -> Answer {
        Answer { client: Arc::clone(self), ack }
    }

    /// Closes the transport: the stock client comes back by itself.
    pub(crate) fn cut(&self, why: &'static str) {
        let mut gone = self.gone.lock();
        if !std::mem::replace(&mut *gone, true) {
            self.events.cut(why);
            self.transport.cut(&self.socket);
        }
    }

    fn settle(&self, sent: Result<(), SendError>) {
        match sent {
            Ok(()) | Err(SendError::Socket(SocketError::Closed)) => {}
            // Never drop silently: whoever reads too slowly is closed, and recovers by `since`.
            Err(SendError::Socket(SocketError::InternalChannelFull)) => self.cut("slow_reader"),
            Err(SendError::Serialize(error)) => tracing::error!(%error, "a packet could not be encoded"),
        }
    }
}

/// The way to answer one event; nothing is sent where the client asked for no acknowledgement.
pub(crate) struct Answer {
    client: Arc<Client>,
    ack: AckSender,
}

impl Answer {
    /// `{status: "ok", …}`.
    pub(crate) fn give<T: Serialize>(self, fields: &T) {
        self.send(&Acknowledgement::Ok(fields));
    }

    /// `{status: "error", …}`.
    pub(crate) fn refuse(self, refusal: Refusal) {
        self.client.events.refused(refusal.code);
        self.send(&Acknowledgement::<()>::Error(refusal.into()));
    }

    /// Either.
    pub(crate) fn settle<T: Serialize>(self, result: Result<T, Refusal>) {
        match result {
            Ok(fields) => self.give(&fields),
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn send<T: Serialize>(self, answer: &Acknowledgement<T>) {
        // Flattening a tagged enum does not keep raw JSON raw inside socketioxide's serializer; it is
        // encoded here and passed through.
        match serde_json::value::to_raw_value(answer) {
            Ok(json) => self.client.settle(self.ack.send(&json)),
            Err(error) => tracing::error!(%error, "an acknowledgement could not be encoded"),
        }
    }
}
