//! Bytes read from and written to WebSockets. Called by the transports of `edge/socketio`, and by `hub/fanout.rs` with
//! the totals of a fan-out.

use prometheus::{IntCounter, IntGauge};
use roomcast_ops::{Metrics, MetricsError};

use super::numbers::{count, gauge};

pub(crate) struct Wire {
    received_bytes: IntCounter,
    sent_bytes: IntCounter,
    writes: IntCounter,
    frames: IntCounter,
    queue_bytes: IntGauge,
}

impl Wire {
    pub(super) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            received_bytes: metrics.counter(
                "roomcast_received_bytes_total",
                "Bytes received over WebSockets, heads included.",
            )?,
            sent_bytes: metrics
                .counter("roomcast_sent_bytes_total", "Bytes sent over WebSockets, heads included.")?,
            writes: metrics.counter("roomcast_writes_total", "Writes to WebSockets.")?,
            frames: metrics.counter(
                "roomcast_frames_written_total",
                "Frames in the writes to WebSockets: divided by roomcast_writes_total, how many are batched into one.",
            )?,
            queue_bytes: metrics
                .gauge("roomcast_queue_bytes", "Bytes that wait because WebSockets are read slowly.")?,
        })
    }
}

/// Writes that the operating system accepted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) writes: usize,
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

impl Written {
    pub(crate) fn add(&mut self, other: &Self) {
        self.writes += other.writes;
        self.frames += other.frames;
        self.bytes += other.bytes;
    }
}

impl Wire {
    pub(crate) fn read(&self, bytes: usize) {
        self.received_bytes.inc_by(count(bytes));
    }

    pub(crate) fn written(&self, written: &Written) {
        self.writes.inc_by(count(written.writes));
        self.frames.inc_by(count(written.frames));
        self.sent_bytes.inc_by(count(written.bytes));
    }

    /// The number of bytes queued for a client changed from `before` to `after`.
    pub(crate) fn queued(&self, before: usize, after: usize) {
        self.queue_bytes.add(gauge(after) - gauge(before));
    }
}
