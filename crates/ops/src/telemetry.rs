//! The one tracing subscriber of a process: human on a terminal, JSON otherwise, on standard error, with a
//! filter that can be changed while the process runs. A line that belongs to a request has its `trace_id`.
//! `run_main` calls `init`; `admin` serves the `LogLevel`.

use std::io::IsTerminal as _;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::writer::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::trace;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text if standard error is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a list of `level` or `target=level`.
    #[error("bad log filter {filter:?}: {source}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What the parser says.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else in this process has installed a subscriber.
    #[error("another tracing subscriber is installed: {0}")]
    Taken(#[from] tracing_subscriber::util::TryInitError),
    /// The subscriber is gone or broken.
    #[error("cannot change the log filter: {0}")]
    Reload(#[from] reload::Error),
}

/// The filter of the running subscriber. A clone is another handle on it.
#[derive(Clone, Debug)]
pub struct LogLevel {
    handle: reload::Handle<EnvFilter, Registry>,
    /// As given: the filter itself prints its directives in another order.
    text: Arc<Mutex<String>>,
}

impl LogLevel {
    /// The filter in force, as it was given.
    pub fn get(&self) -> String {
        self.text.lock().clone()
    }

    /// Replaces the filter, for example `info,roomcast=debug`.
    ///
    /// # Errors
    /// When `filter` does not parse; the old one then stays in force.
    pub fn set(&self, filter: &str) -> Result<(), TelemetryError> {
        let parsed = parse(filter)?;
        let mut text = self.text.lock();
        self.handle.reload(parsed)?;
        filter.trim().clone_into(&mut text);
        Ok(())
    }
}

/// Installs the subscriber. Only the first call of a process does: the later ones check `filter` and return the
/// same handle, so that every test may call it.
///
/// # Errors
/// When `filter` does not parse or another subscriber is installed.
pub fn init(format: LogFormat, filter: &str) -> Result<LogLevel, TelemetryError> {
    static INSTALLED: Mutex<Option<LogLevel>> = Mutex::new(None);

    let parsed = parse(filter)?;
    let mut installed = INSTALLED.lock();
    if let Some(level) = &*installed {
        return Ok(level.clone());
    }
    let terminal = std::io::stderr().is_terminal();
    let text = match format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let (reloadable, handle) = reload::Layer::new(parsed);
    let lines = lines(text, terminal, std::io::stderr);
    tracing_subscriber::registry().with(reloadable).with(lines).try_init()?;
    let level = LogLevel { handle, text: Arc::new(Mutex::new(filter.trim().to_owned())) };
    *installed = Some(level.clone());
    Ok(level)
}

/// From now on panics are logged as events, so that a log of JSON lines stays one; before [`init`] they are
/// printed as ever.
pub(crate) fn log_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !tracing::dispatcher::has_been_set() {
            return print(panic);
        }
        let message = panic.payload_as_str().unwrap_or("(not a string)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(message, place, %backtrace, "panic");
    }));
}

/// Writes lines: as text, in colours or not, or as JSON.
fn lines<S, W>(text: bool, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    if text {
        lines.with_ansi(colours).map_fmt_fields(WithTraceId).boxed()
    } else {
        lines.json().flatten_event(true).with_span_list(false).map_event_format(WithTraceId).boxed()
    }
}

/// Adds the `trace_id` of the request that a line belongs to: as the last field of a text, and of a JSON object. Removes
/// from a JSON object what the bridge from the crate `log` adds to the lines of libraries: where in the library's sources,
/// by paths of the machine that built it.
struct WithTraceId<F>(F);

/// The target of the lines of libraries that log through the crate `log`, before their own is put in its place.
const BRIDGE: &str = "log";

impl<'w, F> FormatFields<'w> for WithTraceId<F>
where
    F: for<'a> FormatFields<'a>,
{
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> std::fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        trace::id().map_or(Ok(()), |id| write!(writer, " trace_id={id}"))
    }
}

impl<S, N, F> FormatEvent<S, N> for WithTraceId<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let (id, bridged) = (trace::id(), event.metadata().target() == BRIDGE);
        if id.is_none() && !bridged {
            return self.0.format_event(ctx, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        if bridged {
            line = without_bridge_fields(line);
        }
        let Some(id) = id else { return writer.write_str(&line) };
        match line.strip_suffix("}\n") {
            Some(object) => writeln!(writer, "{object},\"trace_id\":\"{id}\"}}"),
            None => writer.write_str(&line),
        }
    }
}

/// The line without the fields of the bridge, whose names begin with `log.`.
fn without_bridge_fields(line: String) -> String {
    let Ok(Fields(fields)) = serde_json::from_str(&line) else { return line };
    let kept = fields.iter().filter(|(name, _)| !name.starts_with("log."));
    let kept: Vec<_> = kept.map(|(name, value)| format!("{name:?}:{value}")).collect();
    format!("{{{}}}\n", kept.join(","))
}

/// The fields of a JSON object, in their order.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    let trimmed = filter.trim();
    // Field values are compared, not matched: a regular expression in a filter can be made slow.
    let parsed = EnvFilter::builder().with_regex(false).parse(trimmed);
    parsed.map_err(|source| TelemetryError::Filter { filter: trimmed.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_init_returns_the_same_handle() {
        let one = init(LogFormat::Text, "warn").unwrap();
        let two = init(LogFormat::Json, "error").unwrap();
        assert_eq!(two.get(), one.get());
        one.set(" info,roomcast=debug ").unwrap();
        assert_eq!(two.get(), "info,roomcast=debug");
        let error = two.set("roomcast=loud").unwrap_err();
        assert!(error.to_string().starts_with(r#"bad log filter "roomcast=loud": "#), "{error}");
        assert_eq!(one.get(), "info,roomcast=debug", "a bad filter changes nothing");
        assert!(init(LogFormat::Auto, "roomcast=loud").is_err(), "even a later call checks its filter");
        one.set("warn").unwrap();
    }

    /// What a request logs, as `lines` writes it, and after it lines outside of any request, the last one of a library.
    fn logged(text: bool) -> (String, Vec<String>) {
        let path = std::env::temp_dir().join(format!("roomcast-lines-{}-{text}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        let id = tracing::subscriber::with_default(
            tracing_subscriber::registry().with(lines(text, false, Arc::new(file))),
            || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let request = trace::request("a", trace::Kind::Server, async {
                    tracing::warn!(why = "late}", "one");
                    tracing::warn!("two");
                    trace::id().unwrap().to_string()
                });
                let id = runtime.block_on(request);
                tracing::warn!("three");
                // As the bridge writes them.
                tracing::warn!(target: "log", { "log.file" = "src/x.rs", "log.line" = 7, more = 1 }, "four");
                id
            },
        );
        let lines = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        (id, lines.lines().map(str::to_owned).collect())
    }

    #[test]
    fn the_lines_of_a_request_have_its_trace_id() {
        let (id, lines) = logged(true);
        assert!(lines[0].ends_with(&format!("one why=\"late}}\" trace_id={id}")), "{lines:?}");
        assert!(lines[1].ends_with(&format!("two trace_id={id}")), "{lines:?}");
        assert!(lines[2].ends_with("three"), "{lines:?}");
        assert!(lines[3].ends_with("four more=1"), "{lines:?}");

        let (id, lines) = logged(false);
        let line = |n: usize| serde_json::from_str::<serde_json::Value>(&lines[n]).unwrap();
        assert_eq!((&line(0)["trace_id"], &line(0)["why"]), (&id.clone().into(), &"late}".into()));
        assert_eq!((&line(1)["trace_id"], &line(1)["message"]), (&id.into(), &"two".into()));
        assert_eq!(line(2).get("trace_id"), None);
        assert_eq!((&line(3)["message"], &line(3)["more"]), (&"four".into(), &1.into()));
        assert_eq!(lines.len(), 4);
        assert!(!lines[3].contains("log."), "where in a library's sources: {lines:?}");
        assert!(lines[3].starts_with("{\"timestamp\":"), "in the usual order: {lines:?}");
    }
}
