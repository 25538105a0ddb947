//! One connected client: its events, carried out one after the other in the order in which it sent them, each to
//! its answer, and at last its departure. Made by `connect.rs`; calls `chat/`.

use std::sync::Arc;

use parking_lot::Mutex;
use roomcast_ops::Lifecycle;
use roomcast_ops::trace::{self, Kind};
use roomcast_protocol::{Code, Refusal, event};
use socketioxide::extract::AckSender;

use super::event_queue::{EventQueue, Pushed};
use super::outbound::SocketOutbound;
use super::packet::Packet;
use crate::chat::{Actor, Chat, Reply, Request, Rights};
use crate::hub::{Connection, Outbound as _};
use crate::room::Departure;
use crate::telemetry::Telemetry;
use crate::users::NameHold;

/// A client, as its socket keeps it.
pub(super) struct Client {
    connection: Arc<Connection>,
    actor: Actor,
    outbound: SocketOutbound,
    queue: EventQueue<Item>,
    /// Its hold on the user's name, until it departs.
    name: Mutex<Option<NameHold>>,
}

enum Item {
    Event(Packet),
    Departed(Departure),
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

    /// Takes an event. Runs on the connection's reader, one event after the other: that keeps their order.
    pub(super) fn receive(self: Arc<Self>, chat: &Chat, lifecycle: &Lifecycle, packet: Packet) {
        chat.telemetry.connections.received(&packet.event);
        match self.queue.push(Item::Event(packet), || self.outbound.pause(true)) {
            Pushed::Waits | Pushed::Refused(Item::Departed(_)) => {}
            Pushed::Begin => self.work(chat, lifecycle),
            Pushed::Refused(Item::Event(packet)) => {
                let why = "too many of your events are waiting; slow down";
                let answer = Answer::new(&self, &chat.telemetry, packet.ack, packet.ack_id);
                answer.respond(Err(Refusal::new(Code::Busy, why)));
            }
        }
    }

    /// The connection ended; the events in front of this are carried out first.
    pub(super) fn depart(self: Arc<Self>, chat: &Chat, lifecycle: &Lifecycle, how: Departure) {
        if matches!(self.queue.close(Item::Departed(how)), Pushed::Begin) {
            self.work(chat, lifecycle);
        }
    }

    /// Carries out what waits, in a task that ends when nothing does.
    fn work(self: Arc<Self>, chat: &Chat, lifecycle: &Lifecycle) {
        let chat = chat.clone();
        lifecycle.spawn_until_hard("client-events", async move {
            while let Some(item) = self.queue.next(|| self.outbound.pause(false)) {
                match item {
                    Item::Event(packet) => {
                        let name = span_name(&packet.event);
                        // Boxed: it has room for every kind of event, and the task around it is moved.
                        let handling = Box::pin(self.handle(&chat, packet));
                        trace::request(name, Kind::Server, handling).await;
                    }
                    // Boxed as it is rare, and the task has room for it all the time.
                    Item::Departed(how) => Box::pin(self.end(&chat, how)).await,
                }
            }
        });
    }

    /// One event, to its answer.
    async fn handle(self: &Arc<Self>, chat: &Chat, packet: Packet) {
        let Packet { event, payload, ack, ack_id } = packet;
        let answer = Answer::new(self, &chat.telemetry, ack, ack_id);
        match self.outbound.namespace().dialect().decode(&event, &payload) {
            Ok(command) => {
                let urgent = self.queue.waits();
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

/// Names of spans are a closed set: what else clients send is one of them.
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
            Err(error) => return tracing::error!(%error, "an answer could not be encoded"),
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
    fn names_of_spans_are_a_closed_set() {
        assert_eq!(span_name("send_message"), "send_message");
        assert_eq!(span_name("'; DROP TABLE"), "other");
    }
}
