//! The metrics of what every process that uses the store asks of Redis, the same in gateway and presence service.
//! It is an observer itself; one that observes more passes the requests on to it.

use std::time::Duration;

use roomcast_ops::metrics::{CounterSet, HistogramSet, SECONDS};
use roomcast_ops::{Metrics, MetricsError};

use crate::error::StoreError;
use crate::observer::{FAILURES, OPERATIONS, Observer};

/// Requests to Redis: how long they took, and how many failed. Clones share the metrics.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    seconds: HistogramSet,
    errors: CounterSet,
}

impl StoreMetrics {
    /// Registers `roomcast_redis_duration_seconds{operation}` and `roomcast_redis_errors_total{kind}`.
    ///
    /// # Errors
    /// Where one of these names is registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            seconds: metrics.histogram_set(
                "roomcast_redis_duration_seconds",
                "Requests to Redis from when they left to their answer, failed ones included, by what they \
                 were for.",
                ("operation", OPERATIONS),
                SECONDS,
            )?,
            errors: metrics.counter_set(
                "roomcast_redis_errors_total",
                "Requests to Redis that failed: nothing happened (unavailable), nobody knows whether it did \
                 (unknown), the answer made no sense (corrupt).",
                "kind",
                FAILURES,
            )?,
        })
    }
}

impl Observer for StoreMetrics {
    fn request(&self, operation: &'static str, took: Option<Duration>, failed: Option<&StoreError>) {
        if let Some(took) = took {
            self.seconds.observe(operation, took.as_secs_f64());
        }
        if let Some(error) = failed {
            self.errors.inc(error.label());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_were_for() {
        let metrics = Metrics::new("1").unwrap();
        let store = StoreMetrics::new(&metrics).unwrap();
        store.request("list", Some(Duration::from_millis(2)), None);
        store.request("list", None, Some(&StoreError::Unavailable("no connection".into())));
        let text = metrics.encode();
        for line in [
            "roomcast_redis_duration_seconds_count{operation=\"list\"} 1",
            "roomcast_redis_errors_total{kind=\"unavailable\"} 1",
            "roomcast_redis_errors_total{kind=\"corrupt\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
