//! Who sent a message to everyone lately: each user may do so once in a while, and all together not too often. Messages of
//! other nodes count as soon as this one received them. Called by `worker.rs` and by `chat/broadcast.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roomcast_protocol::UserName;

/// A user may send one message to everyone in this time.
const EVERY: Duration = Duration::from_secs(10);
/// All users together may send this many in it: names may be had for nothing.
const MAX: usize = 100;

/// A handle; clones share the turns.
#[derive(Clone, Default)]
pub(crate) struct BroadcastTurns(Arc<Mutex<HashMap<UserName, Turn>>>);

struct Turn {
    at: Instant,
    /// The message's id.
    id: String,
}

impl BroadcastTurns {
    /// Takes a user's turn for a message. False if the user had one for another message, or too many others had one: a
    /// message that is sent again, because its answer was lost, needs no other turn.
    pub(crate) fn take(&self, user: &UserName, id: &str, now: Instant) -> bool {
        let mut turns = self.0.lock();
        turns.retain(|_, turn| now.saturating_duration_since(turn.at) < EVERY);
        if let Some(turn) = turns.get(user) {
            return turn.id == id;
        }
        let free = turns.len() < MAX;
        if free {
            turns.insert(user.clone(), Turn { at: now, id: id.to_owned() });
        }
        free
    }

    /// A user's message was not stored.
    pub(crate) fn give_back(&self, user: &UserName) {
        self.0.lock().remove(user);
    }

    /// A user's message arrived, from whichever node.
    pub(super) fn note(&self, user: UserName, id: String, now: Instant) {
        let mut turns = self.0.lock();
        if turns.len() < MAX {
            turns.entry(user).or_insert(Turn { at: now, id });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserName {
        UserName::parse(&format!("u{number}")).unwrap()
    }

    #[test]
    fn a_user_has_one_turn_in_ten_seconds() {
        let (turns, now) = (BroadcastTurns::default(), Instant::now());
        assert!(turns.take(&user(1), "a", now) && turns.take(&user(2), "a", now));
        assert!(!turns.take(&user(1), "b", now + EVERY / 2));
        assert!(turns.take(&user(1), "a", now + EVERY / 2), "the same message, sent again");
        assert!(turns.take(&user(1), "b", now + EVERY));
        turns.give_back(&user(1));
        assert!(turns.take(&user(1), "c", now + EVERY));
        turns.note(user(3), "a".into(), now);
        assert!(!turns.take(&user(3), "b", now + EVERY / 2), "it was sent on another node");
        assert!(turns.take(&user(3), "a", now + EVERY / 2), "and is sent again on this one");
        turns.note(user(3), "a".into(), now + EVERY / 2);
        assert!(turns.take(&user(3), "b", now + EVERY), "the same message is noted once");
    }

    #[test]
    fn all_users_together_have_a_number_of_turns() {
        let (turns, now) = (BroadcastTurns::default(), Instant::now());
        assert!((0..MAX).all(|n| turns.take(&user(n), "a", now)));
        assert!(!turns.take(&user(MAX), "a", now));
        assert!(turns.take(&user(MAX), "a", now + EVERY));
    }
}
