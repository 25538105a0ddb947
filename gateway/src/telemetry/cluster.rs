//! Redis, the bus and the node's lease. Called by the store as its observer, by callers of the store whose request
//! failed, and by `app.rs` at each scrape.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};
use roomcast_ops::metrics::SECONDS;
use roomcast_ops::{Metrics, MetricsError};
use roomcast_store::{Observer, StoreError, StoreMetrics};

pub(crate) struct Cluster {
    bus_up: IntGauge,
    bus_lag: Histogram,
    bus_messages: IntCounter,
    resubscribe_seconds: Histogram,
    redis_up: IntGauge,
    store: StoreMetrics,
    lease_held: IntGauge,
}

impl Cluster {
    pub(super) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            bus_up: metrics.gauge(
                "roomcast_bus_up",
                "1 while the heartbeat that the node sends to itself through the bus comes back; always 1 \
                 without Redis.",
            )?,
            bus_lag: metrics.histogram(
                "roomcast_bus_lag_seconds",
                "The heartbeat, from when it was sent to when it came back.",
                SECONDS,
            )?,
            bus_messages: metrics
                .counter("roomcast_bus_messages_total", "News of rooms received from the bus.")?,
            resubscribe_seconds: metrics.histogram(
                "roomcast_resubscribe_duration_seconds",
                "From the loss of the connection to the bus until every room is subscribed again.",
                SECONDS,
            )?,
            redis_up: metrics
                .gauge("roomcast_redis_up", "1 while Redis answers commands; always 1 without Redis.")?,
            store: StoreMetrics::new(metrics)?,
            lease_held: metrics.gauge("roomcast_lease_held", "1 while this node's lease holds.")?,
        })
    }
}

impl Cluster {
    /// Sets the gauges; called at each scrape.
    pub(crate) fn cluster_seen(&self, redis_up: bool, lease_held: bool) {
        self.redis_up.set(i64::from(redis_up));
        self.lease_held.set(i64::from(lease_held));
    }

    /// The node runs without Redis: the bus is always up.
    pub(crate) fn alone(&self) {
        self.bus_up.set(1);
    }

    /// Logs a failed request to the store, which the store itself has counted.
    pub(crate) fn store_failed(&self, what: &'static str, error: &StoreError) {
        tracing::warn!(what, %error, "store request failed");
    }
}

impl Observer for Cluster {
    fn request(&self, operation: &'static str, took: Option<Duration>, failed: Option<&StoreError>) {
        self.store.request(operation, took, failed);
    }

    fn bus_message(&self) {
        self.bus_messages.inc();
    }

    fn bus_heartbeat(&self, round_trip: Option<Duration>) {
        self.bus_up.set(i64::from(round_trip.is_some()));
        if let Some(lag) = round_trip {
            self.bus_lag.observe(lag.as_secs_f64());
        }
    }

    fn resubscribed(&self, took: Duration) {
        tracing::info!(?took, "all rooms resubscribed");
        self.resubscribe_seconds.observe(took.as_secs_f64());
    }
}
