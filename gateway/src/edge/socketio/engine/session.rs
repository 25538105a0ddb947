//! One session of Engine.IO, over long-polling, a WebSocket, or first the one and then the other. Created by
//! `polling.rs` and `upgrade.rs`, which pass it what its client sends; calls the sockets of its namespaces.
//!
//! The rules are those of the protocols of Engine.IO 4 and 3 and Socket.IO 5 and 4; where the documents are silent, of
//! the official server (socket.io 4.8.4 with `allowEIO3`).

mod receive;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::distr::{Alphanumeric, SampleString as _};
use roomcast_ops::Lifecycle;
use roomcast_protocol::limits::MAX_PACKET_BYTES;
use roomcast_store::Secret;
use roomcast_wire::engine::Version;
use serde_json::json;

use super::super::dialects::Namespace;
use super::super::threads::Notice;
use super::attachments::PartialEvent;
use super::ended::Ended;
use super::frame;
use super::long_memory::LongPackets;
use super::outbox::{Bounds, Kind, Outbox};
use super::pause::Pause;
use super::requests_under_way::RequestsUnderWay;
use super::socket::Socket;
use crate::edge::client_stream::ClientStream;
use crate::edge::peer::sid::{self, Tag};
use crate::hub::SendError;
use crate::room::Departure;
use crate::telemetry::{Telemetry, TransportKind};

/// Length of a socket's public id, in characters.
const SOCKET_ID_CHARS: usize = 20;
/// Time allowed from the opening of a session, or from leaving its last namespace, to its next connect packet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest path of an unknown namespace that is answered by name, in bytes.
const MAX_UNKNOWN_PATH: usize = 256;

/// Engine.IO's pings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heartbeat {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// Settings and dependencies of sessions.
pub(crate) struct SessionConfig {
    pub(crate) heartbeat: Heartbeat,
    /// Limits of what a slow reader may queue.
    pub(crate) bounds: Bounds,
    /// The memory of packets that carry images.
    pub(crate) long_packets: LongPackets,
    /// The tag of this process in session ids, if requests are forwarded between gateways.
    pub(crate) tag: Option<Tag>,
    pub(crate) table: Arc<dyn Table>,
    pub(crate) sockets: Arc<dyn Sockets>,
    pub(crate) telemetry: Telemetry,
    pub(crate) lifecycle: Lifecycle,
}

/// Keeps sessions. Implemented by `sessions.rs`.
pub(crate) trait Table: Send + Sync {
    /// A session was opened; `named` says that requests may name it.
    fn add(&self, session: &Arc<Session>, named: bool);

    /// The session's next call may be due sooner.
    fn wake(&self, session: &Arc<Session>);

    /// The session ended.
    fn remove(&self, session: &Session);
}

/// Creates the sockets of clients that enter a namespace. Implemented by `../socket.rs`.
pub(crate) trait Sockets: Send + Sync {
    /// A client asks for a namespace. `id` is the socket's.
    fn create(&self, session: &Arc<Session>, namespace: &'static Namespace, id: String) -> Arc<dyn Socket>;
}

pub(crate) struct Session {
    /// A secret: who knows it can act in the session.
    id: String,
    version: Version,
    /// The query of the handshake, which is the auth of Engine.IO 3 clients.
    query: Box<str>,
    config: Arc<SessionConfig>,
    outbox: Arc<Outbox>,
    pause: Pause,
    opened: Instant,
    /// When the client was last heard, in milliseconds since `opened`.
    heard: AtomicU64,
    /// The resume secret made for clients that chose none: one for all namespaces of the session.
    resume: OnceLock<String>,
    /// The secret in the browser's cookie, if one was read (`../visitor.rs`).
    visitor: OnceLock<Secret>,
    requests: RequestsUnderWay,
    state: Mutex<State>,
}

struct State {
    open: bool,
    /// The sockets of the namespaces that the client has entered, or is entering.
    sockets: Vec<Arc<dyn Socket>>,
    /// An event whose attachments have not all arrived.
    partial: Option<Box<PartialEvent>>,
    /// When a long packet, or the attachments of an event that holds the memory of one, must have arrived.
    long_until: Option<Instant>,
    /// Since when no namespace has been entered.
    idle_since: Option<Instant>,
    next_ping: Instant,
}

impl Session {
    /// Opens a session: over a WebSocket, or over long-polling.
    pub(crate) fn open(
        config: &Arc<SessionConfig>,
        version: Version,
        query: &str,
        stream: Option<ClientStream>,
    ) -> Arc<Self> {
        let (config, polls) = (Arc::clone(config), stream.is_none());
        let (lifecycle, telemetry) = (config.lifecycle.clone(), config.telemetry.clone());
        let opened = Instant::now();
        let state = State {
            open: true,
            sockets: Vec::new(),
            partial: None,
            long_until: None,
            idle_since: Some(opened),
            next_ping: opened + config.heartbeat.interval,
        };
        let session = Arc::new(Self {
            id: sid::random(config.tag),
            version,
            query: if version == Version::V3 { query.into() } else { "".into() },
            outbox: Arc::new(Outbox::new(stream, config.bounds, lifecycle, telemetry)),
            config,
            pause: Pause::default(),
            opened,
            heard: AtomicU64::new(0),
            resume: OnceLock::new(),
            visitor: OnceLock::new(),
            requests: RequestsUnderWay::default(),
            state: Mutex::new(state),
        });
        session.config.table.add(&session, polls);
        session
    }

    /// The first packet, which tells the client the session's id.
    pub(crate) fn open_packet(&self, upgrades: &[&str]) -> String {
        let Heartbeat { interval, timeout } = self.config.heartbeat;
        let (interval, timeout) = (interval.as_millis(), timeout.as_millis());
        // In the order of the reference, as clients may be found that look for the id at the beginning.
        format!(
            r#"0{{"sid":"{}","upgrades":{},"pingInterval":{interval},"pingTimeout":{timeout},"maxPayload":{}}}"#,
            self.id,
            json!(upgrades),
            MAX_PACKET_BYTES,
        )
    }

    /// What begins once the first packet is on its way: for Engine.IO 3, the connection itself enters `/`.
    pub(crate) fn begin(self: &Arc<Self>) {
        if self.version == Version::V3
            && let Some(root) = Namespace::of_path("/")
        {
            self.enter(root, "", "");
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The query of the handshake of an Engine.IO 3 client.
    pub(crate) fn query(&self) -> &str {
        &self.query
    }

    /// The requests that are being answered.
    pub(crate) fn requests(&self) -> &RequestsUnderWay {
        &self.requests
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Stops or resumes reading what the client sends.
    pub(crate) fn pause(&self) -> &Pause {
        &self.pause
    }

    pub(crate) fn resume_secret(&self) -> &OnceLock<String> {
        &self.resume
    }

    /// The secret in the browser's cookie, if one was read.
    pub(crate) fn visitor(&self) -> Option<&Secret> {
        self.visitor.get()
    }

    /// Takes the secret in the cookie of a request, unless one was read before.
    pub(crate) fn set_visitor(&self, read: impl FnOnce() -> Option<Secret>) {
        if self.visitor.get().is_none()
            && let Some(secret) = read()
        {
            self.visitor.get_or_init(|| secret);
        }
    }

    /// The current transport.
    pub(crate) fn transport(&self) -> TransportKind {
        if self.outbox.stream().is_some() { TransportKind::WebSocket } else { TransportKind::Polling }
    }

    fn socket(&self, namespace: &'static Namespace) -> Option<Arc<dyn Socket>> {
        self.state.lock().sockets.iter().find(|socket| socket.namespace() == namespace).cloned()
    }

    /// The client asks for a namespace, which it has not entered.
    fn enter(self: &Arc<Self>, namespace: &'static Namespace, auth: &str, query: &str) {
        let id = Alphanumeric.sample_string(&mut rand::rng(), SOCKET_ID_CHARS);
        let socket = self.config.sockets.create(self, namespace, id);
        let mut state = self.state.lock();
        if state.open {
            state.sockets.push(Arc::clone(&socket));
            state.idle_since = None;
            drop(state);
            socket.connect(auth.to_owned(), query.to_owned());
        }
    }

    /// Passes a notice to the socket of a namespace, if there is one.
    pub(crate) fn notify(&self, namespace: &'static Namespace, notice: Notice) {
        if let Some(socket) = self.socket(namespace) {
            socket.notice(notice);
        }
    }

    /// Whether the socket with this id is one of the session's.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.state.lock().sockets.iter().any(|socket| socket.id() == id)
    }

    /// Whether the session has not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().open
    }

    /// The socket with this id was refused, or its client left the namespace.
    pub(crate) fn leave(self: &Arc<Self>, id: &str) {
        let mut state = self.state.lock();
        state.sockets.retain(|other| other.id() != id);
        if state.sockets.is_empty() {
            state.idle_since = Some(Instant::now());
            drop(state);
            self.config.table.wake(self);
        }
    }

    fn refuse_namespace(self: &Arc<Self>, path: &str) -> Result<(), Ended> {
        if path.len() > MAX_UNKNOWN_PATH {
            return Err(Ended::BadPacket);
        }
        // As in the reference, this is an object in both versions.
        let error = json!({ "message": "Invalid namespace" });
        self.send_connect_error(path, &error).map_err(|_| Ended::Server)
    }

    /// Answers a connect packet with an error.
    pub(crate) fn send_connect_error(
        self: &Arc<Self>,
        path: &str,
        error: &serde_json::Value,
    ) -> Result<(), SendError> {
        let (path, comma) = if path == "/" { ("", "") } else { (path, ",") };
        self.send_packet(&["44", path, comma, &error.to_string()])
    }

    /// Sends a packet of the protocol.
    pub(crate) fn send_packet(self: &Arc<Self>, parts: &[&str]) -> Result<(), SendError> {
        self.outbox.send(&frame::text(parts), 1, Kind::Own).map(|written| {
            self.outbox.telemetry().wire.written(&written);
        })
    }

    /// Milliseconds since the session was opened.
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Pings the client, or closes a session that is silent for too long or has entered no namespace in time. Returns
    /// when to call it again; none once the session is closed.
    pub(super) fn on_timer(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let Heartbeat { interval, timeout } = self.config.heartbeat;
        let silent_at =
            self.opened + Duration::from_millis(self.heard.load(Ordering::Relaxed)) + interval + timeout;
        let mut state = self.state.lock();
        if !state.open {
            return None;
        }
        let idle_at = state.idle_since.map(|since| since + CONNECT_TIMEOUT);
        let ended = match idle_at {
            _ if now >= silent_at => Some(Ended::Heartbeat),
            _ if state.long_until.is_some_and(|until| now >= until) => Some(Ended::TransportError),
            Some(idle_at) if now >= idle_at => Some(Ended::NoNamespace),
            _ => None,
        };
        if let Some(ended) = ended {
            drop(state);
            self.close(ended);
            return None;
        }
        let others = [idle_at, state.long_until].into_iter().flatten();
        let mut next = others.fold(silent_at, Instant::min);
        if self.version == Version::V4 {
            let ping = now >= state.next_ping;
            if ping {
                state.next_ping = now + interval;
            }
            next = next.min(state.next_ping);
            drop(state);
            if ping {
                // A failed write ends the session elsewhere.
                self.send_packet(&["2"]).unwrap_or_default();
            }
        }
        Some(next)
    }

    /// Closes the session without a close frame, so that clients that do not notice one reconnect at once.
    pub(crate) fn close(self: &Arc<Self>, ended: Ended) {
        if self.end(ended) {
            match self.transport() {
                TransportKind::WebSocket => self.outbox.close(),
                TransportKind::Polling => self.outbox.finish(None),
            }
        }
    }

    /// Closes the session with a close frame that has this status, if its transport is a WebSocket.
    pub(super) fn close_with_status(self: &Arc<Self>, ended: Ended, status: Option<u16>) {
        if self.end(ended) {
            self.outbox.finish(status);
        }
    }

    /// The client has upgraded: moves the session to the WebSocket. False if it is closed, or has been moved.
    pub(crate) fn move_to(self: &Arc<Self>, stream: ClientStream) -> bool {
        if self.outbox.upgrade(stream).is_err() {
            return false;
        }
        let sockets = self.state.lock().sockets.clone();
        sockets.iter().for_each(|socket| socket.upgraded());
        true
    }

    /// Ends its sockets; false if that has been done.
    fn end(self: &Arc<Self>, ended: Ended) -> bool {
        let sockets = {
            let mut state = self.state.lock();
            if !std::mem::replace(&mut state.open, false) {
                return false;
            }
            state.partial = None;
            std::mem::take(&mut state.sockets)
        };
        self.config.table.remove(self);
        self.pause.end();
        let label = if self.outbox.stalled() { "stalled" } else { ended.label() };
        if label == "stalled" {
            self.config.telemetry.connections.cut("stalled");
        }
        tracing::debug!(?ended, "session closed");
        for socket in sockets {
            socket.disconnect(Departure::Dropped, label);
        }
        true
    }
}
