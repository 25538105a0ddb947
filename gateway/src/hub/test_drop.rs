//! A defect on demand, for tests of tests: every n-th message to a member is not sent, as if the gateway had lost it.
//! `registry.rs` puts it around the transport of each connection where `--test-drop-every` is given; without the flag
//! nothing of it runs. Only what a room's members receive live is affected: answers, histories and what a returning
//! client missed are sent by other methods of the transport, and are complete.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roomcast_protocol::UserName;

use super::batch::Batch;
use super::connection::{Outbound, OutboundStatus, SendError};
use super::event::Event;
use crate::telemetry::Written;

/// Counts the messages to members, all connections together, and says which of them are dropped. Clones count together.
#[derive(Clone)]
pub(super) struct Drops {
    every: NonZeroU64,
    counted: Arc<AtomicU64>,
}

impl Drops {
    pub(super) fn new(every: NonZeroU64) -> Self {
        Self { every, counted: Arc::default() }
    }

    /// The transport, without the messages that are dropped.
    pub(super) fn around(&self, outbound: Box<dyn Outbound>) -> Box<dyn Outbound> {
        Box::new(Dropping { outbound, drops: self.clone() })
    }

    /// The events of a batch that one member receives; none where it receives all.
    fn rest(&self, batch: &Batch) -> Option<Batch> {
        let messages = u64::try_from(batch.messages()).unwrap_or(u64::MAX);
        let mut number = self.counted.fetch_add(messages, Ordering::Relaxed);
        if messages < self.every.get() - number % self.every {
            return None;
        }
        let is_sent = |event: &&Event| {
            let is_message = matches!(event, Event::Message(_));
            number += u64::from(is_message);
            !is_message || !number.is_multiple_of(self.every.get())
        };
        Some(batch.part(batch.events().iter().filter(is_sent).cloned().collect()))
    }
}

struct Dropping {
    outbound: Box<dyn Outbound>,
    drops: Drops,
}

impl Outbound for Dropping {
    fn send(&self, batch: &Batch) -> Result<Written, SendError> {
        match self.drops.rest(batch) {
            None => self.outbound.send(batch),
            Some(rest) if rest.is_empty() => Ok(Written::default()),
            Some(rest) => self.outbound.send(&rest),
        }
    }

    fn send_observed(&self, batch: &Batch, user: Option<&UserName>) -> Result<Written, SendError> {
        self.outbound.send_observed(batch, user)
    }

    fn send_own(&self, event: &Event) -> Result<Written, SendError> {
        self.outbound.send_own(event)
    }

    fn close(&self) {
        self.outbound.close();
    }

    fn status(&self) -> OutboundStatus {
        self.outbound.status()
    }
}

#[cfg(test)]
mod tests {
    use roomcast_protocol::server::Restarting;
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::hub::Message;

    fn message(offset: u64) -> Event {
        let json = to_raw_value(&offset).unwrap();
        Event::Message(Arc::new(Message { offset, ts: 0, json, trace: None }))
    }

    fn batch(events: impl IntoIterator<Item = Event>) -> Batch {
        let mut batch = Batch::default();
        events.into_iter().for_each(|event| batch.push(event));
        batch
    }

    /// The offsets of the messages, and how many events are none.
    fn sent(rest: &Batch) -> (Vec<u64>, usize) {
        let offsets: Vec<u64> = rest
            .events()
            .iter()
            .filter_map(|event| if let Event::Message(message) = event { Some(message.offset) } else { None })
            .collect();
        let others = rest.len() - offsets.len();
        (offsets, others)
    }

    #[test]
    fn every_third_message_is_dropped_whatever_batches_it_is_in() {
        let drops = Drops::new(NonZeroU64::new(3).unwrap());
        let other = Event::Restarting(Restarting { reconnect_in_ms: 1 });
        assert!(drops.rest(&batch([message(1), other.clone()])).is_none());
        assert!(drops.rest(&batch([other.clone()])).is_none(), "no message");
        assert!(drops.rest(&batch([message(2)])).is_none());
        assert!(drops.rest(&batch([message(3)])).unwrap().is_empty());
        let seven = batch((4..=10).map(message).chain([other]));
        assert_eq!(sent(&drops.rest(&seven).unwrap()), (vec![4, 5, 7, 8, 10], 1));
        let one_for_each_of_two = batch([message(11)]);
        assert!(drops.rest(&one_for_each_of_two).is_none(), "the 11th");
        assert!(drops.rest(&one_for_each_of_two).unwrap().is_empty(), "the 12th");
    }

    #[test]
    fn every_message_may_be_dropped() {
        let drops = Drops::new(NonZeroU64::MIN);
        assert!(drops.rest(&batch([message(1), message(2)])).unwrap().is_empty());
    }
}
