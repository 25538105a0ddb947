//! Puts a gateway together (binding early, so that its addresses are known), runs it, and takes it down
//! in stages: unready, no new clients, clients closed in jittered batches, flush. Called by `main.rs`
//! and by tests.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use roomcast_ops::{Admin, AdminHandle, Lifecycle, LogLevel, Metrics, Outcome, Readiness};
use roomcast_protocol::limits::MAX_PACKET_BYTES;
use roomcast_protocol::{UserName, event, server::Restarting};
use roomcast_store::{Peer, Store};
use socketioxide::{ParserConfig, SocketIo};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::conn::Sessions;
use crate::debug::{self, Debug};
use crate::http::{self, Origins, Routes, Web};
use crate::node::Node;
use crate::peer::sid::Tag;
use crate::peer::{Circumstances, Peering, Peers};
use crate::recovery::Recovery;
use crate::room::{Pace, Rooms, Surroundings};
use crate::socket::{self, Clients, Gateway};
use crate::telemetry::{self, Events};
use crate::users::Users;

/// Packets that may wait for one client; more, and it reads too slowly.
const CLIENT_QUEUE: usize = 4_096;
/// Bytes of each connection's buffer for what it reads. A connection's stream has room for more while it reads.
const READ_BUFFER: usize = 128;
/// How long a client may take from its connection to its first connect packet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Clients that are closed at once when the node goes away, at most.
const DRAIN_BATCH: usize = 64;
/// How long the last acknowledgements and leaves may take after everyone is gone.
const FLUSH: Duration = Duration::from_secs(5);

/// A gateway, bound and not yet running.
pub struct App {
    public: TcpListener,
    public_address: SocketAddr,
    peer: Option<(Door, Peers)>,
    admin: AdminHandle,
    routes: Routes,
    readiness: Readiness,
    clients: Clients,
    drain: Duration,
    /// Pulled once no client is left.
    drained: CancellationToken,
    /// What everything above stands on: the store and the rooms. It ends last.
    beneath: Lifecycle,
}

/// Where other gateways come in.
struct Door {
    listener: TcpListener,
    /// Under which they reach it.
    address: String,
    tag: Tag,
}

impl Door {
    async fn open(peering: &Peering) -> anyhow::Result<Self> {
        let what = || format!("listen on {} for other gateways", peering.listen);
        let listener = TcpListener::bind(peering.listen).await.with_context(what)?;
        let bound = listener.local_addr()?;
        let address = peering.address.clone().unwrap_or_else(|| bound.to_string());
        Ok(Self { listener, address, tag: Tag::random() })
    }
}

impl App {
    /// Binds, connects in the background, and starts everything but the serving of clients.
    ///
    /// # Errors
    /// An address cannot be bound, or a metric's name is taken.
    pub async fn build(config: Config, lifecycle: &Lifecycle, log: LogLevel) -> anyhow::Result<Self> {
        let public =
            TcpListener::bind(config.listen).await.context(format!("listen on {}", config.listen))?;
        let public_address = public.local_addr()?;
        let peer = match &config.peering {
            Some(peering) => Some(Door::open(peering).await?),
            None => None,
        };
        let (metrics, events, readiness) = telemetry::begin()?;
        let registered = readiness.latch("lease");
        let admin = Admin::bind(config.admin, readiness.clone(), metrics.clone(), log)
            .context(format!("listen on {} for operators", config.admin))?;

        let workers = std::thread::available_parallelism().map_or(2, usize::from) * 2;
        let (rooms, unstarted) = Rooms::new(workers);
        let sink = Arc::new(rooms.clone());
        let beneath = Lifecycle::new();
        let store = match &config.redis {
            Some(url) => {
                let observer = Arc::new(events.clone());
                Store::on_redis(url, &config.store, sink, observer, &beneath).context("use --redis")?
            }
            None => {
                events.alone();
                Store::in_memory(&config.store, sink)
            }
        };
        let reached =
            peer.as_ref().map(|door| Peer { tag: door.tag.to_string(), address: door.address.clone() });
        let node = Node::new(config.node.clone(), config.lease, reached);
        let (sessions, clients) = (Sessions::default(), Clients::default());
        let losers = clients.clone();
        let on_name_lost = Arc::new(move |user: &UserName| losers.cut_user(user, "name_lost"));
        let users = Users::new(store.clone(), node.clone(), config.grace, on_name_lost);
        // Twice more before it would be too late.
        let pace = Pace { grace: config.grace, touch: config.store.retention.idle / 3 };
        let around = Surroundings::new(
            store.clone(),
            node.clone(),
            events.clone(),
            beneath.clone(),
            pace,
            config.gather,
        );
        rooms.start(unstarted, &around);

        look_up_at_scrapes(&metrics, &events, &clients, (&store, &node, &readiness));
        let debug = Debug { rooms: rooms.clone(), clients: clients.clone(), store: store.clone() };
        let (socket_io, io) = socket_io(&config);
        let gateway = Gateway {
            store: store.clone(),
            node: node.clone(),
            rooms: rooms.clone(),
            users: users.clone(),
            clients: clients.clone(),
            sessions: sessions.clone(),
            events: events.clone(),
            lifecycle: lifecycle.clone(),
            listed: config.rooms.clone().into(),
        };
        socket::mount(&io, &gateway);

        let peers = config.peering.as_ref().zip(peer.as_ref()).map(|(peering, door)| {
            let around = Circumstances {
                tag: door.tag,
                secret: peering.secret.clone(),
                longest_poll: config.ping_interval + config.ping_timeout,
                drain: config.drain,
                events: events.clone(),
                lifecycle: lifecycle.clone(),
            };
            Peers::new(Arc::clone(&store.nodes), around)
        });
        if let Some(peers) = &peers {
            background(lifecycle, "peers", lifecycle.soft(), peers.clone().keep(config.lease / 2));
        }

        // A drained node stops renewing and removes nothing: its users come back elsewhere. Until its last
        // client is closed it is alive, however long that takes.
        let drained = CancellationToken::new();
        let leasing = node.clone().keep_lease(store.clone(), registered);
        background(lifecycle, "lease", drained.clone(), leasing);
        background(lifecycle, "names", lifecycle.soft(), users.clone().keep_in_sync());
        let (health, readiness_of) = (store.health.clone(), readiness.clone());
        let recovery = Recovery { health, node, users, rooms, readiness: readiness_of };
        background(lifecycle, "recovery", lifecycle.soft(), recovery.run());
        let origins = Origins::new(config.allow_origin.clone());
        let routes = http::routes(Web {
            socket_io,
            origins,
            sessions,
            bounds: config.bounds,
            events,
            lifecycle: lifecycle.clone(),
            peers: peers.clone(),
        });
        let admin = debug::mount(admin, debug).start();
        let peer = peer.zip(peers);
        let drain = config.drain;
        Ok(Self { public, public_address, peer, admin, routes, readiness, clients, drain, drained, beneath })
    }

    /// Where clients connect.
    pub fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    /// Where operators connect.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Says on standard output where it listens: for people, and for programs that start it on port 0.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn announce(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "listening on http://{}", self.public_address)?;
        writeln!(out, "admin on http://{}", self.admin.local_addr())?;
        if let Some((door, _)) = &self.peer {
            writeln!(out, "peer on {}", door.listener.local_addr()?)?;
        }
        out.flush()
    }

    /// Serves until the lifecycle is stopped, then drains.
    pub async fn run(self, lifecycle: Lifecycle) -> Outcome {
        let serving = http::server::serve(self.public, self.routes.public, lifecycle.clone());
        lifecycle.spawn_critical("accept", serving);
        let peers = self.peer.map(|(door, peers)| {
            lifecycle.spawn_critical("accept-peers", peers.clone().serve(door.listener, self.routes.peer));
            peers
        });
        lifecycle.stopped().await;
        let end = Instant::now() + self.drain;
        self.readiness.drain();
        drain(&self.clients, self.drain).await;
        self.drained.cancel();
        if let Some(peers) = peers {
            // Until now, so that clients whose polls come by other gateways were told, too.
            peers.close();
        }
        // Tunnels of other gateways' clients end in the same window.
        let outcome = lifecycle.finish(end.saturating_duration_since(Instant::now()) + FLUSH).await;
        // Nobody asks anything of the store any more.
        self.beneath.hard().cancel();
        let ended = async {
            while !self.beneath.running().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(FLUSH, ended).await.is_err() {
            tracing::warn!(running = ?self.beneath.running(), "the store did not end");
        }
        self.admin.stop();
        outcome
    }
}

/// Gauges that cost less to look up when somebody asks than to keep.
fn look_up_at_scrapes(
    metrics: &Metrics,
    events: &Events,
    clients: &Clients,
    (store, node, readiness): (&Store, &Node, &Readiness),
) {
    let (events, clients, health) = (events.clone(), clients.clone(), store.health.clone());
    let (node, readiness) = (node.clone(), readiness.clone());
    metrics.before_scrape(move || {
        clients.count_upgrades(&events);
        events.cluster_seen(health.now().up, node.current().is_some());
        events.drain_seen(readiness.report().draining, clients.count());
    });
}

fn socket_io(config: &Config) -> (http::SocketIoHttp, SocketIo) {
    let parser = ParserConfig::common()
        .max_incoming_binaries(10)
        .max_incoming_binary_buf_size(MAX_PACKET_BYTES)
        .packet_completion_timeout(Duration::from_secs(10));
    SocketIo::builder()
        .ping_interval(config.ping_interval)
        .ping_timeout(config.ping_timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        .max_buffer_size(CLIENT_QUEUE)
        .max_payload(MAX_PACKET_BYTES as u64)
        .ws_max_message_size(MAX_PACKET_BYTES)
        .ws_max_frame_size(MAX_PACKET_BYTES)
        .ws_read_buffer_size(READ_BUFFER)
        .with_parser(parser)
        .build_with_inner_svc(Router::new())
}

/// Runs beside the serving until its time; not critical, for it ends when it is told to.
fn background(
    lifecycle: &Lifecycle,
    name: &'static str,
    until: CancellationToken,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let hard = lifecycle.hard();
    lifecycle.spawn(name, async move {
        tokio::select! {
            () = work => {}
            () = until.cancelled() => {}
            () = hard.cancelled() => {}
        }
    });
}

/// Closes the transports of all clients in jittered batches, so that their coming back is spread.
async fn drain(clients: &Clients, window: Duration) {
    let all = clients.all();
    let batches = all.len().div_ceil(DRAIN_BATCH);
    // A small node need not take the whole window: a tenth of a second a batch is slow enough.
    let pause = (window / u32::try_from(batches.max(1)).unwrap_or(u32::MAX)).min(Duration::from_millis(100));
    if !all.is_empty() {
        tracing::info!(clients = all.len(), "closing connections");
    }
    for batch in all.chunks(DRAIN_BATCH) {
        for client in batch {
            let reconnect_in_ms = rand::random_range(100..2_000);
            client.emit(event::server::RESTARTING, &Restarting { reconnect_in_ms });
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        for client in batch {
            client.cut("drain");
        }
    }
}
