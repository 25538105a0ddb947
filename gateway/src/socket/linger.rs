//! Lets messages leave for the store together where a node sends many: one write, one wake of Redis and
//! one read of its answers for all of them. Called by `send_message.rs`. The first after a quiet moment
//! goes at once, so that a quiet node pays no latency.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

pub(crate) struct Linger {
    window: Duration,
    /// When the window of the last departure ends.
    ends: Mutex<Instant>,
}

impl Linger {
    /// With a window of zero everything goes at once.
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, ends: Mutex::new(Instant::now()) }
    }

    /// Returns when it is time to leave.
    pub(crate) async fn depart(&self) {
        let Some(ends) = self.open() else { return };
        sleep_until(ends).await;
        // Whoever of the group wakes first opens the window of the next.
        let mut window = self.ends.lock();
        if *window <= ends {
            *window = Instant::now() + self.window;
        }
    }

    /// Opens a window, or tells when the one that is open ends.
    fn open(&self) -> Option<Instant> {
        let (mut ends, now) = (self.ends.lock(), Instant::now());
        if now < *ends {
            return Some(*ends);
        }
        *ends = now + self.window;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_goes_at_once_and_the_others_together() {
        let (linger, begin) = (Linger::new(Duration::from_millis(5)), Instant::now());
        linger.depart().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let left = async || {
            linger.depart().await;
            begin.elapsed()
        };
        let (a, b) = tokio::join!(left(), left());
        assert_eq!((a, b), (Duration::from_millis(5), Duration::from_millis(5)));
        // The group's own departure opened a window.
        assert_eq!(left().await, Duration::from_millis(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(left().await, Duration::from_millis(30));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_window_nobody_waits() {
        let (linger, begin) = (Linger::new(Duration::ZERO), Instant::now());
        for _ in 0..10 {
            linger.depart().await;
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
