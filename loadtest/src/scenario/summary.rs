//! The result of a scenario in the form of the k6 scripts' `summary.json` (`Report` in `loadtest/k6/lib/figures.ts`), so
//! that one renderer serves both, and as text. Filled by the scenarios.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::catalog::Scenario;
use crate::swarm::{Counts, ms};

/// A summary under construction.
pub(super) struct Summary {
    scenario: Scenario,
    /// What the run's settings are, by their names in the environment of `make swarm`.
    settings: Map<String, Value>,
    /// By name: type, unit and values.
    metrics: BTreeMap<String, (&'static str, &'static str, Value)>,
    thresholds: Vec<Value>,
    /// Thresholds that are not met: metric, expression and value.
    failed: Vec<String>,
    /// What k6 has no place for, such as the steps of a breakpoint.
    details: Map<String, Value>,
    /// Tables and sentences that are printed below the metrics.
    notes: String,
}

impl Summary {
    pub(super) fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            settings: Map::new(),
            metrics: BTreeMap::new(),
            thresholds: Vec::new(),
            failed: Vec::new(),
            details: Map::new(),
            notes: String::new(),
        }
    }

    /// A setting of the run.
    pub(super) fn setting(&mut self, name: &str, value: impl Into<Value>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// A count, and how many that are a second.
    pub(super) fn counter(&mut self, name: &str, count: u64, seconds: f64) {
        let rate = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        self.metrics.insert(name.to_owned(), ("counter", "", json!({ "count": count, "rate": rate })));
    }

    /// A value that was read once.
    pub(super) fn gauge(&mut self, name: &str, value: f64) {
        let values = json!({ "value": value, "min": value, "max": value });
        self.metrics.insert(name.to_owned(), ("gauge", "", values));
    }

    /// Times in nanoseconds.
    pub(super) fn trend(&mut self, name: &str, times: &Histogram<u64>) {
        let (least, mean) = if times.is_empty() { (0.0, 0.0) } else { (times.min() as f64, times.mean()) };
        let values = json!({
            "avg": mean / 1e6,
            "min": least / 1e6,
            "med": ms(times, 0.5),
            "max": ms(times, 1.0),
            "p(90)": ms(times, 0.9),
            "p(95)": ms(times, 0.95),
            "p(99)": ms(times, 0.99),
            "count": times.len(),
        });
        self.metrics.insert(name.to_owned(), ("trend", "ms", values));
    }

    /// A threshold of a metric.
    pub(super) fn threshold(&mut self, name: &str, expression: &str, value: f64, met: bool) {
        self.thresholds.push(json!({ "metric": name, "expression": expression, "ok": met }));
        if !met {
            self.failed.push(format!("{name}: {expression} is not met: {value}"));
        }
    }

    /// What k6 has no place for.
    pub(super) fn detail(&mut self, name: &str, value: Value) {
        self.details.insert(name.to_owned(), value);
    }

    /// A line, or several, to be printed below the metrics.
    pub(super) fn note(&mut self, lines: &str) {
        self.notes.push_str(lines);
        self.notes.push('\n');
    }

    /// The deliveries of a period: their times, and that none was lost, repeated or misordered and nobody left.
    pub(super) fn deliveries(&mut self, counts: &Counts, p99_ms: f64) {
        let seconds = counts.seconds;
        self.counter("roomcast_sends", counts.acked, seconds);
        self.counter("roomcast_deliveries", counts.delivered, seconds);
        self.trend("sio_delivery_duration", &counts.latency);
        let p99 = ms(&counts.latency, 0.99);
        let expression = format!("p(99)<{p99_ms}");
        self.threshold("sio_delivery_duration", &expression, p99, p99 < p99_ms && counts.delivered > 0);
        // A member that lacks a message has the later ones at other positions than the rest: that is one fault, not many.
        let missing = counts.lost.max(counts.expected.saturating_sub(counts.delivered));
        let misordered = counts.disordered + if missing == 0 { counts.disagreed } else { 0 };
        for (name, count) in [
            ("roomcast_missing", missing),
            ("roomcast_repeated", counts.repeated + counts.strays),
            ("roomcast_misordered", misordered),
            ("roomcast_unexplained_leaves", counts.left),
            ("roomcast_send_errors", counts.refused),
        ] {
            self.counter(name, count, seconds);
            self.threshold(name, "count==0", count as f64, count == 0);
        }
        if let Some(refusal) = &counts.refusal {
            self.note(&format!("The first refusal: {refusal}"));
        }
        self.gauge("swarm_busy", counts.busy);
    }

    /// Whether all thresholds are met.
    pub(super) fn met(&self) -> bool {
        self.failed.is_empty()
    }

    /// Writes the JSON file.
    pub(super) fn write(&self, path: &Path, took: Duration) -> Result<()> {
        let metrics: Vec<Value> = self
            .metrics
            .iter()
            .map(|(name, (kind, unit, values))| json!({ "metric": name, "type": kind, "unit": unit, "values": values }))
            .collect();
        let data = json!({
            "scenario": self.scenario.name,
            "models": format!("By the swarm: {}.", self.scenario.about),
            "rate": "messages a second, all rooms together",
            "passed": self.met(),
            "seconds": (took.as_secs_f64() * 10.0).round() / 10.0,
            "settings": self.settings,
            "thresholds": self.thresholds,
            "metrics": metrics,
            "details": self.details,
            "notes": self.notes,
        });
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, serde_json::to_string_pretty(&data)?)?)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = format!("\n{}\n\n", self.scenario.name);
        for (name, (kind, _, values)) in &self.metrics {
            let value = |key: &str| values.get(key).and_then(Value::as_f64);
            let shown = match *kind {
                "counter" => {
                    format!("{}, {:.1}/s", value("count").unwrap_or(0.0), value("rate").unwrap_or(0.0))
                }
                "gauge" => format!("{:.2}", value("value").unwrap_or(0.0)),
                _ => ["min", "med", "p(95)", "p(99)", "max"]
                    .iter()
                    .filter_map(|key| Some(format!("{key}={:.2} ms", value(key)?)))
                    .collect::<Vec<_>>()
                    .join("  "),
            };
            // Writing to a string does not fail.
            writeln!(out, "  {name:.<38} {shown}").unwrap_or_default();
        }
        out.push('\n');
        out.push_str(&self.notes);
        if self.failed.is_empty() {
            out.push_str("All thresholds are met.\n");
        }
        for failed in &self.failed {
            writeln!(out, "FAILED  {failed}").unwrap_or_default();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::catalog::ALL;

    #[test]
    fn a_lost_delivery_is_a_failed_threshold() {
        let mut counts = Counts::new().unwrap();
        (counts.seconds, counts.sent, counts.acked) = (2.0, 10, 10);
        (counts.expected, counts.delivered) = (100, 100);
        counts.latency.saturating_record_n(3_000_000, 100);
        let mut summary = Summary::new(ALL[0]);
        summary.deliveries(&counts, 100.0);
        assert!(summary.met(), "{}", summary.text());
        (counts.delivered, counts.lost) = (99, 1);
        let mut summary = Summary::new(ALL[0]);
        summary.deliveries(&counts, 2.0);
        assert!(!summary.met());
        assert!(summary.text().contains("FAILED  roomcast_missing: count==0 is not met: 1"));
        assert!(summary.text().contains("FAILED  sio_delivery_duration: p(99)<2 is not met"));
        let missing = json!({ "metric": "roomcast_missing", "expression": "count==0", "ok": false });
        assert!(summary.thresholds.contains(&missing), "{:?}", summary.thresholds);
        assert_eq!(summary.metrics["roomcast_deliveries"].2["rate"], 49.5);
    }

    #[test]
    fn nothing_delivered_is_not_in_time() {
        let mut summary = Summary::new(ALL[0]);
        summary.deliveries(&Counts::new().unwrap(), 100.0);
        assert!(!summary.met());
    }
}
