//! Which request something belongs to, and the spans of the few requests that are traced. The gateway, the
//! presence service and the store call it; `otlp` exports the spans; `telemetry` adds the trace id to log lines.
//! Without `--otlp` there are no spans at all, and an id is made when the first log line needs it.
//!
//! The request is ambient: it belongs to the task, as a scope around the work ([`request`], [`within`]), so that
//! nothing in between has to pass it on. Whether it is traced is decided once, where it begins.

mod otlp;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

pub use opentelemetry::trace::SpanKind as Kind;
pub(crate) use otlp::{Exporting, start};
pub use otlp::{Otlp, TraceArgs};

/// Spans that one request begins in one task, at most: a sweep of ten thousand rooms is still a trace that can
/// be looked at.
const MAX_CHILDREN: u32 = 128;

tokio::task_local! {
    static REQUEST: Request;
}

/// Set once, where traces are exported.
static TRACER: OnceLock<Tracer> = OnceLock::new();

struct Tracer {
    sdk: SdkTracer,
    node: Arc<str>,
}

impl Tracer {
    fn begin(&self, builder: SpanBuilder, parent: &Context) -> SdkSpan {
        let mut span = self.sdk.build_with_context(builder, parent);
        if span.is_recording() {
            span.set_attribute(KeyValue::new("roomcast.node", Arc::clone(&self.node)));
        }
        span
    }
}

/// A place in a trace that can be passed on: to another task, or, as a W3C `traceparent`, to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: TraceId,
    span: SpanId,
    sampled: bool,
}

impl Trace {
    fn of(context: &SpanContext) -> Self {
        Self { id: context.trace_id(), span: context.span_id(), sampled: context.is_sampled() }
    }

    /// An id for log lines alone: no span belongs to it.
    fn unsampled() -> Self {
        Self { id: TraceId::from(rand::random::<u128>().max(1)), span: SpanId::INVALID, sampled: false }
    }

    fn parent(self, remote: bool) -> Context {
        let flags = TraceFlags::default().with_sampled(self.sampled);
        let parent = SpanContext::new(self.id, self.span, flags, remote, TraceState::default());
        Context::new().with_remote_span_context(parent)
    }

    /// Reads a `traceparent`; none where it is none, or that of a request which is not traced.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split('-');
        let mut hex = |digits: usize| {
            let word = words.next()?;
            let fits = word.len() == digits && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if fits { u128::from_str_radix(word, 16).ok() } else { None }
        };
        let (version, id, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let trace = Self {
            id: TraceId::from(id),
            span: SpanId::from(u64::try_from(span).ok()?),
            sampled: flags & 1 == 1,
        };
        (version == 0 && id != 0 && span != 0 && trace.sampled).then_some(trace)
    }
}

/// As a `traceparent`.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.id, self.span, u8::from(self.sampled))
    }
}

/// The traced request that an event on the bus comes from, and when the event was received here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    trace: Trace,
    received: SystemTime,
}

impl Origin {
    /// Received just now.
    pub fn now(trace: Trace) -> Box<Self> {
        Box::new(Self { trace, received: SystemTime::now() })
    }

    /// The place of the request in its trace.
    pub fn trace(&self) -> Trace {
        self.trace
    }

    /// A span of the processing of the event here, from when it was received.
    pub fn span(&self, name: &'static str) -> Span {
        let builder = SpanBuilder::from_name(name).with_kind(Kind::Consumer).with_start_time(self.received);
        let begin = |tracer: &Tracer| tracer.begin(builder, &self.trace.parent(true));
        Span(TRACER.get().map(begin).map(Box::new))
    }
}

/// The request that a task works on.
struct Request {
    /// None until it is needed.
    trace: Cell<Option<Trace>>,
    own: RefCell<Option<Box<SdkSpan>>>,
    children: Cell<u32>,
}

impl Request {
    fn begin(name: &'static str, kind: Kind) -> Self {
        let Some(tracer) = TRACER.get() else { return Self::of(None) };
        let span = tracer.begin(SpanBuilder::from_name(name).with_kind(kind), &Context::new());
        // After the last flush the SDK begins no more spans.
        let known = span.span_context().is_valid().then(|| Trace::of(span.span_context()));
        let request = Self::of(known);
        if span.is_recording() {
            request.own.replace(Some(Box::new(span)));
        }
        request
    }

    fn of(trace: Option<Trace>) -> Self {
        Self { trace: Cell::new(trace), own: RefCell::new(None), children: Cell::new(0) }
    }

    fn trace(&self) -> Trace {
        let trace = self.trace.get().unwrap_or_else(Trace::unsampled);
        self.trace.set(Some(trace));
        trace
    }

    /// The parent of the next span, if there is to be one.
    fn parent(&self) -> Option<Trace> {
        let sampled = self.trace.get().filter(|trace| trace.sampled)?;
        let children = self.children.replace(self.children.get().saturating_add(1));
        (children < MAX_CHILDREN).then_some(sampled)
    }

    fn with_own(&self, act: impl FnOnce(&mut SdkSpan)) {
        if let Some(span) = self.own.borrow_mut().as_deref_mut() {
            act(span);
        }
    }
}

/// A request from its beginning to its end: a trace of its own, where it is sampled.
pub fn request<F: Future>(name: &'static str, kind: Kind, work: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(Request::begin(name, kind), work)
}

/// Work for a request that began elsewhere: `trace` is what [`here`] returned there.
pub fn within<F: Future>(trace: Trace, work: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(Request::of(Some(trace)), work)
}

/// The request that this task works on, to be passed to another.
pub fn here() -> Option<Trace> {
    REQUEST.try_with(Request::trace).ok()
}

/// The trace id for a log line of this task.
pub(crate) fn id() -> Option<TraceId> {
    here().map(|trace| trace.id)
}

/// Sets an attribute of the request itself, if it is traced. Never a message text, never a secret.
pub fn note<V: Into<Value>>(key: &'static str, value: impl FnOnce() -> V) {
    let note = |request: &Request| {
        request.with_own(|span| span.set_attribute(KeyValue::new(key, value())));
    };
    REQUEST.try_with(note).unwrap_or_default();
}

/// Marks the request as failed, with a reason out of a closed set.
pub fn fail(why: &'static str) {
    REQUEST.try_with(|request| request.with_own(|span| failed(span, why))).unwrap_or_default();
}

fn failed(span: &mut SdkSpan, why: &'static str) {
    span.set_attribute(KeyValue::new("error.type", why));
    span.set_status(Status::error(why));
}

/// A part of the request that this task works on. It ends when it is dropped; there is nothing in it where the
/// request is not traced.
#[must_use = "a span ends when it is dropped"]
#[derive(Debug)]
pub struct Span(Option<Box<SdkSpan>>);

impl Span {
    /// Begins one.
    pub fn begin(name: &'static str, kind: Kind) -> Self {
        let begin = |tracer: &Tracer| {
            let parent = REQUEST.try_with(Request::parent).ok().flatten()?;
            Some(tracer.begin(SpanBuilder::from_name(name).with_kind(kind), &parent.parent(false)))
        };
        Self(TRACER.get().and_then(begin).map(Box::new))
    }

    /// One for a request to Redis.
    pub fn redis(name: &'static str, kind: Kind, operation: &'static str) -> Self {
        let mut span = Self::begin(name, kind);
        span.set("db.system.name", "redis");
        span.set("db.operation.name", operation);
        span
    }

    /// Its place in the trace, for what follows from it elsewhere.
    pub fn trace(&self) -> Option<Trace> {
        self.0.as_ref().map(|span| Trace::of(span.span_context()))
    }

    /// Sets an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Adds an event to it.
    pub fn mark(&mut self, what: &'static str) {
        if let Some(span) = &mut self.0 {
            span.add_event(what, Vec::new());
        }
    }

    /// Marks it as failed, with a reason out of a closed set.
    pub fn fail(&mut self, why: &'static str) {
        if let Some(span) = &mut self.0 {
            failed(span, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_it_is_written() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(Trace::parse(text).unwrap().to_string(), text);
        for invalid in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(Trace::parse(invalid), None, "{invalid}");
        }
    }

    #[tokio::test]
    async fn a_request_keeps_its_id_across_tasks() {
        assert_eq!(here(), None);
        let (one, other) = request("a", Kind::Server, async {
            let trace = here().unwrap();
            (trace, tokio::task::unconstrained(within(trace, async { here().unwrap() })).await)
        })
        .await;
        assert_eq!(one, other);
        let another = request("a", Kind::Server, async { here().unwrap() }).await;
        assert_ne!(one.id, another.id);
        assert_eq!(here(), None);
    }

    #[tokio::test]
    async fn without_an_exporter_there_are_no_spans() {
        request("a", Kind::Server, async {
            assert!(Span::begin("b", Kind::Client).trace().is_none());
            note("key", || -> i64 { panic!("must not be computed") });
            assert!(!here().unwrap().sampled);
        })
        .await;
    }
}
