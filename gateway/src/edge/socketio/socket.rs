//! One client in one namespace: its connect packet, its events and its disconnect are handled one after the other, in
//! the order in which they were sent. Created and called by the client's session (`engine/`); events behind a connect
//! packet wait in the same queue, so that none is handled before it is answered. Calls `connect.rs` and `client.rs`.

use std::sync::{Arc, OnceLock};

use roomcast_ops::trace::{self, Kind};
use roomcast_protocol::event;

use super::client::Client;
use super::connect::{self, ConnectPacket};
use super::context::ClientContext;
use super::dialects::Namespace;
use super::engine::{Session, Socket, Sockets};
use super::event_queue::{EventQueue, PushResult};
use super::packet::Packet;
use super::threads::Notice;
use crate::room::Departure;
use crate::telemetry::TransportKind;

struct ClientSocket {
    context: Arc<ClientContext>,
    session: Arc<Session>,
    namespace: &'static Namespace,
    id: String,
    queue: EventQueue<Item>,
    /// Set once its connect packet was answered with success.
    client: OnceLock<Arc<Client>>,
}

/// Creates the sockets of all sessions.
pub(crate) struct ClientSockets(pub(crate) Arc<ClientContext>);

impl Sockets for ClientSockets {
    fn create(&self, session: &Arc<Session>, namespace: &'static Namespace, id: String) -> Arc<dyn Socket> {
        Arc::new(ClientSocket {
            context: Arc::clone(&self.0),
            session: Arc::clone(session),
            namespace,
            id,
            queue: EventQueue::new(),
            client: OnceLock::new(),
        })
    }
}

enum Item {
    Connect(Box<ConnectPacket>),
    Event(Packet),
    Notice(Notice),
    Disconnected(Departure, &'static str),
}

impl Socket for ClientSocket {
    fn namespace(&self) -> &'static Namespace {
        self.namespace
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn connect(self: Arc<Self>, auth: String, query: String) {
        let packet = ConnectPacket { namespace: self.namespace, id: self.id.clone(), auth, query };
        self.push(Item::Connect(Box::new(packet)));
    }

    fn may_be_long(&self, event: &str) -> bool {
        self.namespace.dialect(self.context.root).may_be_long(event)
    }

    /// Called by the session's transport for one event at a time, which keeps their order.
    fn receive(self: Arc<Self>, packet: Packet) {
        self.context.chat.telemetry.connections.received(&packet.event);
        if let Some(Item::Event(packet)) = self.push(Item::Event(packet))
            && let Some(client) = self.client.get()
        {
            client.refuse_busy(packet.ack_id);
        }
    }

    fn notice(self: Arc<Self>, notice: Notice) {
        if self.push(Item::Notice(notice)).is_some() {
            tracing::debug!("a client with too many events waiting was not told of a thread");
        }
    }

    fn upgraded(&self) {
        if let Some(client) = self.client.get() {
            client.upgraded();
        }
    }

    /// Events that are queued already are handled first.
    fn disconnect(self: Arc<Self>, how: Departure, label: &'static str) {
        let pushed = self.queue.close(Item::Disconnected(how, label));
        if let Some(client) = self.client.get() {
            client.unregister(label);
        }
        if matches!(pushed, PushResult::StartTask) {
            self.spawn_task();
        }
    }
}

impl ClientSocket {
    /// Queues an item; returns it if the queue is full.
    fn push(self: &Arc<Self>, item: Item) -> Option<Item> {
        match self.queue.push(item, || self.session.pause().set(true)) {
            PushResult::Queued => None,
            PushResult::StartTask => {
                self.spawn_task();
                None
            }
            PushResult::Refused(item) => Some(item),
        }
    }

    /// Spawns a task that handles queued items and ends when the queue is empty.
    fn spawn_task(self: &Arc<Self>) {
        let socket = Arc::clone(self);
        self.context.lifecycle.spawn_until_hard("client-events", async move {
            while let Some(item) = socket.queue.next(|| socket.session.pause().set(false)) {
                match item {
                    Item::Event(packet) => {
                        // Without a client the connect packet was refused.
                        let Some(client) = socket.client.get() else { continue };
                        let name = span_name(&packet.event);
                        let urgent = !socket.queue.is_empty();
                        // Boxed: the future is as large as its largest command, and the task is moved.
                        let handling = Box::pin(client.handle(packet, urgent));
                        trace::request(name, Kind::Server, handling).await;
                    }
                    Item::Notice(notice) => {
                        if let Some(client) = socket.client.get() {
                            Box::pin(client.noticed(notice)).await;
                        }
                    }
                    // Boxed: these are rare and would make every task larger.
                    Item::Connect(packet) => Box::pin(socket.enter(*packet)).await,
                    Item::Disconnected(how, label) => {
                        if let Some(client) = socket.client.get() {
                            client.unregister(label);
                            Box::pin(client.end(how)).await;
                        }
                    }
                }
            }
        });
    }

    async fn enter(&self, packet: ConnectPacket) {
        let Some(client) = connect::connect(&self.context, &self.session, packet).await else { return };
        let client = self.client.get_or_init(|| client);
        client.begin().await;
        if self.session.transport() == TransportKind::WebSocket {
            // In case the session moved meanwhile.
            client.upgraded();
        }
    }
}

/// Span names are a closed set; unknown events share the name `other`.
fn span_name(event: &str) -> &'static str {
    event::client::ALL.iter().find(|known| known.name == event).map_or("other", |known| known.name)
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
