//! What the node stands on: Redis, the bus, its lease. Called by the store as its observer, by those whose
//! request to it failed, and by `app.rs` at each scrape.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};
use roomcast_ops::metrics::{CounterSet, HistogramSet, SECONDS};
use roomcast_ops::{Metrics, MetricsError};
use roomcast_store::{FAILURES, OPERATIONS, Observer, StoreError};

use super::Events;

pub(super) struct Cluster {
    bus_up: IntGauge,
    bus_lag: Histogram,
    bus_messages: IntCounter,
    resubscribe_seconds: Histogram,
    redis_up: IntGauge,
    redis_seconds: HistogramSet,
    redis_errors: CounterSet,
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
            redis_seconds: metrics.histogram_set(
                "roomcast_redis_duration_seconds",
                "Requests to Redis from when they left to their answer, failed ones included, by what they \
                 were for.",
                ("operation", OPERATIONS),
                SECONDS,
            )?,
            redis_errors: metrics.counter_set(
                "roomcast_redis_errors_total",
                "Requests to Redis that failed: nothing happened (unavailable), nobody knows whether it did \
                 (unknown), the answer made no sense (corrupt).",
                "kind",
                FAILURES,
            )?,
            lease_held: metrics.gauge("roomcast_lease_held", "1 while this node's lease holds.")?,
        })
    }
}

impl Events {
    /// Looked up at each scrape.
    pub(crate) fn cluster_seen(&self, redis_up: bool, lease_held: bool) {
        self.0.cluster.redis_up.set(i64::from(redis_up));
        self.0.cluster.lease_held.set(i64::from(lease_held));
    }

    /// There is no Redis, so no bus that could be lost.
    pub(crate) fn alone(&self) {
        self.0.cluster.bus_up.set(1);
    }

    /// A part of the gateway did not get what it asked of the store, which has counted that itself.
    pub(crate) fn store_failed(&self, what: &'static str, error: &StoreError) {
        tracing::warn!(what, %error, "the store did not do it");
    }
}

impl Observer for Events {
    fn request(&self, operation: &'static str, took: Option<Duration>, failed: Option<&StoreError>) {
        if let Some(took) = took {
            self.0.cluster.redis_seconds.observe(operation, took.as_secs_f64());
        }
        if let Some(error) = failed {
            self.0.cluster.redis_errors.inc(error.label());
        }
    }

    fn bus_message(&self) {
        self.0.cluster.bus_messages.inc();
    }

    fn bus_heartbeat(&self, round_trip: Option<Duration>) {
        self.0.cluster.bus_up.set(i64::from(round_trip.is_some()));
        if let Some(lag) = round_trip {
            self.0.cluster.bus_lag.observe(lag.as_secs_f64());
        }
    }

    fn resubscribed(&self, took: Duration) {
        tracing::info!(?took, "every room is subscribed again");
        self.0.cluster.resubscribe_seconds.observe(took.as_secs_f64());
    }
}
