//! Rooms on this node: members, messages, fan-outs, and recovery from gaps. Called by `room/`,
//! `hub/fanout.rs` and `chat/send_message.rs`; nothing here runs once per recipient.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Histogram, IntCounter, IntGauge};
use roomcast_ops::metrics::{CounterSet, SECONDS, SHORT_SECONDS};
use roomcast_ops::{Metrics, MetricsError};

use super::numbers::{count, gauge};
use super::wire::Written;

/// The dialects of `edge/socketio/dialects`.
const DIALECTS: [&str; 6] = ["native", "flocker", "abidev", "flask-chat-app", "ribbit", "private-rooms"];

/// Bucket bounds for members of a room.
const MEMBERS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 50_000.0];

pub(crate) struct Rooms {
    rooms: IntGauge,
    members: IntGauge,
    joins: IntCounter,
    stored: IntCounter,
    delivered: IntCounter,
    encoded: CounterSet,
    lag: Histogram,
    fanout_members: Histogram,
    fanout_seconds: Histogram,
    gaps: IntCounter,
    heals: CounterSet,
    resyncs: IntCounter,
}

impl Rooms {
    pub(super) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            rooms: metrics.gauge("roomcast_rooms", "Rooms with members on this node.")?,
            members: metrics
                .gauge("roomcast_members", "Memberships on this node: a client in three rooms is three.")?,
            joins: metrics.counter("roomcast_joins_total", "Joins answered with yes.")?,
            stored: metrics.counter(
                "roomcast_messages_stored_total",
                "Messages of this node's clients that were stored.",
            )?,
            delivered: metrics.counter(
                "roomcast_deliveries_total",
                "Events of rooms given to this node's members, each counted.",
            )?,
            encoded: metrics.counter_set(
                "roomcast_messages_encoded_total",
                "Messages encoded for members on this node, by dialect: each once for every dialect that members of \
                 its room here speak, however many they are.",
                "dialect",
                &DIALECTS,
            )?,
            lag: metrics.histogram(
                "roomcast_delivery_lag_seconds",
                "From when a message was stored, by the clock of Redis, to when it was written to its last \
                 member on this node, by this node's clock: it includes the difference between the two clocks, \
                 and is 0 where that would make it negative. The oldest message of each fan-out counts.",
                SECONDS,
            )?,
            fanout_members: metrics.histogram(
                "roomcast_fanout_members",
                "Members of a room that one fan-out reached on this node.",
                MEMBERS,
            )?,
            fanout_seconds: metrics.histogram(
                "roomcast_fanout_duration_seconds",
                "One fan-out, from its first to its last member.",
                SHORT_SECONDS,
            )?,
            gaps: metrics.counter("roomcast_gaps_total", "Times that news may have been missed.")?,
            heals: metrics.counter_set(
                "roomcast_heals_total",
                "Rooms read again after a gap: nothing is missing (whole), the log could not fill it (lost), it \
                 will be tried again (failed).",
                "outcome",
                &HealOutcome::ALL.map(HealOutcome::name),
            )?,
            resyncs: metrics
                .counter("roomcast_resyncs_total", "Times that members were told to read a room again.")?,
        })
    }
}

/// The outcome of reading a room again after a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HealOutcome {
    Whole,
    Lost,
    Failed,
}

impl HealOutcome {
    const ALL: [Self; 3] = [Self::Whole, Self::Lost, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Lost => "lost",
            Self::Failed => "failed",
        }
    }
}

/// Totals of one fan-out, summed up over its members.
#[derive(Debug, Default)]
pub(crate) struct FanoutTotals {
    /// Number of members that it was sent to.
    pub(crate) members: usize,
    /// What was written at once; what was queued is counted when it is written.
    pub(crate) written: Written,
}

impl FanoutTotals {
    /// The batch was sent to one more member, unless it was not.
    pub(crate) fn add(&mut self, sent: Option<Written>) {
        if let Some(written) = sent {
            self.members += 1;
            self.written.add(&written);
        }
    }
}

impl Rooms {
    /// The number of a room's members on this node changed from `before` to `after`.
    pub(crate) fn members_changed(&self, before: usize, after: usize) {
        self.members.add(gauge(after) - gauge(before));
        self.rooms.add(i64::from(after > 0) - i64::from(before > 0));
    }

    pub(crate) fn joined(&self) {
        self.joins.inc();
    }

    pub(crate) fn stored(&self) {
        self.stored.inc();
    }

    /// Messages were encoded for all members that speak a dialect.
    pub(crate) fn encoded(&self, dialect: &str, messages: usize) {
        self.encoded.add(dialect, count(messages));
    }

    /// A batch of `events` events was sent to the members of a room; `oldest` is when its first message was stored, in
    /// milliseconds since 1970, if it has one.
    pub(crate) fn fanned_out(
        &self,
        events: usize,
        oldest: Option<u64>,
        totals: &FanoutTotals,
        took: Duration,
    ) {
        if totals.members == 0 {
            return;
        }
        self.delivered.inc_by(count(events * totals.members));
        #[expect(clippy::cast_precision_loss, reason = "a node has fewer members than that")]
        self.fanout_members.observe(totals.members as f64);
        self.fanout_seconds.observe(took.as_secs_f64());
        if let Some(stored) = oldest {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.lag.observe(now.saturating_sub(Duration::from_millis(stored)).as_secs_f64());
        }
    }

    pub(crate) fn gap(&self) {
        self.gaps.inc();
    }

    pub(crate) fn healed(&self, outcome: HealOutcome) {
        self.heals.inc(outcome.name());
    }

    pub(crate) fn resync(&self) {
        tracing::warn!("a room's log cannot fill a gap; its members must resync");
        self.resyncs.inc();
    }
}
