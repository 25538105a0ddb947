//! The registry itself: constructors that check names and labels, the hooks before a scrape, the text that a
//! scrape gets, and the inventory for docs/METRICS.md. Everything in `metrics` is built on it; it calls `prometheus`.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{
    Counter, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// What every metric of ours starts with.
const PREFIX: &str = "roomcast_";

/// Labels with unbounded values: one series per user or room would overload the metrics server.
const UNBOUNDED_LABELS: &[&str] =
    &["room", "room_id", "user", "user_id", "socket", "socket_id", "session", "ip"];

/// Why a metric was not registered.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The name breaks a rule.
    #[error("metric {name:?}: {rule}")]
    Name {
        /// The name as given.
        name: &'static str,
        /// The broken rule.
        rule: &'static str,
    },
    /// The label takes values from an unbounded set.
    #[error("metric {name:?}: label {label:?} takes values from an unbounded set")]
    Label {
        /// The metric's name.
        name: &'static str,
        /// The label.
        label: &'static str,
    },
    /// The registry refused: a duplicate, or a character that Prometheus does not allow.
    #[error(transparent)]
    Registry(#[from] prometheus::Error),
}

/// One metric, as the inventory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Full name, starting with `roomcast_`.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Names of its labels.
    pub labels: Vec<&'static str>,
    /// Values of its only label, where they are a closed set.
    pub values: Vec<&'static str>,
    /// One sentence.
    pub help: &'static str,
}

/// A registry with rules: names start with `roomcast_`, counters and only they end in `_total`, help is not
/// empty, no label names a user or a room. A clone is another handle on the same registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    inventory: Arc<Mutex<BTreeMap<&'static str, Metric>>>,
    before_scrape: Arc<Mutex<Vec<Hook>>>,
}

/// Brings gauges up to date.
type Hook = Box<dyn Fn() + Send + Sync>;

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("inventory", &self.inventory.lock().keys()).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Without any metric.
    pub(super) fn empty() -> Self {
        Self { registry: Registry::new(), inventory: Arc::default(), before_scrape: Arc::default() }
    }

    /// Registers a metric that is not ours, so neither checked nor in the inventory.
    pub(super) fn add_foreign<M>(&self, made: prometheus::Result<M>) -> Result<M, MetricsError>
    where
        M: prometheus::core::Collector + Clone + 'static,
    {
        let made = made?;
        self.registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    /// A counter. See [`MetricsError`] for what all of these refuse.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Result<IntCounter, MetricsError> {
        self.add(
            Metric { name, kind: "counter", labels: vec![], values: vec![], help },
            IntCounter::new(name, help),
        )
    }

    /// A counter per combination of label values.
    pub fn counter_vec(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
    ) -> Result<IntCounterVec, MetricsError> {
        let made = IntCounterVec::new(Opts::new(name, help), labels);
        self.add(Metric { name, kind: "counter", labels: labels.to_vec(), values: vec![], help }, made)
    }

    /// A counter of seconds, whose name ends in `_seconds_total`.
    pub fn seconds_counter(&self, name: &'static str, help: &'static str) -> Result<Counter, MetricsError> {
        self.add(
            Metric { name, kind: "counter", labels: vec![], values: vec![], help },
            Counter::new(name, help),
        )
    }

    /// A gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Result<IntGauge, MetricsError> {
        self.add(
            Metric { name, kind: "gauge", labels: vec![], values: vec![], help },
            IntGauge::new(name, help),
        )
    }

    /// A gauge per combination of label values.
    pub fn gauge_vec(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
    ) -> Result<IntGaugeVec, MetricsError> {
        let made = IntGaugeVec::new(Opts::new(name, help), labels);
        self.add(Metric { name, kind: "gauge", labels: labels.to_vec(), values: vec![], help }, made)
    }

    /// A histogram with ascending upper bounds `buckets`, in the unit that `name` ends with. Its
    /// `start_timer()` is a guard that observes seconds when dropped.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        buckets: &[f64],
    ) -> Result<Histogram, MetricsError> {
        let made = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()));
        self.add(Metric { name, kind: "histogram", labels: vec![], values: vec![], help }, made)
    }

    /// A histogram per combination of label values.
    pub fn histogram_vec(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
        buckets: &[f64],
    ) -> Result<HistogramVec, MetricsError> {
        let made = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels);
        self.add(Metric { name, kind: "histogram", labels: labels.to_vec(), values: vec![], help }, made)
    }

    /// Calls `hook` before each [`encode`](Self::encode): for gauges that cost less to look up than to keep.
    /// It runs on the admin thread and must not block it.
    pub fn before_scrape(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.before_scrape.lock().push(Box::new(hook));
    }

    /// Every metric in the Prometheus text format 0.0.4.
    pub fn encode(&self) -> String {
        self.before_scrape.lock().iter().for_each(|hook| hook());
        let mut text = String::new();
        // One by one, so that a family that cannot be encoded does not take the others with it.
        for family in self.registry.gather() {
            let before = text.len();
            if let Err(error) = TextEncoder::new().encode_utf8(std::slice::from_ref(&family), &mut text) {
                text.truncate(before);
                tracing::error!(metric = family.name(), %error, "cannot encode");
            }
        }
        text
    }

    /// Our metrics registered so far, by name.
    pub fn inventory(&self) -> Vec<Metric> {
        self.inventory.lock().values().cloned().collect()
    }

    /// The inventory as a Markdown section with one table, for the docs.
    pub fn markdown(&self, title: &str) -> String {
        let mut out = format!("## {title}\n\n| Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n");
        for Metric { name, kind, labels, values, help } in self.inventory() {
            let mut labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            if !values.is_empty() {
                labels = format!("{labels}: {}", values.join(", "));
            }
            // Writing to a string does not fail.
            writeln!(out, "| `{name}` | {kind} | {labels} | {} |", help.replace('|', "\\|"))
                .unwrap_or_default();
        }
        out
    }

    /// Registers `made` and lists it in the inventory as `metric`.
    pub(super) fn add<M>(&self, metric: Metric, made: prometheus::Result<M>) -> Result<M, MetricsError>
    where
        M: prometheus::core::Collector + Clone + 'static,
    {
        check(&metric)?;
        let made = self.add_foreign(made)?;
        self.inventory.lock().insert(metric.name, metric);
        Ok(made)
    }
}

fn check(metric: &Metric) -> Result<(), MetricsError> {
    let name = metric.name;
    let rule = if !name.starts_with(PREFIX) {
        "must start with roomcast_"
    } else if (metric.kind == "counter") != name.ends_with("_total") {
        "a counter, and nothing else, ends in _total"
    } else if metric.help.is_empty() {
        "must have a help text"
    } else {
        return match metric.labels.iter().find(|label| UNBOUNDED_LABELS.contains(label)) {
            Some(label) => Err(MetricsError::Label { name, label }),
            None => Ok(()),
        };
    };
    Err(MetricsError::Name { name, rule })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::SECONDS;

    #[test]
    fn encodes_what_was_registered() {
        let metrics = Metrics::new("1.2.3").unwrap();
        metrics.counter("roomcast_messages_total", "Messages.").unwrap().inc_by(3);
        metrics
            .counter_vec("roomcast_closes_total", "Closes.", &["code"])
            .unwrap()
            .with_label_values(&["a"])
            .inc();
        metrics.gauge("roomcast_connections", "Open connections.").unwrap().set(7);
        metrics.histogram("roomcast_lag_seconds", "Lag.", SECONDS).unwrap().observe(0.002);
        metrics.histogram_vec("roomcast_unused_seconds", "Unused.", &["op"], SECONDS).unwrap();
        let text = metrics.encode();
        for line in [
            "roomcast_build_info{version=\"1.2.3\"} 1",
            "# TYPE roomcast_messages_total counter",
            "roomcast_messages_total 3",
            "roomcast_closes_total{code=\"a\"} 1",
            "roomcast_connections 7",
            "roomcast_lag_seconds_bucket{le=\"0.0025\"} 1",
            "roomcast_lag_seconds_count 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        #[cfg(target_os = "linux")]
        assert!(text.contains("process_open_fds"));
    }

    #[test]
    fn refuses_bad_names() {
        let metrics = Metrics::new("1").unwrap();
        let refused = [
            metrics.counter("messages_total", "Messages.").unwrap_err(),
            metrics.counter("roomcast_messages", "Messages.").unwrap_err(),
            metrics.gauge("roomcast_connections_total", "Connections.").unwrap_err(),
            metrics.gauge("roomcast_connections", "").unwrap_err(),
        ];
        assert!(refused.iter().all(|e| matches!(e, MetricsError::Name { .. })), "{refused:?}");
        assert_eq!(refused[0].to_string(), r#"metric "messages_total": must start with roomcast_"#);
        let label = metrics.gauge_vec("roomcast_members", "Members.", &["room"]).unwrap_err();
        assert!(matches!(label, MetricsError::Label { label: "room", .. }));
        let characters = metrics.gauge("roomcast_open connections", "Connections.").unwrap_err();
        assert!(matches!(characters, MetricsError::Registry(_)));
        let own = Metrics::new("1").unwrap().inventory();
        assert_eq!(metrics.inventory(), own, "what was refused is not listed");
    }

    #[test]
    fn refuses_duplicates() {
        let metrics = Metrics::new("1").unwrap();
        metrics.gauge("roomcast_connections", "Connections.").unwrap();
        let again = metrics.gauge("roomcast_connections", "Connections.").unwrap_err();
        assert!(matches!(again, MetricsError::Registry(prometheus::Error::AlreadyReg)));
    }

    #[test]
    fn lists_itself() {
        let metrics = Metrics::new("1").unwrap();
        metrics.gauge("roomcast_a", "A|B.").unwrap();
        let begin = "## Ours\n\n| Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n\
             | `roomcast_a` | gauge |  | A\\|B. |\n\
             | `roomcast_build_info` | gauge | `version` | Always 1; says which version runs. |\n";
        let whole = metrics.markdown("Ours");
        assert!(whole.starts_with(begin), "{whole}");
    }
}
