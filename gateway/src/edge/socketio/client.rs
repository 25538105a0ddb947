//! One connected client: handles its events one after the other, in the order in which they were sent, answers each,
//! and handles its disconnect after them. Created by `connect.rs`; calls `chat/`.

use std::sync::Arc;

use parking_lot::Mutex;
use roomcast_ops::Lifecycle;
use roomcast_ops::trace::{self, Kind};
use roomcast_protocol::{Code, Refusal, event};
use socketioxide::extract::AckSender;

use super::event_queue::{EventQueue, PushResult};
use super::outbound::SocketOutbound;
use super::packet::Packet;
use crate::chat::{Actor, Chat, Reply, Request, Rights};
use crate::hub::Connection;
use crate::room::Departure;
use crate::telemetry::Telemetry;
use crate::users::NameHold;

/// A client; stored in the extensions of its socket.
pub(super) struct Client {
    connection: Arc<Connection>,
    actor: Actor,
    outbound: SocketOutbound,
    queue: EventQueue<Item>,
    /// Its claim on the user's name, until it disconnects.
    name: Mutex<Option<NameHold>>,
}

enum Item {
    Event(Packet),
    Disconnected(Departure),
}

impl Client {
    pub(super) fn new(connection: Arc<Connection>, outbound: SocketOutbound, name: NameHold) -> Arc<Self> {
        let device = Some(Arc::clone(&connection));
        let actor = Actor::new(connection.user().clone(), Rights::default(), device);
        let (queue, name) = (EventQueue::new(), Mutex::new(Some(name)));
        Arc::new(Self { connection, actor, outbound, queue, name })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn outbound(&self) -> &SocketOutbound {
        &self.outbound
    }

    /// Queues an event. Called by the connection's reader for one event at a time, which keeps their order.
    pub(super) fn receive(self: Arc<Self>, chat: &Chat, lifecycle: &Lifecycle, packet: Packet) {
        chat.telemetry.connections.received(&packet.event);
        match self.queue.push(Item::Event(packet), || self.outbound.pause(true)) {
            PushResult::Queued | PushResult::Refused(Item::Disconnected(_)) => {}
            PushResult::StartTask => self.spawn_task(chat, lifecycle),
            PushResult::Refused(Item::Event(packet)) => {
                let why = "too many events are waiting; slow down";
                let answer = Answer::new(&self, &chat.telemetry, packet.ack, packet.ack_id);
                answer.respond(Err(Refusal::new(Code::Busy, why)));
            }
        }
    }

    /// The connection ended; events that are queued already are handled first.
    pub(super) fn disconnect(self: Arc<Self>, chat: &Chat, lifecycle: &Lifecycle, how: Departure) {
        if matches!(self.queue.close(Item::Disconnected(how)), PushResult::StartTask) {
            self.spawn_task(chat, lifecycle);
        }
    }

    /// Spawns a task that handles queued items and ends when the queue is empty.
    fn spawn_task(self: Arc<Self>, chat: &Chat, lifecycle: &Lifecycle) {
        let chat = chat.clone();
        lifecycle.spawn_until_hard("client-events", async move {
            while let Some(item) = self.queue.next(|| self.outbound.pause(false)) {
                match item {
                    Item::Event(packet) => {
                        let name = span_name(&packet.event);
                        // Boxed: the future is as large as its largest command, and the task is moved.
                        let handling = Box::pin(self.handle(&chat, packet));
                        trace::request(name, Kind::Server, handling).await;
                    }
                    // Boxed: it is rare and would make every task larger.
                    Item::Disconnected(how) => Box::pin(self.end(&chat, how)).await,
                }
            }
        });
    }

    /// Handles one event and answers it.
    async fn handle(self: &Arc<Self>, chat: &Chat, packet: Packet) {
        let Packet { event, payload, ack, ack_id } = packet;
        let answer = Answer::new(self, &chat.telemetry, ack, ack_id);
        match self.outbound.namespace().dialect().decode(&event, &payload) {
            Ok(command) => {
                let urgent = !self.queue.is_empty();
                let respond = move |reply| answer.respond(reply);
                chat.execute(&self.actor, Request { command, urgent, respond }).await;
            }
            Err(refusal) => answer.respond(Err(refusal)),
        }
    }

    async fn end(&self, chat: &Chat, how: Departure) {
        chat.leave_all(&self.connection, how).await;
        let name = self.name.lock().take();
        if let Some(name) = name {
            name.release(how).await;
        }
    }
}

/// Span names are a closed set; unknown events share the name `other`.
fn span_name(event: &str) -> &'static str {
    event::client::ALL.iter().find(|known| known.name == event).map_or("other", |known| known.name)
}

/// The answer to one event of a client.
struct Answer {
    client: Arc<Client>,
    telemetry: Telemetry,
    ack: AckSender,
    ack_id: Option<i64>,
}

impl Answer {
    fn new(client: &Arc<Client>, telemetry: &Telemetry, ack: AckSender, ack_id: Option<i64>) -> Self {
        Self { client: Arc::clone(client), telemetry: telemetry.clone(), ack, ack_id }
    }

    fn respond(self, reply: Result<Reply, Refusal>) {
        let Self { client, telemetry, ack, ack_id } = self;
        if let Err(refusal) = &reply {
            telemetry.connections.refused(refusal.code);
            trace::fail(refusal.code.name());
        }
        let outbound = &client.outbound;
        let encoded = match outbound.namespace().dialect().encode_reply(reply) {
            Ok(encoded) => encoded,
            Err(error) => return tracing::error!(%error, "failed to encode a reply"),
        };
        let sent = outbound.answer(ack, ack_id, &encoded);
        if let Some(written) = client.connection.on_sent(sent) {
            telemetry.wire.written(&written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_names_are_a_closed_set() {
        assert_eq!(span_name("send_message"), "send_message");
        assert_eq!(span_name("'; DROP TABLE"), "other");
    }
}
