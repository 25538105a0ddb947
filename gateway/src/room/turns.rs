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
pub(crate) struct BroadcastTurns(Arc<Mutex<HashMap<UserName, Instant>>>);

impl BroadcastTurns {
    /// Takes a user's turn. False if the user had one, or too many others had.
    pub(crate) fn take(&self, user: &UserName, now: Instant) -> bool {
        let mut turns = self.0.lock();
        turns.retain(|_, at| now.saturating_duration_since(*at) < EVERY);
        let free = turns.len() < MAX && !turns.contains_key(user);
        if free {
            turns.insert(user.clone(), now);
        }
        free
    }

    /// A user's message was not stored.
    pub(crate) fn give_back(&self, user: &UserName) {
        self.0.lock().remove(user);
    }

    /// A user's message arrived, from whichever node.
    pub(super) fn note(&self, user: &UserName, now: Instant) {
        let mut turns = self.0.lock();
        if turns.len() < MAX {
            turns.entry(user.clone()).or_insert(now);
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
        assert!(turns.take(&user(1), now) && turns.take(&user(2), now));
        assert!(!turns.take(&user(1), now + EVERY / 2));
        assert!(turns.take(&user(1), now + EVERY));
        turns.give_back(&user(1));
        assert!(turns.take(&user(1), now + EVERY));
        turns.note(&user(3), now);
        assert!(!turns.take(&user(3), now + EVERY / 2), "it was sent on another node");
        turns.note(&user(3), now + EVERY / 2);
        assert!(turns.take(&user(3), now + EVERY), "the same message is noted once");
    }

    #[test]
    fn all_users_together_have_a_number_of_turns() {
        let (turns, now) = (BroadcastTurns::default(), Instant::now());
        assert!((0..MAX).all(|n| turns.take(&user(n), now)));
        assert!(!turns.take(&user(MAX), now));
        assert!(turns.take(&user(MAX), now + EVERY));
    }
}
