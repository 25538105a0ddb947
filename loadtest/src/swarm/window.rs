//! The swarm's report on one period of sending.

use serde::Serialize;

use super::counts::{Counts, ms};

/// The results of one period of sending.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    /// The length of the period.
    pub seconds: f64,
    /// Messages that were sent.
    pub sent: u64,
    /// Deliveries that are expected for them.
    pub expected: u64,
    /// Deliveries that were received, each counted once.
    pub delivered: u64,
    /// Deliveries that were lost, since the swarm began.
    pub lost: u64,
    /// Deliveries that were repeated.
    pub repeated: u64,
    /// Deliveries after a later one of the same sender.
    pub disordered: u64,
    /// Deliveries at another position in the room than for other members.
    pub disagreed: u64,
    /// Deliveries to a member of another room, or of a message that was not sent.
    pub strays: u64,
    /// Sends that were acknowledged.
    pub acked: u64,
    /// Sends that were refused.
    pub refused: u64,
    /// The text of the first refusal.
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
    pub(crate) fn of(counts: &Counts) -> Self {
        Self {
            seconds: counts.seconds,
            sent: counts.sent,
            expected: counts.expected,
            delivered: counts.delivered,
            lost: counts.lost,
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
            busy: counts.busy,
        }
    }

    /// Why the results are not valid: deliveries that were lost, repeated or misdirected, or refused sends.
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
