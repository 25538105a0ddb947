//! Metrics and log lines of the gateway: one function per event, which counts it and, if operators need it, logs it.
//! Names and labels of metrics are defined in this folder only: clients in `connections.rs`, rooms and messages in
//! `rooms.rs`, bytes in `wire.rs`, Redis and the bus in `cluster.rs`; what users do is logged in `chat_log.rs`. docs/METRICS.md is generated from them.

mod chat_log;
mod cluster;
mod connections;
mod log_limit;
mod numbers;
mod rooms;
mod wire;

use std::sync::Arc;

use roomcast_ops::{Metrics, MetricsError, Readiness};

pub(crate) use chat_log::Deed;
pub(crate) use connections::{Forward, Forwarded, TransportKind};
pub(crate) use rooms::{FanoutTotals, HealOutcome};
pub(crate) use wire::Written;

/// Registers all metrics of this process; must be called on its tokio runtime.
pub(crate) fn register() -> Result<(Metrics, Telemetry, Readiness), MetricsError> {
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"))?;
    metrics.publish_runtime(&tokio::runtime::Handle::current())?;
    let (telemetry, readiness) = (Telemetry::new(&metrics)?, Readiness::new());
    readiness.publish(&metrics)?;
    readiness.degrade("redis", false);
    Ok((metrics, telemetry, readiness))
}

/// The section of docs/METRICS.md about this process; must be called on a tokio runtime.
///
/// # Errors
/// A metric's name breaks a rule.
pub fn inventory() -> Result<String, MetricsError> {
    register().map(|(metrics, ..)| metrics.markdown("roomcast-gateway"))
}

/// A handle; clones share the metrics.
#[derive(Clone)]
pub(crate) struct Telemetry(Arc<Groups>);

/// The metrics, by subject.
pub(crate) struct Groups {
    pub(crate) connections: connections::Connections,
    pub(crate) rooms: rooms::Rooms,
    pub(crate) wire: wire::Wire,
    pub(crate) chat_log: chat_log::ChatLog,
    /// Also the store's observer.
    pub(crate) cluster: Arc<cluster::Cluster>,
}

impl std::ops::Deref for Telemetry {
    type Target = Groups;

    fn deref(&self) -> &Groups {
        &self.0
    }
}

impl Telemetry {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self(Arc::new(Groups {
            connections: connections::Connections::new(metrics)?,
            rooms: rooms::Rooms::new(metrics)?,
            wire: wire::Wire::new(metrics)?,
            chat_log: chat_log::ChatLog::default(),
            cluster: Arc::new(cluster::Cluster::new(metrics)?),
        })))
    }
}

#[cfg(test)]
mod tests;
