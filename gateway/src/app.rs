//! Builds a gateway (it binds first, so that its addresses can be read), runs it, and stops it in stages: not ready,
//! no new clients, clients closed in jittered batches, flush. Called by `main.rs` and by tests.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use roomcast_ops::{Admin, AdminHandle, Latch, Lifecycle, LogLevel, Metrics, Outcome, Readiness};
use roomcast_protocol::UserName;
use roomcast_protocol::server::Restarting;
use roomcast_store::{Health, Peer, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::chat::Chat;
use crate::config::Config;
use crate::edge::http::debug::{self, Debug};
use crate::edge::peer::sid::Tag;
use crate::edge::peer::{PeerConfig, Peering, Peers};
use crate::edge::socketio::Heartbeat;
use crate::edge::{self, EdgeConfig, Routes};
use crate::hub::{Event, Registry};
use crate::inbox::Inboxes;
use crate::listener::NodeListener;
use crate::node::Node;
use crate::recovery::Recovery;
use crate::room::{RoomDeps, RoomTiming, Rooms};
use crate::telemetry::{self, Telemetry};
use crate::users::Users;

/// Connections in one batch of a drain at most.
const DRAIN_BATCH: usize = 64;
/// How long the last acknowledgements and leaves may take after all clients are closed.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A gateway, bound and not yet running.
pub struct App {
    public: TcpListener,
    public_address: SocketAddr,
    peer: Option<(PeerListener, Peers)>,
    admin: AdminHandle,
    routes: Routes,
    readiness: Readiness,
    registry: Registry,
    /// How long a connection of a client may be idle between two requests.
    keep_alive: Duration,
    drain: Duration,
    /// Cancelled once all clients are closed.
    drained: CancellationToken,
    /// The lifecycle of the store and the rooms, which end last.
    store_lifecycle: Lifecycle,
}

/// The listener for other gateways.
struct PeerListener {
    listener: TcpListener,
    /// The address by which they reach it.
    address: String,
    tag: Tag,
}

impl PeerListener {
    async fn bind(peering: &Peering) -> anyhow::Result<Self> {
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
            Some(peering) => Some(PeerListener::bind(peering).await?),
            None => None,
        };
        let (metrics, telemetry, readiness) = telemetry::register()?;
        if config.log_chat {
            telemetry.chat_log.enable();
        }
        let registered = readiness.latch("lease");
        let admin = Admin::bind(config.admin, readiness.clone(), metrics.clone(), log)
            .context(format!("listen on {} for operators", config.admin))?;

        let workers = std::thread::available_parallelism().map_or(2, usize::from) * 2;
        let (rooms, queues) = Rooms::new(workers);
        let (inboxes, inbox_queue) = Inboxes::new();
        let sink = Arc::new(NodeListener { rooms: rooms.clone(), inboxes: inboxes.clone() });
        let store_lifecycle = Lifecycle::new();
        let store = match &config.redis {
            Some(url) => {
                let observer = Arc::clone(&telemetry.cluster);
                Store::on_redis(url, &config.store, sink, observer, &store_lifecycle)
                    .context("use --redis")?
            }
            None => {
                telemetry.cluster.alone();
                Store::in_memory(&config.store, sink)
            }
        };
        let reached = peer
            .as_ref()
            .map(|listener| Peer { tag: listener.tag.to_string(), address: listener.address.clone() });
        let node = Node::new(config.node.clone(), config.lease, reached);
        if let Some(every) = config.test_drop_every {
            tracing::warn!(
                every,
                "--test-drop-every: messages to members are lost on purpose, for tests of tests"
            );
        }
        let registry = Registry::new(telemetry.clone(), config.test_drop_every);
        let connections = registry.clone();
        let on_name_lost = Arc::new(move |user: &UserName| connections.close_user(user, "name_lost"));
        let users = Users::new(store.clone(), node.clone(), config.grace, on_name_lost);
        // Three times within the idle time: a log does not expire after one failure.
        let timing = RoomTiming { grace: config.grace, touch: config.store.retention.idle / 3 };
        let room_deps = RoomDeps::new(
            store.clone(),
            node.clone(),
            registry.clone(),
            telemetry.clone(),
            store_lifecycle.clone(),
            timing,
            config.batch_window,
        );
        rooms.start(queues, &room_deps);
        let receive = receive_broadcasts(rooms.clone(), store.health.clone(), readiness.latch("broadcasts"));
        background(lifecycle, "broadcasts", lifecycle.soft(), receive);
        inboxes.start(inbox_queue, store.clone(), telemetry.clone(), &store_lifecycle);

        set_gauges_at_scrapes(&metrics, &telemetry, &registry, (&store, &node, &readiness));
        let debug = Debug { rooms: rooms.clone(), registry: registry.clone(), store: store.clone() };
        let chat = Chat {
            store: store.clone(),
            node: node.clone(),
            rooms: rooms.clone(),
            users: users.clone(),
            inboxes,
            telemetry: telemetry.clone(),
            grace: config.grace,
            images: config.images.clone(),
            listed: config.rooms.clone().into(),
            broadcast: config.broadcast,
        };

        let peers = config.peering.as_ref().zip(peer.as_ref()).map(|(peering, listener)| {
            let peer_config = PeerConfig {
                tag: listener.tag,
                secret: peering.secret.clone(),
                longest_poll: config.ping_interval + config.ping_timeout,
                drain: config.drain,
                telemetry: telemetry.clone(),
                lifecycle: lifecycle.clone(),
            };
            Peers::new(Arc::clone(&store.nodes), peer_config)
        });
        if let Some(peers) = &peers {
            background(lifecycle, "peers", lifecycle.soft(), peers.clone().keep(config.lease / 2));
        }

        // A drained node stops renewing its lease and removes no presence: its users reconnect to other nodes. It
        // renews until its last client is closed, however long the drain takes.
        let drained = CancellationToken::new();
        let keep_lease = node.clone().keep_lease(store.clone(), registered);
        background(lifecycle, "lease", drained.clone(), keep_lease);
        background(lifecycle, "names", lifecycle.soft(), users.clone().keep_in_sync());
        let recovery = Recovery { health: store.health, node, users, rooms, readiness: readiness.clone() };
        background(lifecycle, "recovery", lifecycle.soft(), recovery.run());
        let routes = edge::routes(EdgeConfig {
            chat,
            registry: registry.clone(),
            peers: peers.clone(),
            hosts: config.hosts,
            origins: config.origins,
            bounds: config.bounds,
            heartbeat: Heartbeat { interval: config.ping_interval, timeout: config.ping_timeout },
            dialect: config.dialect,
            lifecycle: lifecycle.clone(),
            drained: drained.clone(),
        });
        let admin = debug::mount(admin, debug).start();
        let peer = peer.zip(peers);
        let drain = config.drain;
        Ok(Self {
            public,
            public_address,
            peer,
            admin,
            routes,
            readiness,
            registry,
            keep_alive: config.keep_alive,
            drain,
            drained,
            store_lifecycle,
        })
    }

    /// The address for clients.
    pub fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    /// Prints its addresses to standard output, for operators and for programs that start it on port 0.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn announce(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "listening on http://{}", self.public_address)?;
        writeln!(out, "admin on http://{}", self.admin.local_addr())?;
        if let Some((listener, _)) = &self.peer {
            writeln!(out, "peer on {}", listener.listener.local_addr()?)?;
        }
        out.flush()
    }

    /// Serves until the lifecycle is stopped, then drains.
    pub async fn run(self, lifecycle: Lifecycle) -> Outcome {
        let serving =
            edge::accept::serve(self.public, self.routes.public, self.keep_alive, lifecycle.clone());
        lifecycle.spawn_critical("accept", serving);
        let peers = self.peer.map(|(listener, peers)| {
            lifecycle
                .spawn_critical("accept-peers", peers.clone().serve(listener.listener, self.routes.peer));
            peers
        });
        lifecycle.stopped().await;
        let end = Instant::now() + self.drain;
        self.readiness.drain();
        drain(&self.registry, self.drain).await;
        self.drained.cancel();
        if let Some(peers) = peers {
            // Not earlier, so that clients whose polls arrive through other gateways received the drain's events, too.
            peers.close();
        }
        // Tunnels of other gateways' clients end in the same window.
        let outcome = lifecycle.finish(end.saturating_duration_since(Instant::now()) + FLUSH_TIMEOUT).await;
        // The store is not called any more.
        self.store_lifecycle.hard().cancel();
        if tokio::time::timeout(FLUSH_TIMEOUT, self.store_lifecycle.ended()).await.is_err() {
            tracing::warn!(running = ?self.store_lifecycle.running(), "tasks of the store did not end in time");
        }
        self.admin.stop();
        outcome
    }
}

/// Sets gauges that cost less to compute at each scrape than to update at each change.
fn set_gauges_at_scrapes(
    metrics: &Metrics,
    telemetry: &Telemetry,
    registry: &Registry,
    (store, node, readiness): (&Store, &Node, &Readiness),
) {
    let (telemetry, registry, health) = (telemetry.clone(), registry.clone(), store.health.clone());
    let (node, readiness) = (node.clone(), readiness.clone());
    metrics.before_scrape(move || {
        telemetry.cluster.cluster_seen(health.now().up, node.current().is_some());
        telemetry.connections.drain_seen(readiness.report().draining, registry.count());
    });
}

/// Runs a task until `until` is cancelled. It is not critical, because it is meant to end then.
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

/// Has the node receive messages to everyone, before it is ready for clients, who could miss one otherwise.
async fn receive_broadcasts(rooms: Rooms, health: Health, receives: Latch) {
    // False only where the store has ended, and this process with it.
    if health.wait_up(Duration::MAX).await {
        rooms.receive_broadcasts().await;
        receives.open();
    }
}

/// Closes all connections in jittered batches, so that the clients do not all reconnect at once.
async fn drain(registry: &Registry, window: Duration) {
    let all = registry.all();
    let batches = all.len().div_ceil(DRAIN_BATCH);
    // A node with few connections need not use the whole window: a tenth of a second a batch is slow enough.
    let pause = (window / u32::try_from(batches.max(1)).unwrap_or(u32::MAX)).min(Duration::from_millis(100));
    if !all.is_empty() {
        tracing::info!(connections = all.len(), "closing connections");
    }
    for batch in all.chunks(DRAIN_BATCH) {
        for connection in batch {
            let reconnect_in_ms = rand::random_range(100..2_000);
            connection.send_own(&Event::Restarting(Restarting { reconnect_in_ms }));
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        for connection in batch {
            connection.close("drain");
        }
    }
}
