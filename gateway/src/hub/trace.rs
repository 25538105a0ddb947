//! The fan-outs of traced messages, as spans: one for each message on each node, never one for each recipient.
//! Called by `batch.rs`; the rest of tracing is in `roomcast_ops::trace`.

use roomcast_ops::trace::Span;

use super::event::Message;

/// The spans of the traced messages of one batch: started when the message was received from the bus, ended when this
/// is dropped, after the last send.
#[derive(Default)]
pub(super) struct FanoutSpans(Vec<Span>);

impl FanoutSpans {
    pub(super) fn begin(&mut self, message: &Message) {
        if let Some(origin) = &message.trace {
            let mut span = origin.span("fan-out");
            span.set("roomcast.offset", i64::try_from(message.offset).unwrap_or(i64::MAX));
            span.set("roomcast.bytes", number(message.json.get().len()));
            self.0.push(span);
        }
    }

    /// Marks the start of sending this number of events to this number of members.
    pub(super) fn begin_write(&mut self, events: usize, members: usize) {
        for span in &mut self.0 {
            span.set("roomcast.batched", number(events));
            span.set("roomcast.members", number(members));
            span.mark("write");
        }
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
