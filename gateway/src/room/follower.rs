//! Follows one room's log on this node: every message once, in order, without a hole, whatever the bus
//! does. Pure: entries and read results in, steps out. Called by `room/state.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use roomcast_protocol::{Epoch, Position, RoomName, message};
use roomcast_store::log::Head;
use roomcast_store::{Entry, Opened};

use crate::hub::Message;
use crate::telemetry::HealOutcome;

/// Messages kept on the node, so that joins and short absences are answered without asking the store.
pub(crate) const RECENT: usize = 128;
/// Bytes of them, at most.
const RECENT_BYTES: usize = 256 * 1024;
/// Messages that may wait while a gap is being healed; more are read again.
const STASH: usize = 1_024;

/// What the follower wants done, in this order.
#[derive(Debug)]
pub(crate) enum Step {
    /// Give it to every member.
    Deliver(Arc<Message>),
    /// Read what came after this position and hand it to [`Follower::healed`].
    Heal(Position),
    /// Tell every member that the log of this epoch cannot fill their gap.
    Resync(Epoch),
}

/// What a heal read.
#[derive(Debug)]
pub(crate) enum Healed {
    /// All that was missed.
    Whole(Opened),
    /// Too much is gone; this is where the log stands.
    Lost(Opened),
    /// The store did not answer: try again.
    Failed,
}

impl Healed {
    /// For telemetry.
    pub(super) fn outcome(&self) -> HealOutcome {
        match self {
            Self::Whole(_) => HealOutcome::Whole,
            Self::Lost(_) => HealOutcome::Lost,
            Self::Failed => HealOutcome::Failed,
        }
    }
}

/// What came after a position, as far as this node remembers.
#[derive(Debug)]
pub(crate) enum Since {
    Here(Vec<Arc<Message>>),
    AskTheLog,
    Lost,
}

pub(crate) struct Follower {
    room: RoomName,
    head: Head,
    recent: VecDeque<Arc<Message>>,
    recent_bytes: usize,
    /// Whether `recent` begins where the log does.
    complete: bool,
    healing: bool,
    stash: Vec<Entry>,
    stash_overflowed: bool,
}

impl Follower {
    pub(crate) fn begin(room: RoomName, opened: Opened) -> Self {
        let mut follower = Self {
            room,
            head: opened.head.clone(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            complete: false,
            healing: false,
            stash: Vec::new(),
            stash_overflowed: false,
        };
        follower.refill(opened);
        follower
    }

    pub(crate) fn is_healing(&self) -> bool {
        self.healing
    }

    pub(crate) fn position(&self) -> &Position {
        &self.head.position
    }

    /// News of a message. Older ones were seen; the next one is delivered; anything else is a gap.
    pub(crate) fn entry(&mut self, entry: Entry, steps: &mut Vec<Step>) {
        if self.healing {
            self.put_aside(entry);
            return;
        }
        let Position { epoch, offset } = &self.head.position;
        if entry.epoch == *epoch && entry.offset <= *offset {
            return;
        }
        if entry.epoch == *epoch && entry.offset == offset + 1 {
            self.take(entry, steps);
            return;
        }
        self.put_aside(entry);
        self.gap(steps);
    }

    /// Something may have been missed.
    pub(crate) fn gap(&mut self, steps: &mut Vec<Step>) {
        if self.healing {
            // The read under way may have been answered before the news that was missed.
            self.stash_overflowed = true;
            return;
        }
        self.healing = true;
        steps.push(Step::Heal(self.head.position.clone()));
    }

    /// A heal's read came back.
    pub(crate) fn healed(&mut self, healed: Healed, steps: &mut Vec<Step>) {
        match healed {
            Healed::Failed => {
                steps.push(Step::Heal(self.head.position.clone()));
                return;
            }
            Healed::Whole(opened) => {
                for entry in opened.newest {
                    if entry.offset > self.head.position.offset {
                        self.take(entry, steps);
                    }
                }
                self.head = opened.head;
            }
            Healed::Lost(opened) => {
                steps.push(Step::Resync(opened.head.position.epoch.clone()));
                self.head = opened.head.clone();
                self.refill(opened);
            }
        }
        self.healing = false;
        if std::mem::take(&mut self.stash_overflowed) {
            self.stash.clear();
            self.gap(steps);
            return;
        }
        for entry in std::mem::take(&mut self.stash) {
            let stale = entry.epoch != self.head.position.epoch && entry.offset <= self.head.position.offset;
            if !stale {
                self.entry(entry, steps);
            }
        }
    }

    /// The newest messages, at most so many; none where only the log knows.
    pub(crate) fn newest(&self, limit: usize) -> Option<Vec<Arc<Message>>> {
        let known = self.complete || limit <= self.recent.len();
        known.then(|| self.recent.iter().skip(self.recent.len().saturating_sub(limit)).cloned().collect())
    }

    /// What came after a position.
    pub(crate) fn since(&self, position: &Position) -> Since {
        if !self.head.covers(position) {
            return Since::Lost;
        }
        match self.after(position.offset) {
            Some(messages) => Since::Here(messages),
            None => Since::AskTheLog,
        }
    }

    /// Continues what was read from the log up to this node's own position: none where the node
    /// remembers too little, and the log must be asked again.
    pub(crate) fn join_on(&self, read: Vec<Entry>, from: u64) -> Option<Vec<Arc<Message>>> {
        let top = self.head.position.offset;
        let mut messages: Vec<_> = read
            .into_iter()
            .filter(|entry| entry.offset <= top)
            .filter_map(|entry| self.encode(entry))
            .collect();
        let reached = messages.last().map_or(from, |message| message.offset);
        messages.extend(self.after(reached)?);
        Some(messages)
    }

    pub(crate) fn encode(&self, entry: Entry) -> Option<Arc<Message>> {
        let Entry { epoch, offset, ts, body, trace } = entry;
        match message::compose(&self.room, &epoch, offset, ts, &body) {
            Ok(json) => Some(Arc::new(Message { offset, ts, json, trace })),
            Err(error) => {
                tracing::error!(%error, offset, "a message in the log is no message");
                None
            }
        }
    }

    fn after(&self, offset: u64) -> Option<Vec<Arc<Message>>> {
        if offset >= self.head.position.offset {
            return Some(Vec::new());
        }
        let begins = self.recent.front().map(|message| message.offset);
        begins
            .is_some_and(|begins| begins <= offset + 1)
            .then(|| self.recent.iter().filter(|message| message.offset > offset).cloned().collect())
    }

    fn take(&mut self, entry: Entry, steps: &mut Vec<Step>) {
        self.head.position.offset = entry.offset;
        if let Some(message) = self.encode(entry) {
            self.remember(Arc::clone(&message));
            steps.push(Step::Deliver(message));
        }
    }

    fn remember(&mut self, message: Arc<Message>) {
        self.recent_bytes += message.json.get().len();
        self.recent.push_back(message);
        while self.recent.len() > RECENT || self.recent_bytes > RECENT_BYTES {
            let Some(old) = self.recent.pop_front() else { break };
            self.recent_bytes -= old.json.get().len();
            self.complete = false;
        }
    }

    fn refill(&mut self, opened: Opened) {
        self.recent.clear();
        self.recent_bytes = 0;
        self.complete = opened.newest.len() < RECENT;
        for entry in opened.newest {
            if let Some(message) = self.encode(entry) {
                self.remember(message);
            }
        }
    }

    fn put_aside(&mut self, entry: Entry) {
        if self.stash.len() < STASH {
            self.stash.push(entry);
        } else {
            self.stash_overflowed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, offset: u64) -> Position {
        Position { epoch: Epoch::new(epoch), offset }
    }

    fn entry(epoch: &str, offset: u64) -> Entry {
        Entry {
            epoch: Epoch::new(epoch),
            offset,
            ts: 1,
            body: format!(r#"{{"v":1,"id":"{offset}"}}"#),
            trace: None,
        }
    }

    fn opened(epoch: &str, top: u64, prior: &[(&str, u64)], newest: impl IntoIterator<Item = u64>) -> Opened {
        Opened {
            head: Head {
                position: at(epoch, top),
                prior: prior.iter().map(|(epoch, top)| at(epoch, *top)).collect(),
            },
            newest: newest.into_iter().map(|offset| entry(epoch, offset)).collect(),
        }
    }

    fn follower(top: u64) -> Follower {
        Follower::begin(RoomName::parse("r").unwrap(), opened("a", top, &[], 1..=top))
    }

    fn show(steps: &[Step]) -> Vec<String> {
        let one = |step: &Step| match step {
            Step::Deliver(message) => message.offset.to_string(),
            Step::Heal(from) => format!("heal {}:{}", from.epoch, from.offset),
            Step::Resync(epoch) => format!("resync {epoch}"),
        };
        steps.iter().map(one).collect()
    }

    fn run(follower: &mut Follower, act: impl FnOnce(&mut Follower, &mut Vec<Step>)) -> Vec<String> {
        let mut steps = Vec::new();
        act(follower, &mut steps);
        show(&steps)
    }

    #[test]
    fn the_next_is_delivered_and_the_old_is_not() {
        let mut f = follower(2);
        assert_eq!(run(&mut f, |f, s| (1..=4).for_each(|n| f.entry(entry("a", n), s))), ["3", "4"]);
    }

    #[test]
    fn a_jump_heals_once_and_keeps_what_came_meanwhile() {
        let mut f = follower(2);
        assert_eq!(run(&mut f, |f, s| f.entry(entry("a", 5), s)), ["heal a:2"]);
        assert!(run(&mut f, |f, s| f.entry(entry("a", 6), s)).is_empty());
        let read = Opened { newest: (3..=5).map(|n| entry("a", n)).collect(), ..opened("a", 5, &[], []) };
        assert_eq!(run(&mut f, |f, s| f.healed(Healed::Whole(read), s)), ["3", "4", "5", "6"]);
        assert_eq!(run(&mut f, |f, s| f.entry(entry("a", 7), s)), ["7"]);
    }

    #[test]
    fn a_gap_noticed_during_a_heal_is_healed_after_it() {
        let mut f = follower(2);
        assert_eq!(run(&mut f, Follower::gap), ["heal a:2"]);
        assert!(run(&mut f, Follower::gap).is_empty());
        let same = opened("a", 2, &[], []);
        assert_eq!(run(&mut f, |f, s| f.healed(Healed::Whole(same), s)), ["heal a:2"]);
    }

    #[test]
    fn a_failover_that_kept_everything_is_silent() {
        let mut f = follower(2);
        assert_eq!(run(&mut f, |f, s| f.entry(entry("b", 3), s)), ["heal a:2"]);
        let read = Opened { newest: vec![entry("b", 3)], ..opened("b", 3, &[("a", 2)], []) };
        assert_eq!(run(&mut f, |f, s| f.healed(Healed::Whole(read), s)), ["3"]);
        assert_eq!(f.position(), &at("b", 3));
    }

    #[test]
    fn a_wiped_log_is_said_and_then_followed() {
        let mut f = follower(9);
        assert_eq!(run(&mut f, |f, s| f.entry(entry("b", 1), s)), ["heal a:9"]);
        let steps = run(&mut f, |f, s| f.healed(Healed::Lost(opened("b", 1, &[], 1..=1)), s));
        assert_eq!(steps, ["resync b"]);
        assert_eq!(run(&mut f, |f, s| f.entry(entry("b", 2), s)), ["2"]);
    }

    #[test]
    fn an_overflowing_stash_is_read_again() {
        let mut f = follower(0);
        assert_eq!(run(&mut f, Follower::gap), ["heal a:0"]);
        let many = STASH as u64 + 1;
        assert!(run(&mut f, |f, s| (1..=many).for_each(|n| f.entry(entry("a", n), s))).is_empty());
        let none = opened("a", 0, &[], []);
        assert_eq!(run(&mut f, |f, s| f.healed(Healed::Whole(none), s)), ["heal a:0"]);
    }

    #[test]
    fn short_absences_are_answered_from_memory_and_long_ones_are_not() {
        let mut f = follower(3);
        assert_eq!(f.newest(50).map(|all| all.len()), Some(3), "the log holds no more");
        run(&mut f, |f, s| (4..=300).for_each(|n| f.entry(entry("a", n), s)));
        assert_eq!(f.newest(50).map(|all| all.first().map(|m| m.offset)), Some(Some(251)));
        assert!(f.newest(200).is_none());
        assert!(matches!(f.since(&at("a", 290)), Since::Here(missed) if missed.len() == 10));
        assert!(matches!(f.since(&at("a", 300)), Since::Here(missed) if missed.is_empty()));
        assert!(matches!(f.since(&at("a", 10)), Since::AskTheLog));
        assert!(matches!(f.since(&at("a", 301)), Since::Lost));
        assert!(matches!(f.since(&at("x", 1)), Since::Lost));
        let joined = f.join_on((11..=180).map(|n| entry("a", n)).collect(), 10).unwrap();
        assert_eq!(joined.iter().map(|m| m.offset).collect::<Vec<_>>(), (11..=300).collect::<Vec<_>>());
        assert!(f.join_on((11..=100).map(|n| entry("a", n)).collect(), 10).is_none());
    }
}
