//! What one stretch of sending came to: the swarm's report.

use std::time::Duration;

use serde::Serialize;

use super::counts::{Counts, ms};

/// A stretch of sending, with everything that came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    /// How long was sent.
    pub seconds: f64,
    /// Messages.
    pub sent: u64,
    /// Deliveries that should come of them.
    pub expected: u64,
    /// Deliveries that came, each counted once.
    pub delivered: u64,
    /// Deliveries that never came, since the swarm began.
    pub lost: u64,
    /// Deliveries that came again.
    pub repeated: u64,
    /// Deliveries after a later one of the same sender.
    pub disordered: u64,
    /// Deliveries whose place in the room others saw differently.
    pub disagreed: u64,
    /// Deliveries to a member of another room, or of what nobody sent.
    pub strays: u64,
    /// Sends that were acknowledged.
    pub acked: u64,
    /// Sends that were refused.
    pub refused: u64,
    /// What the first refusal said.
    pub refusal: Option<String>,
    /// Bytes received per delivery, acknowledgements and heartbeats included.
    pub bytes_per_delivery: f64,
    /// From send to receive, in milliseconds.
    pub p50_ms: f64,
    /// The same, 99 of 100.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// How late the swarm sent, 99 of 100, in milliseconds.
    pub late_p99_ms: f64,
    /// The share of its one thread's time that the swarm was busy: at 1 it is the bottleneck.
    pub busy: f64,
}

impl Window {
    pub(super) fn new(counts: &Counts, lost: u64, sending: Duration, busy: f64) -> Self {
        Self {
            seconds: sending.as_secs_f64(),
            sent: counts.sent,
            expected: counts.expected,
            delivered: counts.delivered,
            lost,
            repeated: counts.repeated,
            disordered: counts.disordered,
            disagreed: counts.disagreed,
            strays: counts.strays,
            acked: counts.acked,
            refused: counts.refused,
            refusal: counts.refusal.clone(),
            bytes_per_delivery: counts.bytes as f64 / counts.delivered.max(1) as f64,
            p50_ms: ms(&counts.latency, 0.5),
            p99_ms: ms(&counts.latency, 0.99),
            max_ms: ms(&counts.latency, 1.0),
            late_p99_ms: ms(&counts.lateness, 0.99),
            busy: busy / sending.as_secs_f64(),
        }
    }

    /// What makes the stretch worthless: anything lost, repeated, astray or refused.
    pub fn fault(&self) -> Option<String> {
        let counts = [
            (self.lost, "lost"),
            (self.repeated, "repeated"),
            (self.strays, "astray"),
            (self.refused, "sends refused"),
        ];
        let mut faults: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if self.delivered < self.expected && self.lost == 0 {
            faults.push(format!("{} of {} delivered", self.delivered, self.expected));
        }
        faults.extend(self.refusal.clone());
        (!faults.is_empty()).then(|| faults.join(", "))
    }
}
