//! What the gateway says about itself: one function per happening, which counts it and, where a person
//! would want to read it, logs it. Names and labels of metrics stand here and nowhere else.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use roomcast_ops::{Metrics, MetricsError};
use roomcast_protocol::Code;
use roomcast_store::StoreError;

use crate::room::Healed;

/// A handle; clones share the metrics.
#[derive(Clone)]
pub(crate) struct Events(Arc<Inner>);

struct Inner {
    connections: IntGauge,
    refused: IntCounterVec,
    sent: IntCounter,
    delivered: IntCounter,
    cuts: IntCounterVec,
    disconnects: IntCounterVec,
    gaps: IntCounter,
    heals: IntCounterVec,
    resyncs: IntCounter,
    store_errors: IntCounterVec,
    forwarded: IntCounterVec,
}

/// What became of a request for a session of another gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Forwarded {
    /// It answered.
    Ok,
    /// No gateway holds the session.
    Unknown,
    /// Its gateway does not answer.
    Unreachable,
    /// Its gateway does not trust this one, or it would be one too many.
    Refused,
}

impl Events {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self(Arc::new(Inner {
            connections: metrics.gauge("roomcast_connections", "Clients connected to a namespace.")?,
            refused: metrics.counter_vec(
                "roomcast_refusals_total",
                "Requests refused, by code.",
                &["code"],
            )?,
            sent: metrics.counter(
                "roomcast_messages_stored_total",
                "Messages of this node's clients that were stored.",
            )?,
            delivered: metrics.counter(
                "roomcast_deliveries_total",
                "Messages given to this node's members, each counted.",
            )?,
            cuts: metrics.counter_vec(
                "roomcast_cuts_total",
                "Transports closed by the gateway, by reason.",
                &["reason"],
            )?,
            disconnects: metrics.counter_vec(
                "roomcast_disconnects_total",
                "Clients that went, by reason.",
                &["reason"],
            )?,
            gaps: metrics.counter("roomcast_gaps_total", "Times that news may have been missed.")?,
            heals: metrics.counter_vec(
                "roomcast_heals_total",
                "Rooms read again after a gap, by outcome.",
                &["outcome"],
            )?,
            resyncs: metrics
                .counter("roomcast_resyncs_total", "Times that members were told to read a room anew.")?,
            store_errors: metrics.counter_vec(
                "roomcast_store_errors_total",
                "Requests to the store that failed, by kind.",
                &["kind"],
            )?,
            forwarded: metrics.counter_vec(
                "roomcast_forwarded_total",
                "Requests passed to the gateway that holds their session, by kind and outcome.",
                &["kind", "outcome"],
            )?,
        })))
    }

    pub(crate) fn connected(&self) {
        self.0.connections.inc();
    }

    pub(crate) fn disconnected(&self, reason: &'static str) {
        self.0.connections.dec();
        self.0.disconnects.with_label_values(&[reason]).inc();
    }

    pub(crate) fn refused(&self, code: Code) {
        self.0.refused.with_label_values(&[code.name()]).inc();
    }

    pub(crate) fn stored(&self) {
        self.0.sent.inc();
    }

    /// Once a write of a room, whatever the number of members.
    pub(crate) fn delivered(&self, events: usize, members: usize) {
        self.0.delivered.inc_by((events * members) as u64);
    }

    pub(crate) fn cut(&self, reason: &'static str) {
        tracing::info!(reason, "a transport was closed");
        self.0.cuts.with_label_values(&[reason]).inc();
    }

    pub(crate) fn gap(&self) {
        self.0.gaps.inc();
    }

    pub(crate) fn healed(&self, healed: &Healed) {
        let outcome = match healed {
            Healed::Whole(_) => "whole",
            Healed::Lost(_) => "lost",
            Healed::Failed => "failed",
        };
        self.0.heals.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn resync(&self) {
        tracing::warn!("the log of a room cannot fill a gap: its members read it anew");
        self.0.resyncs.inc();
    }

    pub(crate) fn store_failed(&self, what: &'static str, error: &StoreError) {
        tracing::warn!(what, %error, "the store did not do it");
        self.0.store_errors.with_label_values(&[error.label()]).inc();
    }

    pub(crate) fn forwarded(&self, kind: &'static str, outcome: Forwarded) {
        let outcome = match outcome {
            Forwarded::Ok => "ok",
            Forwarded::Unknown => "unknown",
            Forwarded::Unreachable => "unreachable",
            Forwarded::Refused => "refused",
        };
        self.0.forwarded.with_label_values(&[kind, outcome]).inc();
    }
}
