use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roomcast_protocol::Code;
use roomcast_store::{Observer as _, StoreError};

use super::*;

struct Measured {
    metrics: Metrics,
    telemetry: Telemetry,
}

impl Measured {
    fn new() -> Self {
        let (metrics, telemetry, _) = register().unwrap();
        Self { metrics, telemetry }
    }

    fn value(&self, series: &str) -> f64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    }

    fn has(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            let seen = self.value(series);
            assert!((seen - value).abs() < 1e-6, "{series} is {seen}, not {value}");
        }
    }
}

/// A rate over a series that appears with its first event misses that event: an alert on it would, too.
#[tokio::test]
async fn every_series_of_a_closed_set_exists_from_the_start() {
    let measured = Measured::new();
    let text = measured.metrics.encode();
    for metric in measured.metrics.inventory() {
        let name = metric.name;
        let (suffix, label) = match (metric.kind, metric.labels.as_slice()) {
            ("histogram", _) => ("_count", metric.labels.first()),
            (_, labels) => ("", labels.first()),
        };
        let Some(label) = label else {
            assert!(text.contains(&format!("\n{name}{suffix} ")), "{name} has no value");
            continue;
        };
        let open = ["roomcast_build_info", "roomcast_degraded", "roomcast_forwarded_total"].contains(&name);
        assert!(open || !metric.values.is_empty(), "{name}: is the set of {label:?} closed?");
        for value in &metric.values {
            assert!(
                text.contains(&format!("\n{name}{suffix}{{{label}=\"{value}\"}} 0\n")),
                "{name}: {value} is not 0"
            );
        }
    }
    for kind in ["poll", "upgrade"] {
        for outcome in ["ok", "unknown", "unreachable", "refused"] {
            measured
                .has(&[(&format!("roomcast_forwarded_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}"), 0.0)]);
        }
    }
    measured.has(&[("roomcast_degraded{part=\"redis\"}", 0.0)]);
}

#[tokio::test]
async fn a_fan_out_is_counted_once_with_its_totals() {
    let measured = Measured::new();
    let telemetry = &measured.telemetry;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let milliseconds = |at: Duration| u64::try_from(at.as_millis()).unwrap();
    let totals = FanoutTotals { members: 300, written: Written { writes: 290, frames: 580, bytes: 9_000 } };
    let stored = milliseconds(now.saturating_sub(Duration::from_secs(3)));
    telemetry.rooms.fanned_out(2, Some(stored), &totals, Duration::from_micros(40));
    telemetry.wire.written(&totals.written);
    measured.has(&[
        ("roomcast_deliveries_total", 600.0),
        ("roomcast_writes_total", 290.0),
        ("roomcast_frames_written_total", 580.0),
        ("roomcast_sent_bytes_total", 9_000.0),
        ("roomcast_fanout_members_sum", 300.0),
        ("roomcast_fanout_duration_seconds_bucket{le=\"0.000025\"}", 0.0),
        ("roomcast_fanout_duration_seconds_bucket{le=\"0.00005\"}", 1.0),
        ("roomcast_delivery_lag_seconds_bucket{le=\"2.5\"}", 0.0),
        ("roomcast_delivery_lag_seconds_bucket{le=\"5\"}", 1.0),
    ]);
    let before = measured.value("roomcast_delivery_lag_seconds_sum");
    telemetry.rooms.fanned_out(1, Some(milliseconds(now) + 60_000), &totals, Duration::ZERO);
    measured.has(&[
        ("roomcast_delivery_lag_seconds_count", 2.0),
        ("roomcast_delivery_lag_seconds_sum", before), // a store clock ahead of the local clock is no lag
    ]);
    telemetry.rooms.fanned_out(1, None, &totals, Duration::ZERO);
    telemetry.rooms.fanned_out(1, Some(stored), &FanoutTotals::default(), Duration::ZERO);
    measured.has(&[
        ("roomcast_delivery_lag_seconds_count", 2.0),
        ("roomcast_fanout_members_count", 3.0),
        ("roomcast_deliveries_total", 1_200.0),
    ]);
}

#[tokio::test]
async fn gauges_follow_connects_and_disconnects() {
    let measured = Measured::new();
    let telemetry = &measured.telemetry;
    telemetry.connections.connected(TransportKind::Polling, Duration::from_millis(3));
    telemetry.connections.connected(TransportKind::WebSocket, Duration::from_millis(3));
    telemetry.connections.upgraded();
    telemetry.connections.connect_refused(Code::UsernameTaken, Duration::from_millis(700));
    telemetry.connections.disconnected(TransportKind::WebSocket, "heartbeat");
    [(0, 1), (1, 2), (2, 2), (2, 0), (0, 5)]
        .iter()
        .for_each(|(before, after)| telemetry.rooms.members_changed(*before, *after));
    telemetry.wire.queued(0, 700);
    telemetry.wire.queued(700, 200);
    telemetry.connections.received("join");
    telemetry.connections.received("an unknown event");
    measured.has(&[
        ("roomcast_connections{transport=\"polling\"}", 0.0),
        ("roomcast_connections{transport=\"websocket\"}", 1.0),
        ("roomcast_connects_total{outcome=\"ok\"}", 2.0),
        ("roomcast_connects_total{outcome=\"username_taken\"}", 1.0),
        ("roomcast_connect_duration_seconds_count", 3.0),
        ("roomcast_refusals_total{code=\"username_taken\"}", 1.0),
        ("roomcast_disconnects_total{reason=\"heartbeat\"}", 1.0),
        ("roomcast_rooms", 1.0),
        ("roomcast_members", 5.0),
        ("roomcast_queue_bytes", 200.0),
        ("roomcast_events_received_total{event=\"join\"}", 1.0),
        ("roomcast_events_received_total{event=\"other\"}", 1.0),
    ]);
    telemetry.connections.drain_seen(true, 7);
    measured.has(&[("roomcast_draining", 1.0), ("roomcast_drain_remaining", 7.0)]);
}

#[tokio::test]
async fn store_requests_are_counted() {
    let measured = Measured::new();
    let telemetry = &measured.telemetry;
    telemetry.cluster.request("publish", Some(Duration::from_millis(2)), None);
    telemetry.cluster.request(
        "history",
        Some(Duration::from_secs(2)),
        Some(&StoreError::Unknown("gone".into())),
    );
    telemetry.cluster.request("publish", None, Some(&StoreError::Unavailable("not connected".into())));
    telemetry.cluster.bus_message();
    telemetry.cluster.bus_heartbeat(Some(Duration::from_millis(2)));
    measured.has(&[("roomcast_bus_up", 1.0), ("roomcast_bus_lag_seconds_count", 1.0)]);
    telemetry.cluster.bus_heartbeat(None);
    telemetry.cluster.resubscribed(Duration::from_millis(80));
    measured.has(&[
        ("roomcast_redis_duration_seconds_count{operation=\"publish\"}", 1.0),
        ("roomcast_redis_duration_seconds_count{operation=\"history\"}", 1.0),
        ("roomcast_redis_errors_total{kind=\"unknown\"}", 1.0),
        ("roomcast_redis_errors_total{kind=\"unavailable\"}", 1.0),
        ("roomcast_bus_up", 0.0),
        ("roomcast_bus_lag_seconds_count", 1.0),
        ("roomcast_bus_messages_total", 1.0),
        ("roomcast_resubscribe_duration_seconds_sum", 0.08),
    ]);
}
