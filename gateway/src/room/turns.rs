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
    /// Takes a user's turn for a message. A message that is sent again, because its answer was lost, needs no other turn.
    ///
    /// # Errors
    /// The user had a turn for another message, or too many others had one: how long until that is over.
    pub(crate) fn take(&self, user: &UserName, id: &str, now: Instant) -> Result<(), Duration> {
        let left = |turn: &Turn| EVERY.saturating_sub(now.saturating_duration_since(turn.at));
        let mut turns = self.0.lock();
        turns.retain(|_, turn| !left(turn).is_zero());
        match turns.get(user) {
            Some(turn) if turn.id == id => return Ok(()),
            Some(turn) => return Err(left(turn)),
            None => {}
        }
        if turns.len() >= MAX {
            return Err(turns.values().map(left).min().unwrap_or_default());
        }
        turns.insert(user.clone(), Turn { at: now, id: id.to_owned() });
        Ok(())
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
        assert_eq!((turns.take(&user(1), "a", now), turns.take(&user(2), "a", now)), (Ok(()), Ok(())));
        assert_eq!(turns.take(&user(1), "b", now + EVERY / 2), Err(EVERY / 2), "what is left of the time");
        assert!(turns.take(&user(1), "a", now + EVERY / 2).is_ok(), "the same message, sent again");
        assert!(turns.take(&user(1), "b", now + EVERY).is_ok());
        turns.give_back(&user(1));
        assert!(turns.take(&user(1), "c", now + EVERY).is_ok());
        turns.note(user(3), "a".into(), now);
        assert!(turns.take(&user(3), "b", now + EVERY / 2).is_err(), "it was sent on another node");
        assert!(turns.take(&user(3), "a", now + EVERY / 2).is_ok(), "and is sent again on this one");
        turns.note(user(3), "a".into(), now + EVERY / 2);
        assert!(turns.take(&user(3), "b", now + EVERY).is_ok(), "the same message is noted once");
    }

    #[test]
    fn all_users_together_have_a_number_of_turns() {
        let (turns, now) = (BroadcastTurns::default(), Instant::now());
        assert!((0..MAX).all(|n| turns.take(&user(n), "a", now).is_ok()));
        assert_eq!(turns.take(&user(MAX), "a", now), Err(EVERY));
        assert!(turns.take(&user(MAX), "a", now + EVERY).is_ok());
    }
}
