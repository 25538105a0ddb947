//! Follows one room's log on this node: delivers every message once, in order and without a gap, also where the bus
//! loses, repeats or reorders events. Pure: entries and results of reads in, steps out. Called by `room/state.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use roomcast_protocol::limits::fitting;
use roomcast_protocol::{Epoch, Position, RoomName, message};
use roomcast_store::log::Head;
use roomcast_store::{Entry, Opened};

use crate::hub::Message;
use crate::telemetry::HealOutcome;

/// Messages kept on the node, so that joins and recoveries after a short absence need no read of the store.
pub(crate) const RECENT: usize = 128;
/// Bytes of them at most.
const RECENT_BYTES: usize = 256 * 1024;
/// Messages stashed while a gap is being healed. Where there are more, the log is read again.
const STASH: usize = 1_024;

/// What the caller must do, in this order.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send it to every member.
    Deliver(Arc<Message>),
    /// Read what came after this position and hand it to [`Follower::healed`].
    Heal(Position),
    /// Send a resync to every member: the log cannot fill the gap. This is its epoch now.
    Resync(Epoch),
}

/// The result of a heal's read.
#[derive(Debug)]
pub(crate) enum Healed {
    /// Every message that was missed.
    Whole(Opened),
    /// Messages are missing from the log; this is its head and its newest messages.
    Lost(Opened),
    /// The store did not answer: the read is repeated.
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

/// Where the messages after a position are found.
#[derive(Debug)]
pub(crate) enum Since {
    /// These, kept on this node.
    Recent(Vec<Arc<Message>>),
    /// This node keeps too few: the log must be read.
    ReadLog,
    /// The position is not one of this log.
    Lost,
}

pub(crate) struct Follower {
    room: RoomName,
    head: Head,
    recent: VecDeque<Arc<Message>>,
    recent_bytes: usize,
    /// `recent` begins with the log's first message.
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

    /// A message arrived. One already delivered is ignored, the next one is delivered, any other means a gap.
    pub(crate) fn entry(&mut self, entry: Entry, steps: &mut Vec<Step>) {
        if self.healing {
            self.stash_entry(entry);
            return;
        }
        let Position { epoch, offset } = &self.head.position;
        if entry.epoch == *epoch && entry.offset <= *offset {
            return;
        }
        if entry.epoch == *epoch && entry.offset == offset + 1 {
            self.deliver(entry, steps);
            return;
        }
        self.stash_entry(entry);
        self.gap(steps);
    }

    /// Messages may have been missed.
    pub(crate) fn gap(&mut self, steps: &mut Vec<Step>) {
        if self.healing {
            // The store may have answered the read in progress before the missed messages were written.
            self.stash_overflowed = true;
            return;
        }
        self.healing = true;
        steps.push(Step::Heal(self.head.position.clone()));
    }

    /// Takes the result of [`Step::Heal`].
    pub(crate) fn healed(&mut self, healed: Healed, steps: &mut Vec<Step>) {
        match healed {
            Healed::Failed => {
                steps.push(Step::Heal(self.head.position.clone()));
                return;
            }
            Healed::Whole(opened) => {
                for entry in opened.newest {
                    if entry.offset > self.head.position.offset {
                        self.deliver(entry, steps);
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
            let old = entry.epoch != self.head.position.epoch && entry.offset <= self.head.position.offset;
            if !old {
                self.entry(entry, steps);
            }
        }
    }

    /// The newest messages, at most `limit`; none where this node keeps too few and the log must be read.
    pub(crate) fn newest(&self, limit: usize) -> Option<Vec<Arc<Message>>> {
        let enough = self.complete || limit <= self.recent.len();
        enough.then(|| self.recent.iter().skip(self.recent.len().saturating_sub(limit)).cloned().collect())
    }

    /// The messages after a position.
    pub(crate) fn since(&self, position: &Position) -> Since {
        if !self.head.covers(position) {
            return Since::Lost;
        }
        match self.after(position.offset) {
            Some(messages) => Since::Recent(messages),
            None => Since::ReadLog,
        }
    }

    /// Extends the messages that were read from the log after offset `from` up to this node's position; none where the
    /// node keeps too few, and the log must be read again.
    pub(crate) fn continue_to_head(&self, read: Vec<Entry>, from: u64) -> Option<Vec<Arc<Message>>> {
        let top = self.head.position.offset;
        let mut messages: Vec<_> = read
            .into_iter()
            .filter(|entry| entry.offset <= top)
            .filter_map(|entry| encode_entry(&self.room, entry).map(Arc::new))
            .collect();
        let reached = messages.last().map_or(from, |message| message.offset);
        messages.extend(self.after(reached)?);
        Some(messages)
    }

    fn after(&self, offset: u64) -> Option<Vec<Arc<Message>>> {
        if offset >= self.head.position.offset {
            return Some(Vec::new());
        }
        let first = self.recent.front().map(|message| message.offset);
        first
            .is_some_and(|first| first <= offset + 1)
            .then(|| self.recent.iter().filter(|message| message.offset > offset).cloned().collect())
    }

    fn deliver(&mut self, entry: Entry, steps: &mut Vec<Step>) {
        self.head.position.offset = entry.offset;
        if let Some(message) = encode_entry(&self.room, entry).map(Arc::new) {
            self.push_recent(Arc::clone(&message));
            steps.push(Step::Deliver(message));
        }
    }

    fn push_recent(&mut self, message: Arc<Message>) {
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
            if let Some(message) = encode_entry(&self.room, entry).map(Arc::new) {
                self.push_recent(message);
            }
        }
    }

    fn stash_entry(&mut self, entry: Entry) {
        if self.stash.len() < STASH {
            self.stash.push(entry);
        } else {
            self.stash_overflowed = true;
        }
    }
}

/// The message of an entry of a room's log. One that cannot be parsed is logged and left out.
pub(crate) fn encode_entry(room: &RoomName, entry: Entry) -> Option<Message> {
    let Entry { epoch, offset, ts, body, trace } = entry;
    match message::compose(room, &epoch, offset, ts, &body) {
        Ok(json) => Some(Message { offset, ts, json, trace }),
        Err(error) => {
            tracing::error!(%error, offset, "a message in the log cannot be parsed");
            None
        }
    }
}

/// The newest of these messages, as many as fit into one answer.
pub(super) fn newest_fitting(mut messages: Vec<Arc<Message>>) -> Vec<Arc<Message>> {
    let fitting = fitting(messages.iter().rev().map(|message| message.json.get().len()));
    messages.drain(..messages.len() - fitting);
    messages
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
    fn the_next_message_is_delivered_and_an_old_one_is_ignored() {
        let mut f = follower(2);
        assert_eq!(run(&mut f, |f, s| (1..=4).for_each(|n| f.entry(entry("a", n), s))), ["3", "4"]);
    }

    #[test]
    fn a_gap_is_healed_once_and_messages_received_meanwhile_are_delivered_after_it() {
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
    fn a_failover_that_lost_no_message_causes_no_resync() {
        let mut f = follower(2);
        assert_eq!(run(&mut f, |f, s| f.entry(entry("b", 3), s)), ["heal a:2"]);
        let read = Opened { newest: vec![entry("b", 3)], ..opened("b", 3, &[("a", 2)], []) };
        assert_eq!(run(&mut f, |f, s| f.healed(Healed::Whole(read), s)), ["3"]);
        assert_eq!(f.position(), &at("b", 3));
    }

    #[test]
    fn a_wiped_log_causes_a_resync_and_is_followed_from_there() {
        let mut f = follower(9);
        assert_eq!(run(&mut f, |f, s| f.entry(entry("b", 1), s)), ["heal a:9"]);
        let steps = run(&mut f, |f, s| f.healed(Healed::Lost(opened("b", 1, &[], 1..=1)), s));
        assert_eq!(steps, ["resync b"]);
        assert_eq!(run(&mut f, |f, s| f.entry(entry("b", 2), s)), ["2"]);
    }

    #[test]
    fn the_log_is_read_again_when_the_stash_overflows() {
        let mut f = follower(0);
        assert_eq!(run(&mut f, Follower::gap), ["heal a:0"]);
        let many = STASH as u64 + 1;
        assert!(run(&mut f, |f, s| (1..=many).for_each(|n| f.entry(entry("a", n), s))).is_empty());
        let none = opened("a", 0, &[], []);
        assert_eq!(run(&mut f, |f, s| f.healed(Healed::Whole(none), s)), ["heal a:0"]);
    }

    #[test]
    fn a_short_absence_is_recovered_from_recent_messages_and_a_long_one_from_the_log() {
        let mut f = follower(3);
        assert_eq!(f.newest(50).map(|all| all.len()), Some(3), "the log holds no more");
        run(&mut f, |f, s| (4..=300).for_each(|n| f.entry(entry("a", n), s)));
        assert_eq!(f.newest(50).map(|all| all.first().map(|m| m.offset)), Some(Some(251)));
        assert!(f.newest(200).is_none());
        assert!(matches!(f.since(&at("a", 290)), Since::Recent(missed) if missed.len() == 10));
        assert!(matches!(f.since(&at("a", 300)), Since::Recent(missed) if missed.is_empty()));
        assert!(matches!(f.since(&at("a", 10)), Since::ReadLog));
        assert!(matches!(f.since(&at("a", 301)), Since::Lost));
        assert!(matches!(f.since(&at("x", 1)), Since::Lost));
        let messages = f.continue_to_head((11..=180).map(|n| entry("a", n)).collect(), 10).unwrap();
        assert_eq!(messages.iter().map(|m| m.offset).collect::<Vec<_>>(), (11..=300).collect::<Vec<_>>());
        assert!(f.continue_to_head((11..=100).map(|n| entry("a", n)).collect(), 10).is_none());
    }
}
