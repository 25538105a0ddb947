//! Puts the process together: the store, the sweeper, the directory's listener and the admin listener.
//! Called by `main.rs` and by the tests, both on the same path.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use roomcast_ops::config::redact_url;
use roomcast_ops::{Admin, AdminHandle, CancellationToken, Latch, Lifecycle, LogLevel, Outcome, Readiness};
use roomcast_store::{Health, IgnoreEvents, Settings, Store};

use crate::config::Config;
use crate::directory;
use crate::listener::Listener;
use crate::online_count;
use crate::sweeper::Sweeper;
use crate::telemetry::{self, Telemetry};

/// How long requests in progress may take after the listener has closed.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A process that is bound and connected (or connecting), and serves once [`run`](Self::run) is called.
pub struct App {
    lifecycle: Lifecycle,
    store_lifecycle: Lifecycle,
    readiness: Readiness,
    redis: Latch,
    store: Store,
    sweeper: Sweeper,
    listener: Listener,
    router: Router,
    telemetry: Telemetry,
    admin: AdminHandle,
}

impl App {
    /// Binds both addresses and begins to connect. The admin listener answers from here on; a Redis that
    /// cannot be reached is no error, `/readyz` names it.
    ///
    /// # Errors
    /// An address that cannot be had, or a URL of Redis that the store does not understand.
    pub async fn build(config: &Config, lifecycle: Lifecycle, log: LogLevel) -> anyhow::Result<Self> {
        let (metrics, telemetry, readiness) = telemetry::register()?;
        let (redis, swept) = (readiness.latch("redis"), readiness.latch("first-sweep"));

        let listener = Listener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let admin = Admin::bind(config.admin, readiness.clone(), metrics.clone(), log)
            .with_context(|| format!("cannot listen on {}, the admin address", config.admin))?;

        // A lifecycle of its own: the connections to Redis are needed until the last request has been answered,
        // so the shutdown must not wait for them to end.
        let store_lifecycle = Lifecycle::new();
        let settings = Settings { prefix: config.prefix.clone(), ..Settings::default() };
        let store = Store::on_redis(
            &config.redis,
            &settings,
            // The directory reads the state at each request, and subscribes to no room.
            Arc::new(IgnoreEvents),
            Arc::new(telemetry.store()),
            &store_lifecycle,
        )
        .with_context(|| format!("--redis {}", redact_url(&config.redis)))?;
        let (health, scraped) = (store.health.clone(), telemetry.clone());
        metrics.before_scrape(move || scraped.set_redis_up(health.now().up));

        let times = (config.lease, config.sweep_every);
        let sweeper = Sweeper::new(
            Arc::new(store.clone()),
            store.health.clone(),
            times,
            telemetry.clone(),
            readiness.clone(),
            swept,
        );
        let router = directory::router(store.clone(), telemetry.clone());
        tracing::info!(redis = redact_url(&config.redis), lease = ?config.lease, "starting");
        Ok(Self {
            lifecycle,
            store_lifecycle,
            readiness,
            redis,
            store,
            sweeper,
            listener,
            router,
            telemetry,
            admin: admin.start(),
        })
    }

    /// Where the directory listens, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Where the admin listener listens, likewise.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Serves until the lifecycle's soft token is cancelled, then accepts no more connections, finishes the
    /// requests in progress, and returns the outcome.
    pub async fn run(self) -> Outcome {
        let soft = self.lifecycle.soft();
        let counter = online_count::run(self.store.clone(), self.telemetry.clone(), soft.clone());
        let watch = follow_redis(self.store.health, self.readiness.clone(), self.redis, soft.clone());
        let serve = self.listener.serve(self.router, self.telemetry, self.lifecycle.clone());
        self.lifecycle.spawn_critical("redis-watch", watch);
        self.lifecycle.spawn_critical("sweeper", self.sweeper.run(soft.clone()));
        self.lifecycle.spawn_critical("online-count", counter);
        self.lifecycle.spawn_critical("listener", serve);

        soft.cancelled().await;
        self.readiness.drain();
        let outcome = self.lifecycle.finish(DRAIN_TIMEOUT).await;
        self.store_lifecycle.hard().cancel();
        self.admin.stop();
        outcome
    }
}

/// Opens the latch when Redis is first reached. Later outages degrade only: all replicas share that
/// Redis, and taking all of them out helps nobody.
async fn follow_redis(health: Health, readiness: Readiness, latch: Latch, stop: CancellationToken) {
    let mut reach = health.watch();
    let follow = async {
        loop {
            let reached = *reach.borrow_and_update();
            readiness.degrade("redis", !reached.is_whole());
            if reached.up {
                latch.open();
            }
            // An end of the changes is the end of the store, which ends the process: this task is critical.
            if reach.changed().await.is_err() {
                return;
            }
        }
    };
    stop.run_until_cancelled(follow).await;
}
