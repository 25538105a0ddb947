//! A client comes and goes: authentication before the connect packet is answered, `welcome` right after
//! it, its events in order, its departure. Registers everything with socketioxide; called by `app.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use roomcast_ops::trace::{self, Kind};
use roomcast_protocol::client::ConnectAuth;
use roomcast_protocol::event::NATIVE_NAMESPACE;
use roomcast_protocol::limits::{Limits, MAX_RESUME_BYTES};
use roomcast_protocol::server::Welcome;
use roomcast_protocol::{Code, Refusal, UserName, event};
use roomcast_store::Secret;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::socket::DisconnectReason;
use socketioxide::{ProtocolVersion, SocketIo};

use super::Gateway;
use super::decode::{Incoming, refusal};
use super::queue::{Pushed, Queue};
use crate::client::Client;
use crate::conn::Transport;
use crate::room::Departure;
use crate::room::state::ClientId;
use crate::session::Session;
use crate::telemetry::{Events, Transport as Way};
use crate::users::{ClaimError, Held};

/// Every client of this node.
#[derive(Clone, Default)]
pub(crate) struct Clients(Arc<Registry>);

#[derive(Default)]
struct Registry {
    next: AtomicU64,
    all: Mutex<HashMap<ClientId, Arc<Client>>>,
    /// Those of them that are counted as polling.
    polling: Mutex<HashMap<ClientId, Arc<Client>>>,
}

impl Clients {
    /// All of them, as of now.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.0.all.lock().values().cloned().collect()
    }

    /// Cuts every connection of a user.
    pub(crate) fn cut_user(&self, user: &UserName, why: &'static str) {
        let clients = self.all();
        clients.iter().filter(|client| client.user() == user).for_each(|client| client.cut(why));
    }

    fn fresh_id(&self) -> ClientId {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.all.lock().len()
    }

    /// Counts those that began with polling and have upgraded since: nobody tells when they do.
    pub(crate) fn count_upgrades(&self, events: &Events) {
        self.0.polling.lock().retain(|_, client| {
            let polls = client.way() == Way::Polling;
            if !polls {
                events.upgraded();
            }
            polls
        });
    }

    /// Answers as what it counts.
    fn insert(&self, client: &Arc<Client>) -> Way {
        self.0.all.lock().insert(client.id(), Arc::clone(client));
        let way = client.way();
        if way == Way::Polling {
            self.0.polling.lock().insert(client.id(), Arc::clone(client));
        }
        way
    }

    /// Answers as what it was counted.
    fn remove(&self, id: ClientId) -> Way {
        self.0.all.lock().remove(&id);
        if self.0.polling.lock().remove(&id).is_some() { Way::Polling } else { Way::WebSocket }
    }
}

/// A client that was let in and whose connect packet is being answered.
struct Admitted {
    user: UserName,
    held: Held,
    resume: Option<String>,
    asked: Instant,
}

/// A connected client, as its socket keeps it.
struct Connection {
    client: Arc<Client>,
    queue: Queue<Item>,
    /// Held by whoever takes from the queue.
    session: tokio::sync::Mutex<Session>,
    held: Mutex<Option<Held>>,
}

enum Item {
    Event(Incoming),
    Gone(Departure),
}

/// Puts the native vocabulary on its namespace and on `/`.
pub(crate) fn mount(io: &SocketIo, gateway: &Gateway) {
    let gateway = Arc::new(gateway.clone());
    for namespace in ["/", NATIVE_NAMESPACE] {
        let (authenticating, welcoming) = (Arc::clone(&gateway), Arc::clone(&gateway));
        let authenticate = move |socket: SocketRef, TryData(auth): TryData<serde_json::Value>| async move {
            let asked = Instant::now();
            // Now, and not once the client is connected: its first event may be right behind.
            register(&authenticating, &socket);
            let admitting = admit(&authenticating, &socket, auth.unwrap_or_default(), asked);
            let admitted = trace::request("connect", Kind::Server, admitting).await;
            let transport = Transport::of(&socket, &authenticating.sessions);
            match admitted {
                Ok(admitted) => {
                    socket.extensions.insert(Arc::new(Mutex::new(Some(admitted))));
                    Ok(())
                }
                Err(ClaimError::Refused(refusal)) => {
                    authenticating.events.connect_refused(refusal.code, asked.elapsed());
                    transport.let_through(&socket);
                    Err(refusal.code.name())
                }
                Err(ClaimError::RetryLater) => {
                    // Stock clients do not try again after a refusal, but do when the transport goes.
                    let draining = authenticating.lifecycle.soft().is_cancelled();
                    let code = if draining { Code::Draining } else { Code::Unavailable };
                    authenticating.events.connect_refused(code, asked.elapsed());
                    authenticating.events.cut("connect_must_wait");
                    transport.cut(&socket);
                    Err(code.name())
                }
            }
        };
        let welcome = move |socket: SocketRef| {
            begin(&welcoming, &socket);
            std::future::ready(())
        };
        io.ns(namespace, welcome.with(authenticate));
    }
}

async fn admit(
    gateway: &Gateway,
    socket: &SocketRef,
    auth: serde_json::Value,
    asked: Instant,
) -> Result<Admitted, ClaimError> {
    if gateway.lifecycle.soft().is_cancelled() {
        return Err(ClaimError::RetryLater);
    }
    let auth = if socket.protocol() == ProtocolVersion::V4 { from_query(socket) } else { auth };
    let ConnectAuth { username, resume } =
        serde_json::from_value(auth).map_err(|error| ClaimError::Refused(refusal(&error)))?;
    let (secret, resume) = match resume {
        Some(resume) if resume.is_empty() || resume.len() > MAX_RESUME_BYTES => {
            let why = format!("resume has 1 to {MAX_RESUME_BYTES} bytes");
            return Err(ClaimError::Refused(Refusal::new(Code::BadRequest, why)));
        }
        Some(resume) => (Secret::chosen(&resume), None),
        None => {
            let resume = format!("{:032x}", rand::random::<u128>());
            (Secret::given(&resume), Some(resume))
        }
    };
    let held = gateway.users.take(&username, secret).await?;
    // Here and not where it is counted: the line belongs to the request, and bears its `trace_id`.
    tracing::debug!(transport = ?socket.transport_type(), "a client was let in");
    Ok(Admitted { user: username, held, resume, asked })
}

/// What 2.x clients, whose connect packet carries nothing, say in the query of their handshake.
fn from_query(socket: &SocketRef) -> serde_json::Value {
    let query = socket.req_parts().uri.query().unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.map(|(key, value)| (key.into_owned(), serde_json::Value::from(value.into_owned()))).collect()
}

/// The connect packet was answered: the client is there.
fn begin(gateway: &Gateway, socket: &SocketRef) {
    let admitted = socket.extensions.remove::<Arc<Mutex<Option<Admitted>>>>();
    let Some(Admitted { user, held, resume, asked }) = admitted.and_then(|admitted| admitted.lock().take())
    else {
        tracing::error!("a client was connected that was not let in");
        return;
    };
    let transport = Transport::of(socket, &gateway.sessions);
    let id = gateway.clients.fresh_id();
    let client = Client::new(id, user.clone(), socket.clone(), transport.clone(), gateway.events.clone());
    let client = Arc::new(client);
    let way = gateway.clients.insert(&client);
    if held.is_lost() {
        // Before it was found by its name, somebody else took that.
        client.cut("name_lost");
    }
    client.emit(
        event::server::WELCOME,
        &Welcome {
            user: user.clone(),
            node: gateway.node.name().to_owned(),
            resume,
            limits: Limits::IN_FORCE,
        },
    );
    gateway.events.connected(way, asked.elapsed());
    let connection = Connection {
        client,
        queue: Queue::new(),
        session: tokio::sync::Mutex::new(Session::new(user)),
        held: Mutex::new(Some(held)),
    };
    socket.extensions.insert(Arc::new(connection));
    transport.let_through(socket);
    if !socket.connected() {
        // It went while it was being welcomed, and its departure found nobody.
        depart(gateway, socket, DisconnectReason::TransportClose);
    }
}

fn register(gateway: &Arc<Gateway>, socket: &SocketRef) {
    let (receiving, departing) = (Arc::clone(gateway), Arc::clone(gateway));
    socket.on_fallback(move |socket: SocketRef, incoming: Incoming| {
        receive(&receiving, &socket, incoming);
        std::future::ready(())
    });
    socket.on_disconnect(move |socket: SocketRef, reason: DisconnectReason| {
        depart(&departing, &socket, reason);
        std::future::ready(())
    });
}

/// Runs on the connection's reader, one event after the other: that is what keeps their order.
fn receive(gateway: &Arc<Gateway>, socket: &SocketRef, incoming: Incoming) {
    let Some(connection) = socket.extensions.get::<Arc<Connection>>() else {
        tracing::debug!("an event of nobody");
        return;
    };
    gateway.events.received(&incoming.event);
    match connection.queue.push(Item::Event(incoming), || connection.client.pause(true)) {
        Pushed::Waits => {}
        Pushed::Begin => take_turns(gateway, connection),
        Pushed::Refused(Item::Event(incoming)) => {
            let why = "too many of your events are waiting; slow down";
            connection.client.answer(incoming.ack, incoming.ack_id).refuse(Refusal::new(Code::Busy, why));
        }
        Pushed::Refused(Item::Gone(_)) => {}
    }
}

fn depart(gateway: &Gateway, socket: &SocketRef, reason: DisconnectReason) {
    // Taken out, for it holds the socket that holds it.
    let Some(connection) = socket.extensions.remove::<Arc<Connection>>() else { return };
    let (how, label) = match reason {
        _ if connection.client.stalled() => (Departure::Vanished, "stalled"),
        DisconnectReason::ClientNSDisconnect => (Departure::Left, "client"),
        DisconnectReason::HeartbeatTimeout => (Departure::Vanished, "heartbeat"),
        DisconnectReason::TransportClose => (Departure::Vanished, "transport_close"),
        DisconnectReason::TransportError => (Departure::Vanished, "transport_error"),
        DisconnectReason::PacketParsingError => (Departure::Vanished, "bad_packet"),
        _ => (Departure::Vanished, "server"),
    };
    if connection.client.stalled() {
        gateway.events.cut("stalled");
    }
    let way = gateway.clients.remove(connection.client.id());
    gateway.events.disconnected(way, label);
    if connection.queue.close(Item::Gone(how)) == Pushed::Begin {
        take_turns(&Arc::new(gateway.clone()), connection);
    }
}

fn take_turns(gateway: &Arc<Gateway>, connection: Arc<Connection>) {
    let (gateway, lifecycle) = (Arc::clone(gateway), gateway.lifecycle.clone());
    let turns = async move {
        let mut session = connection.session.lock().await;
        while let Some(item) = connection.queue.next(|| connection.client.pause(false)) {
            match item {
                Item::Event(incoming) => {
                    let pressed = connection.queue.waits();
                    gateway.handle(&connection.client, &mut session, incoming, pressed).await;
                }
                // Boxed as it is rare, and the task has room for it all the time.
                Item::Gone(how) => Box::pin(gone(&gateway, &connection, &session, how)).await,
            }
        }
    };
    lifecycle.spawn_until_hard("client-events", turns);
}

async fn gone(gateway: &Gateway, connection: &Connection, session: &Session, how: Departure) {
    for room in session.rooms() {
        gateway.rooms.leave(room, connection.client.id(), how).await;
    }
    let held = connection.held.lock().take();
    if let Some(held) = held {
        held.release(how).await;
    }
}

impl PartialEq for Item {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}
