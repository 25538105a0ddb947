//! The gateway's part of a trace: what a client's event is called in it, and the fan-outs of traced messages, one
//! span for each message on each node, never one for each recipient. Called by `socket/` and by `fanout.rs`; the
//! rest is in `roomcast_ops::trace`.

use roomcast_ops::trace::Span;
use roomcast_protocol::event;

use crate::room::Message;

/// Names of spans are a closed set: what else clients send is one of them.
pub(crate) fn name(event: &str) -> &'static str {
    event::client::ALL.iter().find(|known| known.name == event).map_or("other", |known| known.name)
}

/// The fan-outs of the traced messages that leave in one write: begun when the bus brought the message, ended when
/// this is dropped, which is when the last member was given it.
#[derive(Default)]
pub(crate) struct Fanouts(Vec<Span>);

impl Fanouts {
    pub(crate) fn begin(&mut self, message: &Message) {
        if let Some(origin) = &message.trace {
            let mut span = origin.span("fan-out");
            span.set("roomcast.offset", i64::try_from(message.offset).unwrap_or(i64::MAX));
            span.set("roomcast.bytes", number(message.json.get().len()));
            self.0.push(span);
        }
    }

    /// So many events are about to be given to so many members.
    pub(crate) fn write(&mut self, events: usize, members: usize) {
        for span in &mut self.0 {
            span.set("roomcast.gathered", number(events));
            span.set("roomcast.members", number(members));
            span.mark("write");
        }
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_closed_set() {
        assert_eq!(name("send_message"), "send_message");
        assert_eq!(name("'; DROP TABLE"), "other");
    }
}
