//! The metrics of a process. Whoever defines metrics calls the constructors of [`Metrics`] once at start; `admin`
//! calls `encode` for `/metrics`. What every process has is registered here: its version, its memory limit and the
//! standard `process_*` metrics.

mod memory;
#[cfg(target_os = "linux")]
mod process;
mod registry;
mod runtime;
mod set;

pub use prometheus::{Counter, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

pub use registry::{Metric, Metrics, MetricsError};
pub use set::{CounterSet, GaugeSet, HistogramSet};

/// Bucket bounds in seconds for latencies from half a millisecond to ten seconds.
pub const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The same for what is over within the process, from ten microseconds to a second.
pub const SHORT_SECONDS: &[f64] =
    &[0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0];

impl Metrics {
    /// With `roomcast_build_info{version}`, the memory limit and, on Linux, the standard `process_*` metrics.
    ///
    /// # Errors
    /// When the registry refuses those, which no input of ours makes it do.
    pub fn new(version: &str) -> Result<Self, MetricsError> {
        let metrics = Self::empty();
        #[cfg(target_os = "linux")]
        process::publish(&metrics)?;
        memory::publish(&metrics)?;
        let info =
            metrics.gauge_vec("roomcast_build_info", "Always 1; says which version runs.", &["version"])?;
        info.with_label_values(&[version]).set(1);
        Ok(metrics)
    }
}
