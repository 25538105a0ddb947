//! A client that is connected to a namespace: handles its events, answers each, and handles its disconnect. Created by
//! `connect.rs`; called by `socket.rs`, one event after the other; calls `chat/`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use roomcast_ops::trace;
use roomcast_protocol::{Code, Refusal};

use super::context::ClientContext;
use super::outbound::SocketOutbound;
use super::packet::Packet;
use crate::chat::{Actor, Reply, Request, Rights};
use crate::hub::Connection;
use crate::room::Departure;
use crate::users::NameHold;

pub(super) struct Client {
    context: Arc<ClientContext>,
    connection: Arc<Connection>,
    actor: Actor,
    outbound: SocketOutbound,
    /// Its claim on the user's name, until it disconnects.
    name: Mutex<Option<NameHold>>,
    registered: AtomicBool,
}

impl Client {
    pub(super) fn new(
        context: &Arc<ClientContext>,
        connection: Arc<Connection>,
        outbound: SocketOutbound,
        name: NameHold,
    ) -> Arc<Self> {
        let device = Some(Arc::clone(&connection));
        let actor = Actor::new(connection.user().clone(), Rights::default(), device);
        let (context, name) = (Arc::clone(context), Mutex::new(Some(name)));
        Arc::new(Self { context, connection, actor, outbound, name, registered: AtomicBool::new(true) })
    }

    /// Handles one event and answers it. `urgent` says that more are waiting.
    pub(super) async fn handle(self: &Arc<Self>, packet: Packet, urgent: bool) {
        let Packet { event, payload, ack_id } = packet;
        match self.outbound.namespace().dialect().decode(&event, &payload) {
            Ok(command) => {
                let client = Arc::clone(self);
                let respond = move |reply| client.respond(ack_id, reply);
                self.context.chat.execute(&self.actor, Request { command, urgent, respond }).await;
            }
            Err(refusal) => self.respond(ack_id, Err(refusal)),
        }
    }

    /// Refuses an event because too many are waiting.
    pub(super) fn refuse_busy(&self, ack_id: Option<u64>) {
        self.respond(ack_id, Err(Refusal::new(Code::Busy, "too many events are waiting; slow down")));
    }

    /// Answers an event, whether or not the client asked for an acknowledgement: some replies carry events, too.
    fn respond(&self, ack_id: Option<u64>, reply: Result<Reply, Refusal>) {
        let telemetry = &self.context.chat.telemetry;
        if let Err(refusal) = &reply {
            telemetry.connections.refused(refusal.code);
            trace::fail(refusal.code.name());
        }
        let encoded = match self.outbound.namespace().dialect().encode_reply(reply) {
            Ok(encoded) => encoded,
            Err(error) => return tracing::error!(%error, "failed to encode a reply"),
        };
        if let Some(written) = self.connection.on_sent(self.outbound.answer(ack_id, &encoded)) {
            telemetry.wire.written(&written);
        }
    }

    /// The session moved from long-polling to a WebSocket.
    pub(super) fn upgraded(&self) {
        self.context.registry.upgraded(&self.connection);
    }

    /// Removes the connection from the hub's registry, once. `label` says why the client disconnected.
    pub(super) fn unregister(&self, label: &'static str) {
        if self.registered.swap(false, Ordering::AcqRel) {
            let kind = self.context.registry.remove(&self.connection);
            self.context.chat.telemetry.connections.disconnected(kind, label);
        }
    }

    /// Leaves all rooms and releases the name, after the last event was handled.
    pub(super) async fn end(&self, how: Departure) {
        self.context.chat.leave_all(&self.connection, how).await;
        let name = self.name.lock().take();
        if let Some(name) = name {
            name.release(how).await;
        }
    }
}
