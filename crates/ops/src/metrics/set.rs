//! Metrics with one label whose values are a closed set. All of them are there from the start, at zero, so
//! that `rate()` sees the first event, and are resolved once, so that counting looks nothing up in a map.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

use super::registry::{Metric, Metrics, MetricsError};

/// A counter per value of a label.
#[derive(Clone, Debug)]
pub struct CounterSet(Set<IntCounter>);

/// A gauge per value of a label.
#[derive(Clone, Debug)]
pub struct GaugeSet(Set<IntGauge>);

/// A histogram per value of a label.
#[derive(Clone, Debug)]
pub struct HistogramSet(Set<Histogram>);

/// A handful of values: comparing pointers and lengths first, a linear search is the fastest.
#[derive(Clone, Debug)]
struct Set<M>(Vec<(&'static str, M)>);

impl<M> Set<M> {
    fn new(values: &[&'static str], child: impl Fn(&str) -> M) -> Self {
        Self(values.iter().map(|value| (*value, child(value))).collect())
    }

    /// A value that is not in the set is a bug, but no reason to fail: it counts as the last one.
    fn of(&self, value: &str) -> Option<&M> {
        let known = self.0.iter().find(|(known, _)| *known == value).or(self.0.last());
        known.map(|(_, child)| child)
    }
}

impl CounterSet {
    /// Counts one. What is not in the set counts as its last value, which is `other` where that can happen.
    pub fn inc(&self, value: &str) {
        self.add(value, 1);
    }

    /// Counts several, in the same way.
    pub fn add(&self, value: &str, by: u64) {
        if let Some(counter) = self.0.of(value) {
            counter.inc_by(by);
        }
    }
}

impl GaugeSet {
    /// Adds, or takes away.
    pub fn add(&self, value: &str, by: i64) {
        if let Some(gauge) = self.0.of(value) {
            gauge.add(by);
        }
    }
}

impl HistogramSet {
    /// Observes one. What is not in the set counts as its last value.
    pub fn observe(&self, value: &str, observed: f64) {
        if let Some(histogram) = self.0.of(value) {
            histogram.observe(observed);
        }
    }
}

impl Metrics {
    /// A counter per value of one label, each there from the start.
    pub fn counter_set(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: &[&'static str],
    ) -> Result<CounterSet, MetricsError> {
        let made = IntCounterVec::new(Opts::new(name, help), &[label]);
        let made = self.add(closed(name, "counter", label, values, help), made)?;
        Ok(CounterSet(Set::new(values, |value| made.with_label_values(&[value]))))
    }

    /// A gauge per value of one label, each there from the start.
    pub fn gauge_set(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: &[&'static str],
    ) -> Result<GaugeSet, MetricsError> {
        let made = IntGaugeVec::new(Opts::new(name, help), &[label]);
        let made = self.add(closed(name, "gauge", label, values, help), made)?;
        Ok(GaugeSet(Set::new(values, |value| made.with_label_values(&[value]))))
    }

    /// A histogram per value of one label, each there from the start.
    pub fn histogram_set(
        &self,
        name: &'static str,
        help: &'static str,
        (label, values): (&'static str, &[&'static str]),
        buckets: &[f64],
    ) -> Result<HistogramSet, MetricsError> {
        let made = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &[label]);
        let made = self.add(closed(name, "histogram", label, values, help), made)?;
        Ok(HistogramSet(Set::new(values, |value| made.with_label_values(&[value]))))
    }
}

fn closed(
    name: &'static str,
    kind: &'static str,
    label: &'static str,
    values: &[&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels: vec![label], values: values.to_vec(), help }
}

#[cfg(test)]
mod tests {
    use super::super::SECONDS;
    use super::*;

    #[test]
    fn every_value_is_there_from_the_start() {
        let metrics = Metrics::new("1").unwrap();
        let cuts = metrics.counter_set("roomcast_cuts_total", "Cuts.", "reason", &["slow", "drain", "other"]);
        let open = metrics.gauge_set("roomcast_open", "Open.", "transport", &["a", "b"]).unwrap();
        let took = ("operation", &["read", "write"][..]);
        let took = metrics.histogram_set("roomcast_took_seconds", "Took.", took, SECONDS).unwrap();
        let has = |line: &str| {
            let text = metrics.encode();
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        };
        has("roomcast_cuts_total{reason=\"slow\"} 0");
        has("roomcast_open{transport=\"b\"} 0");
        has("roomcast_took_seconds_count{operation=\"read\"} 0");
        let cuts = cuts.unwrap();
        cuts.inc("slow");
        cuts.inc("unknown");
        open.add("b", 2);
        open.add("b", -1);
        took.observe("write", 0.3);
        has("roomcast_cuts_total{reason=\"slow\"} 1");
        has("roomcast_cuts_total{reason=\"other\"} 1");
        has("roomcast_open{transport=\"b\"} 1");
        has("roomcast_took_seconds_bucket{operation=\"write\",le=\"0.5\"} 1");
        assert!(metrics.markdown("M").contains("| `reason`: slow, drain, other | Cuts. |"));
    }
}
