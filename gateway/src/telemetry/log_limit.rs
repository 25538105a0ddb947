//! A limit on log lines that clients can cause: one per interval, which says how many were left out. Called by the other
//! files of this folder.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Shortest time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// The lines of one kind.
#[derive(Debug, Default)]
pub(super) struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// Whether a line may be written now: then the number of those left out since the last one.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_counts_the_others() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        let seconds = |seconds| limit.admit(start + Duration::from_secs(seconds));
        assert_eq!([seconds(0), seconds(1), seconds(9)], [Some(0), None, None]);
        assert_eq!([seconds(10), seconds(11), seconds(30)], [Some(2), None, Some(1)]);
    }
}
