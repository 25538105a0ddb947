//! Figures of each room for operators, busiest first, page by page. Each worker (`worker.rs`) computes those of the
//! rooms it owns, [`super::Rooms::figures`] merges them, `debug.rs` serves them. They contain no message bodies.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use roomcast_protocol::RoomName;
use serde::Serialize;

/// Messages are counted in windows of this length.
const WINDOW: Duration = Duration::from_secs(10);

/// By which measure rooms are sorted, the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By members.
    Members,
    /// By messages a second.
    Rate,
    /// By messages since the room was subscribed.
    Messages,
}

/// The sort key: the measure, descending, then the name.
pub(crate) type Rank = (Reverse<u64>, String);

/// Which rooms are requested.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) order: Order,
    /// Only rooms that sort after this.
    pub(crate) after: Option<Rank>,
    pub(crate) limit: usize,
}

/// One room on this node.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) room: RoomName,
    /// `opening`, `live`, `lingering` or `closing`.
    pub(crate) state: &'static str,
    /// For how long it has been in that state.
    pub(crate) state_ms: u64,
    /// For how long this node has had it open.
    pub(crate) age_ms: u64,
    pub(crate) members: usize,
    /// Joins that wait until the room is open.
    pub(crate) waiting: usize,
    /// Messages sent to the members: in total, and a second.
    pub(crate) messages: u64,
    pub(crate) messages_per_second: f64,
    /// The last message's number; absent where the room is not open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
    /// A gap is being filled from the log.
    pub(crate) healing: bool,
    /// Events in the batch for the next fan-out.
    pub(crate) pending: usize,
}

/// Counts a room's messages. It costs one addition for each fan-out.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    total: u64,
    window_began: Instant,
    in_window: u64,
    in_last: u64,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, total: 0, window_began: now, in_window: 0, in_last: 0 }
    }

    pub(super) fn add(&mut self, messages: u64, now: Instant) {
        let age = now.saturating_duration_since(self.window_began);
        if age >= WINDOW {
            self.in_last = if age < WINDOW * 2 { self.in_window } else { 0 };
            self.in_window = 0;
            self.window_began = now;
        }
        self.in_window += messages;
        self.total += messages;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Thousandths of messages a second, over the last ten to twenty seconds.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.window_began);
        let (messages, span) = match age {
            age if age >= WINDOW * 2 => (0, WINDOW),
            age if age >= WINDOW => (self.in_window, age),
            age => (self.in_last + self.in_window, WINDOW + age),
        };
        messages * 1_000_000 / milliseconds(span).max(1)
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The first `limit` items after `after`, sorted by their rank.
pub(crate) fn first<N: Ord + AsRef<str>, T>(
    items: impl Iterator<Item = ((Reverse<u64>, N), T)>,
    after: Option<&Rank>,
    limit: usize,
) -> Vec<((Reverse<u64>, N), T)> {
    let is_after = |(measure, name): &(Reverse<u64>, N)| {
        after.is_none_or(|(last, named)| (*measure, name.as_ref()) > (*last, named.as_str()))
    };
    let mut kept: Vec<_> = items.filter(|(rank, _)| is_after(rank)).collect();
    if kept.len() > limit {
        kept.select_nth_unstable_by(limit, |(a, _), (b, _)| a.cmp(b));
        kept.truncate(limit);
    }
    kept.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_list_every_item_once_the_busiest_first() {
        let items = || (0..100_u64).map(|n| ((Reverse(n % 7), format!("{n:03}")), n));
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = first(items(), after.as_ref(), 9);
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            seen.extend(page.iter().map(|(_, n)| *n));
        }
        let mut expected: Vec<_> = (0..100_u64).collect();
        expected.sort_by_key(|n| (Reverse(n % 7), *n));
        assert_eq!(seen, expected);
        assert!(first(items(), None, 0).is_empty());
    }

    #[test]
    fn the_rate_covers_the_last_ten_to_twenty_seconds() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut activity = Activity::new(begin);
        (0..10).for_each(|second| activity.add(5, at(second)));
        activity.add(5, at(10));
        assert_eq!(activity.rate(at(10)), 5_500, "fifty in the last window and five in this one");
        assert_eq!(activity.rate(at(25)), 333, "five in the last fifteen seconds");
        assert_eq!(activity.rate(at(40)), 0);
        activity.add(10, at(40));
        assert_eq!(activity.rate(at(40)), 1_000);
        assert_eq!((activity.total(), activity.age(at(40))), (65, Duration::from_secs(40)));
    }
}
