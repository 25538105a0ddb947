//! Logs and metrics of the process: one function per event writes the log line and counts.
//! Called by the sweeper, the listener and the directory; `app.rs` makes it.

use std::time::Duration;

use roomcast_ops::Readiness;
use roomcast_ops::metrics::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Metrics, MetricsError, SECONDS,
};
use roomcast_store::{FAILURES, Incarnation, StoreError, StoreMetrics, Swept};

/// Every metric of this process, registered; called on the runtime that serves.
pub(crate) fn register() -> Result<(Metrics, Telemetry, Readiness), MetricsError> {
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"))?;
    metrics.publish_runtime(&tokio::runtime::Handle::current())?;
    let (telemetry, readiness) = (Telemetry::new(&metrics)?, Readiness::new());
    readiness.publish(&metrics)?;
    ["redis", "sweeper"].iter().for_each(|part| readiness.degrade(part, false));
    Ok((metrics, telemetry, readiness))
}

/// What docs/METRICS.md says of this process; called on a runtime.
///
/// # Errors
/// A metric's name breaks a rule.
pub fn inventory() -> Result<String, MetricsError> {
    register().map(|(metrics, ..)| metrics.markdown("roomcast-presence"))
}

/// A handle; clones share the metrics.
#[derive(Clone)]
pub(crate) struct Telemetry {
    sealed: IntCounter,
    waiting: IntGauge,
    sweeps: IntCounter,
    sweep_seconds: Histogram,
    facts: IntCounter,
    names: IntCounter,
    forgotten: IntCounter,
    errors: IntCounterVec,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    connections: IntGauge,
    accept_errors: IntCounter,
    users: IntGauge,
    nodes: IntGauge,
    redis_up: IntGauge,
    store: StoreMetrics,
}

impl Telemetry {
    pub(crate) fn new(m: &Metrics) -> Result<Self, MetricsError> {
        let errors = m.counter_vec(
            "roomcast_sweep_errors_total",
            "Failures of the sweeper (seal, sweep, forget); each is retried in the next round.",
            &["step", "kind"],
        )?;
        for step in ["seal", "sweep", "forget"] {
            FAILURES.iter().for_each(|kind| errors.with_label_values(&[step, kind]).inc_by(0));
        }
        Ok(Self {
            sealed: m.counter("roomcast_sealed_nodes_total", "Dead nodes that this replica noticed.")?,
            waiting: m.gauge("roomcast_sealed_nodes", "Dead nodes that are not forgotten yet.")?,
            sweeps: m
                .counter("roomcast_sweeps_total", "Sweeps that ended well; each dead node takes two.")?,
            sweep_seconds: m.histogram(
                "roomcast_sweep_seconds",
                "How long one sweep of a dead node took.",
                SECONDS,
            )?,
            facts: m.counter(
                "roomcast_swept_facts_total",
                "Facts (a user in a room by a dead node) that this replica removed.",
            )?,
            names: m
                .counter("roomcast_swept_names_total", "Names of dead nodes that this replica let go.")?,
            forgotten: m.counter("roomcast_forgotten_nodes_total", "Dead nodes of which nothing is left.")?,
            errors,
            requests: m.counter_vec(
                "roomcast_directory_requests_total",
                "Answers of the directory.",
                &["route", "status"],
            )?,
            request_seconds: m.histogram_vec(
                "roomcast_directory_request_seconds",
                "How long the directory took to answer.",
                &["route"],
                SECONDS,
            )?,
            connections: m.gauge("roomcast_directory_connections", "Open connections of the directory.")?,
            accept_errors: m.counter(
                "roomcast_directory_accept_errors_total",
                "Connections that could not be accepted, such as for lack of file descriptors.",
            )?,
            users: m.gauge(
                "roomcast_presence_users",
                "Users of the whole cluster who are online, those in grace included. Every replica counts the \
                 same, every few seconds: aggregate with max, not with sum.",
            )?,
            nodes: m.gauge(
                "roomcast_presence_nodes",
                "Gateways whose lease holds. Likewise the same on every replica.",
            )?,
            redis_up: m.gauge("roomcast_redis_up", "1 while Redis answers commands.")?,
            store: StoreMetrics::new(m)?,
        })
    }

    /// A node whose lease ran out was seen for the first time by this replica.
    pub(crate) fn node_died(&self, node: &Incarnation, age: Duration) {
        self.sealed.inc();
        tracing::warn!(incarnation = node.as_str(), sealed_for = ?age, "node's lease ran out; its users leave");
    }

    /// So many dead nodes are not forgotten yet.
    pub(crate) fn nodes_waiting(&self, nodes: usize) {
        self.waiting.set(i64::try_from(nodes).unwrap_or(i64::MAX));
    }

    /// What a dead node left was removed.
    pub(crate) fn swept(&self, node: &Incarnation, swept: Swept, took: Duration) {
        self.sweeps.inc();
        self.sweep_seconds.observe(took.as_secs_f64());
        self.facts.inc_by(count(swept.facts));
        self.names.inc_by(count(swept.names));
        let Swept { rooms, facts, names } = swept;
        tracing::info!(incarnation = node.as_str(), rooms, facts, names, ?took, "swept a dead node");
    }

    /// The last traces of a dead node are gone.
    pub(crate) fn forgotten(&self, node: &Incarnation) {
        self.forgotten.inc();
        tracing::info!(incarnation = node.as_str(), "forgot a dead node");
    }

    /// Looking for dead nodes failed; logged where it worked before.
    pub(crate) fn sealing_failed(&self, error: &StoreError, worked_before: bool) {
        self.errors.with_label_values(&["seal", error.label()]).inc();
        if worked_before {
            tracing::error!(%error, "cannot look for dead nodes; retrying every round");
        }
    }

    /// Looking for dead nodes works again.
    pub(crate) fn sealing_recovered(&self) {
        tracing::info!("looking for dead nodes works again");
    }

    /// Sweeping or forgetting a dead node failed; logged where it is this node's first failure in a row.
    pub(crate) fn sweep_failed(
        &self,
        step: &'static str,
        node: &Incarnation,
        error: &StoreError,
        first: bool,
    ) {
        self.errors.with_label_values(&[step, error.label()]).inc();
        if first {
            let incarnation = node.as_str();
            tracing::error!(incarnation, step, %error, "cannot sweep a dead node; retrying every round");
        }
    }

    /// The directory answered.
    pub(crate) fn answered(&self, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[route, &status.to_string()]).inc();
        self.request_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
        tracing::debug!(route, status, ?took, "answered");
    }

    /// What counts the requests to Redis.
    pub(crate) fn store(&self) -> StoreMetrics {
        self.store.clone()
    }

    /// The store's answer made no sense; the client got a 500 without details.
    pub(crate) fn store_corrupt(&self, error: &StoreError) {
        tracing::error!(%error, "unexpected answer of the store");
    }

    /// So many users are online, on so many gateways.
    pub(crate) fn online_counted(&self, users: usize, nodes: usize) {
        self.users.set(i64::try_from(users).unwrap_or(i64::MAX));
        self.nodes.set(i64::try_from(nodes).unwrap_or(i64::MAX));
    }

    /// Counting failed; the gauges keep their values.
    pub(crate) fn count_failed(&self, error: &StoreError) {
        tracing::debug!(%error, "cannot count who is online");
    }

    /// Whether Redis answers, looked up at each scrape.
    pub(crate) fn set_redis_up(&self, up: bool) {
        self.redis_up.set(i64::from(up));
    }

    /// A connection was accepted; it counts until the guard is dropped.
    pub(crate) fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    /// A connection could not be accepted.
    pub(crate) fn accept_failed(&self, error: &std::io::Error) {
        self.accept_errors.inc();
        tracing::warn!(%error, "cannot accept a connection");
    }
}

/// An open connection of the directory.
pub(crate) struct Connected(IntGauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
