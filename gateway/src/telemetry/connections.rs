//! Connects, events and disconnects of clients. Called by the edge, `hub/` and `app.rs`.

use std::fmt::Display;
use std::time::{Duration, Instant};

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use roomcast_ops::metrics::{CounterSet, GaugeSet, SECONDS};
use roomcast_ops::{Metrics, MetricsError};
use roomcast_protocol::{Code, event};

use super::log_limit::LogLimit;
use super::numbers::gauge;

/// The transport of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportKind {
    WebSocket,
    Polling,
}

impl TransportKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Polling => "polling",
        }
    }
}

/// The kind of a request forwarded to the owner of its session.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Forward {
    Poll,
    Upgrade,
}

impl Forward {
    const ALL: [Self; 2] = [Self::Poll, Self::Upgrade];

    const fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Upgrade => "upgrade",
        }
    }
}

/// The outcome of forwarding a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Forwarded {
    /// The owner answered.
    Ok,
    /// The session's owner is unknown.
    Unknown,
    /// The owner cannot be reached.
    Unreachable,
    /// Too many forwarded requests, or authentication failed.
    Refused,
}

impl Forwarded {
    const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Unreachable, Self::Refused];

    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }
}

pub(crate) struct Connections {
    connections: GaugeSet,
    connects: CounterSet,
    connect_seconds: Histogram,
    disconnects: CounterSet,
    cuts: CounterSet,
    refusals: CounterSet,
    origin_refusals: CounterSet,
    origin_log: LogLimit,
    host_refusals: IntCounter,
    host_log: LogLimit,
    received: CounterSet,
    forwarded: IntCounterVec,
    draining: IntGauge,
    drain_remaining: IntGauge,
}

impl Connections {
    pub(super) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let codes = Code::ALL.map(Code::name);
        let outcomes: Vec<_> = ["ok"].into_iter().chain(codes).collect();
        let events: Vec<_> = event::client::ALL.iter().map(|event| event.name).chain(["other"]).collect();
        let forwarded = metrics.counter_vec(
            "roomcast_forwarded_total",
            "Requests passed to the gateway that owns their session, by what was passed (poll, upgrade) and \
             what came of it (ok, unknown, unreachable, refused).",
            &["kind", "outcome"],
        )?;
        for kind in Forward::ALL {
            for outcome in Forwarded::ALL {
                forwarded.with_label_values(&[kind.name(), outcome.name()]).inc_by(0);
            }
        }
        Ok(Self {
            connections: metrics.gauge_set(
                "roomcast_connections",
                "Clients connected to a namespace.",
                "transport",
                &[TransportKind::WebSocket.name(), TransportKind::Polling.name()],
            )?,
            connects: metrics.counter_set(
                "roomcast_connects_total",
                "Connect packets answered: ok, or the code of the refusal (unavailable and draining: the \
                 transport was closed instead, so that the client comes back).",
                "outcome",
                &outcomes,
            )?,
            connect_seconds: metrics.histogram(
                "roomcast_connect_duration_seconds",
                "From a connect packet to its answer, refusals included.",
                SECONDS,
            )?,
            disconnects: metrics.counter_set(
                "roomcast_disconnects_total",
                "Clients that went, by reason.",
                "reason",
                &[
                    "client",
                    "heartbeat",
                    "transport_close",
                    "transport_error",
                    "bad_packet",
                    "stalled",
                    "server",
                ],
            )?,
            cuts: metrics.counter_set(
                "roomcast_cuts_total",
                "Transports closed by the gateway: more waited for the client than may (slow_reader), it took \
                 nothing for too long (stalled), the node goes away (drain), a connect had to wait too long \
                 (connect_must_wait), somebody else took the user's name while this node had no lease (name_lost).",
                "reason",
                &["slow_reader", "stalled", "drain", "connect_must_wait", "name_lost"],
            )?,
            refusals: metrics.counter_set(
                "roomcast_refusals_total",
                "Requests refused, connects included, by code.",
                "code",
                &codes,
            )?,
            origin_refusals: metrics.counter_set(
                "roomcast_origin_refusals_total",
                "Requests refused because of their Origin, by transport; the log has Origin and Host.",
                "transport",
                &[TransportKind::WebSocket.name(), TransportKind::Polling.name()],
            )?,
            origin_log: LogLimit::default(),
            host_refusals: metrics.counter(
                "roomcast_host_refusals_total",
                "Requests refused because their Host is none of --public-host.",
            )?,
            host_log: LogLimit::default(),
            received: metrics.counter_set(
                "roomcast_events_received_total",
                "Events received from clients, by name.",
                "event",
                &events,
            )?,
            forwarded,
            draining: metrics.gauge("roomcast_draining", "1 while the node closes its clients to go away.")?,
            drain_remaining: metrics
                .gauge("roomcast_drain_remaining", "While draining: clients that are still connected.")?,
        })
    }
}

impl Connections {
    /// A connect packet was answered with success.
    pub(crate) fn connected(&self, transport: TransportKind, took: Duration) {
        self.connections.add(transport.name(), 1);
        self.connects.inc("ok");
        self.connect_seconds.observe(took.as_secs_f64());
    }

    /// A connect packet was refused, or its transport was closed because it could not be answered.
    pub(crate) fn connect_refused(&self, code: Code, took: Duration) {
        self.connects.inc(code.name());
        self.connect_seconds.observe(took.as_secs_f64());
        self.refused(code);
    }

    /// A client upgraded from long-polling to a WebSocket.
    pub(crate) fn upgraded(&self) {
        self.connections.add(TransportKind::Polling.name(), -1);
        self.connections.add(TransportKind::WebSocket.name(), 1);
    }

    pub(crate) fn disconnected(&self, transport: TransportKind, reason: &'static str) {
        self.connections.add(transport.name(), -1);
        self.disconnects.inc(reason);
    }

    pub(crate) fn cut(&self, reason: &'static str) {
        tracing::info!(reason, "transport closed by the gateway");
        self.cuts.inc(reason);
    }

    pub(crate) fn refused(&self, code: Code) {
        self.refusals.inc(code.name());
    }

    /// A request was refused because of its `Origin`. `forwarded` is the host that a proxy named.
    pub(crate) fn origin_refused(
        &self,
        transport: TransportKind,
        origin: &str,
        host: &str,
        forwarded: Option<impl Display>,
    ) {
        self.origin_refusals.inc(transport.name());
        if let Some(left_out) = self.origin_log.admit(Instant::now()) {
            let forwarded_host = forwarded.map(tracing::field::display);
            tracing::warn!(?origin, ?host, forwarded_host, left_out, "origin refused");
        }
    }

    /// A request was refused because its host is not served.
    pub(crate) fn host_refused(&self, host: &str) {
        self.host_refusals.inc();
        if let Some(left_out) = self.host_log.admit(Instant::now()) {
            tracing::warn!(?host, left_out, "host refused");
        }
    }

    /// A client sent an event.
    pub(crate) fn received(&self, event: &str) {
        self.received.inc(event);
    }

    /// A request was forwarded to the gateway that owns its session.
    pub(crate) fn forwarded(&self, kind: Forward, outcome: Forwarded) {
        self.forwarded.with_label_values(&[kind.name(), outcome.name()]).inc();
    }

    /// Sets whether the node is draining and how many clients it has left; called at each scrape.
    pub(crate) fn drain_seen(&self, draining: bool, clients: usize) {
        self.draining.set(i64::from(draining));
        self.drain_remaining.set(if draining { gauge(clients) } else { 0 });
    }
}
