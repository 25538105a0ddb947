//! Exports spans to an OTLP collector: the flags of both binaries, the exporter, and its shutdown. Called by `run`. Spans
//! wait in a bounded queue for a thread of its own; when it is full they are dropped, so a collector that does not
//! answer slows nothing down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use parking_lot::Mutex;

use super::{TRACER, Tracer};
use crate::config::{Problems, url_with_scheme};

/// How long a span waits at most for others to be sent with it.
const BATCH_WINDOW: Duration = Duration::from_secs(1);
/// Spans that may wait; the rest is dropped.
const QUEUE: usize = 4_096;
/// How long the collector may take for a batch, attempts included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long what is left may take at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a failure that lasts is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The flags of both binaries.
#[derive(Clone, Debug, clap::Args)]
pub struct TraceArgs {
    /// Where traces are sent, as OTLP over gRPC: http://collector:4317; without it there are none
    #[arg(long, env = "ROOMCAST_OTLP", value_name = "URL", hide_env_values = true, value_parser = url_with_scheme(&["http"]))]
    otlp: Option<String>,
    /// The share of requests that are traced, from 0 to 1
    #[arg(long, env = "ROOMCAST_TRACE_RATIO", value_name = "RATIO", default_value_t = 0.01)]
    trace_ratio: f64,
}

/// Where traces are sent, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    url: String,
    ratio: f64,
    instance: String,
}

impl TraceArgs {
    /// Checks the flags. `instance` is what this process is called in traces; where there is no name for it, the
    /// machine's (in Kubernetes, the pod's) and the process' number are.
    pub fn check(&self, problems: &mut Problems, instance: Option<&str>) -> Option<Otlp> {
        let ratio = self.trace_ratio;
        // Nor is NaN between them.
        let is_share = (0.0..=1.0).contains(&ratio);
        problems.relate(
            &["--trace-ratio"],
            is_share,
            format_args!("--trace-ratio must be from 0 to 1, not {ratio}"),
        );
        // Without TLS: the collector runs beside the process, and uses TLS itself where it sends traces on.
        let url = self.otlp.clone()?;
        let instance = instance.map_or_else(this_process, str::to_owned);
        Some(Otlp { url, ratio, instance })
    }
}

fn this_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), std::process::id())
}

/// Spans are being exported.
#[must_use = "spans that wait are lost unless they are flushed"]
pub(crate) struct Exporting(SdkTracerProvider);

/// Begins to export what [`super`] makes. Must be called within the runtime that will carry it.
pub(crate) fn start(process: &'static str, otlp: &Otlp) -> Result<Exporting, String> {
    let exporter = OtlpExporter::builder().with_tonic().with_endpoint(&otlp.url).with_timeout(EXPORT_TIMEOUT);
    let exporter = exporter.build().map_err(|error| error.to_string())?;
    let batches =
        BatchConfigBuilder::default().with_scheduled_delay(BATCH_WINDOW).with_max_queue_size(QUEUE).build();
    let version = env!("CARGO_PKG_VERSION");
    let resource = Resource::builder()
        .with_service_name(process)
        .with_attributes([
            KeyValue::new("service.instance.id", otlp.instance.clone()),
            KeyValue::new("service.version", version),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.ratio))))
        .with_resource(resource)
        .with_span_processor(
            BatchSpanProcessor::builder(LoggingExporter::new(exporter)).with_batch_config(batches).build(),
        )
        .build();
    let scope = InstrumentationScope::builder("roomcast").with_version(version).build();
    let tracer = Tracer { sdk: provider.tracer_with_scope(scope), node: Arc::from(otlp.instance.as_str()) };
    TRACER.set(tracer).map_err(|_| "traces are exported already".to_owned())?;
    tracing::info!(to = otlp.url, ratio = otlp.ratio, "exporting traces");
    Ok(Exporting(provider))
}

impl Exporting {
    /// Sends the spans that wait, within a deadline.
    pub(crate) fn flush(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last traces could not be exported");
        }
    }
}

/// An exporter whose failures are logged, but not each of them.
#[derive(Debug)]
struct LoggingExporter<E> {
    exporter: E,
    failures: Mutex<FailureLog>,
}

#[derive(Debug, Default)]
struct FailureLog {
    logged: Option<Instant>,
    /// Since the last line was logged.
    lost: usize,
}

impl<E> LoggingExporter<E> {
    fn new(exporter: E) -> Self {
        Self { exporter, failures: Mutex::default() }
    }
}

impl FailureLog {
    /// How many spans were lost, where it is time to log it.
    fn failed(&mut self, spans: usize, now: Instant) -> Option<usize> {
        self.lost += spans;
        if self.logged.is_some_and(|logged| now.duration_since(logged) < LOG_INTERVAL) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.lost))
    }

    /// Whether a failure was logged before.
    fn succeeded(&mut self) -> bool {
        std::mem::take(self).logged.is_some()
    }
}

impl<E: SpanExporter> SpanExporter for LoggingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        match &exported {
            Ok(()) => {
                if self.failures.lock().succeeded() {
                    tracing::info!("exporting traces works again");
                }
            }
            Err(error) => {
                if let Some(lost) = self.failures.lock().failed(spans, Instant::now()) {
                    tracing::warn!(%error, lost, "cannot export traces");
                }
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_from;

    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        traces: TraceArgs,
    }

    fn check(args: &[&str]) -> Result<Option<Otlp>, String> {
        let (args, mut problems) =
            parse_from::<Args>(std::iter::once("p").chain(args.iter().copied())).unwrap();
        let checked = args.traces.check(&mut problems, None);
        problems.finish().map(|()| checked).map_err(|problems| problems.to_string())
    }

    #[test]
    fn flags_are_checked() {
        assert_eq!(check(&["--trace-ratio=0.01"]), Ok(None));
        let otlp = check(&["--otlp=http://collector:4317", "--trace-ratio=1"]).unwrap().unwrap();
        assert!(otlp.instance.ends_with(&format!(":{}", std::process::id())), "{otlp:?}");
        assert_eq!(
            check(&["--otlp=https://user:secret@c:4317"]).unwrap_err(),
            "--otlp (or ROOMCAST_OTLP): must start with http://"
        );
        for ratio in ["--trace-ratio=-0.1", "--trace-ratio=1.1", "--trace-ratio=NaN"] {
            let error = check(&[ratio]).unwrap_err();
            assert!(error.starts_with("--trace-ratio must be from 0 to 1, not "), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_failure_that_lasts_is_logged_once_in_a_while() {
        let (mut failing, begun) = (FailureLog::default(), Instant::now());
        assert_eq!(failing.failed(3, begun), Some(3));
        assert_eq!(failing.failed(4, begun + LOG_INTERVAL / 2), None);
        assert_eq!(failing.failed(5, begun + LOG_INTERVAL), Some(9));
        assert!(failing.succeeded());
        assert!(!failing.succeeded());
        assert_eq!(failing.failed(1, begun + LOG_INTERVAL), Some(1), "the next failure is news");
    }
}
