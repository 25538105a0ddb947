//! The messages that a client sent and that are not sent back to it, because its dialect's front ends show them by
//! themselves. Noted by `client.rs` before a message is stored; asked by `outbound.rs` for each batch.

use std::collections::VecDeque;

use parking_lot::Mutex;
use roomcast_protocol::limits::MAX_QUEUED_EVENTS;
use serde::Deserialize;

use crate::hub::Packet;

/// Ids of messages that the client sent and that were not delivered to it yet; few, and mostly none.
#[derive(Default)]
pub(super) struct OwnMessages(Mutex<VecDeque<String>>);

#[derive(Deserialize)]
struct Id {
    id: String,
}

impl OwnMessages {
    /// A message with this id is about to be stored.
    pub(super) fn note(&self, id: String) {
        let mut ids = self.0.lock();
        // Never reached: a message is delivered soon after it was stored, and refused ones are forgotten.
        if ids.len() >= MAX_QUEUED_EVENTS {
            ids.pop_front();
        }
        ids.push_back(id);
    }

    /// The message will not be delivered: it was refused.
    pub(super) fn forget(&self, id: &str) {
        self.0.lock().retain(|other| other != id);
    }

    /// No message will be delivered any more: the client left its rooms.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    /// Whether some were not delivered yet.
    pub(super) fn are_awaited(&self) -> bool {
        !self.0.lock().is_empty()
    }

    /// The other packets of a batch, if own messages are among them, which are forgotten. Packets of messages have an
    /// `id`.
    pub(super) fn leave_out<'a>(&self, packets: &'a [Packet]) -> Option<Vec<&'a Packet>> {
        let mut ids = self.0.lock();
        let mut is_own = |(_, payload): &Packet| {
            let Ok(Id { id }) = serde_json::from_str(payload.get()) else { return false };
            let at = ids.iter().position(|own| *own == id);
            at.is_some_and(|at| ids.remove(at).is_some())
        };
        let others: Vec<_> = packets.iter().filter(|packet| !is_own(packet)).collect();
        (others.len() < packets.len()).then_some(others)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn packets(ids: &[&str]) -> Vec<Packet> {
        let line = ("chat", to_raw_value(&json!({ "type": "newuser" })).unwrap());
        let message = |id: &&str| ("chat", to_raw_value(&json!({ "id": id, "message": "hi" })).unwrap());
        ids.iter().map(message).chain([line]).collect()
    }

    fn left(own: &OwnMessages, ids: &[&str]) -> Option<usize> {
        own.leave_out(&packets(ids)).map(|others| others.len())
    }

    #[test]
    fn own_messages_are_left_out_once() {
        let own = OwnMessages::default();
        assert!(!own.are_awaited());
        ["a", "b", "c"].iter().for_each(|id| own.note((*id).into()));
        own.forget("c");
        assert_eq!(left(&own, &["x", "b", "y", "a", "c"]), Some(4), "x, y, c and the line");
        assert_eq!(left(&own, &["a", "b"]), None);
        own.note("d".into());
        own.clear();
        assert_eq!(left(&own, &["d"]), None);
    }

    #[test]
    fn ids_that_are_never_delivered_do_not_accumulate() {
        let own = OwnMessages::default();
        (0..2 * MAX_QUEUED_EVENTS).for_each(|n| own.note(n.to_string()));
        assert_eq!(own.0.lock().len(), MAX_QUEUED_EVENTS);
    }
}
