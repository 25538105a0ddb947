//! What a swarm counts between two reports. Kept by `Swarm`, which makes a `Window` of it.

use anyhow::Result;
use hdrhistogram::Histogram;

/// Digits to which a recorded time is exact.
const DIGITS: u8 = 3;
/// Nanoseconds of the longest time that is recorded as it is: ten minutes.
const LONGEST: u64 = 600_000_000_000;

/// Counts since the last window began.
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) repeated: u64,
    pub(super) disordered: u64,
    pub(super) disagreed: u64,
    pub(super) strays: u64,
    pub(super) acked: u64,
    pub(super) refused: u64,
    pub(super) bytes: u64,
    /// From send to receive, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// How late a message was sent, in nanoseconds.
    pub(super) lateness: Histogram<u64>,
    pub(super) refusal: Option<String>,
}

impl Counts {
    /// All zero. The histograms have a fixed size, so that recording allocates nothing.
    pub(super) fn new() -> Result<Self> {
        let times = Histogram::new_with_max(LONGEST, DIGITS)?;
        Ok(Self {
            sent: 0,
            expected: 0,
            delivered: 0,
            repeated: 0,
            disordered: 0,
            disagreed: 0,
            strays: 0,
            acked: 0,
            refused: 0,
            bytes: 0,
            latency: times.clone(),
            lateness: times,
            refusal: None,
        })
    }
}

/// Milliseconds that this share of the recorded nanoseconds does not exceed; 0 where nothing was recorded.
pub(super) fn ms(times: &Histogram<u64>, share: f64) -> f64 {
    times.value_at_quantile(share) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_in_milliseconds_and_never_too_small() {
        let mut times = Counts::new().unwrap().latency;
        assert!(ms(&times, 0.5).abs() < f64::EPSILON);
        for value in 1..=10_000_u64 {
            times.saturating_record(value * 1_000);
        }
        for (share, exact) in [(0.5, 5.0), (0.99, 9.9), (1.0, 10.0)] {
            let found = ms(&times, share);
            assert!(found >= exact && found < exact * 1.002, "{found} for {exact}");
        }
        times.saturating_record(u64::MAX);
        assert!(ms(&times, 1.0) >= 600_000.0, "what is too long is counted as the longest");
    }
}
