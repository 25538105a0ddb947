//! What a swarm counts between two reports. Kept by `Swarm`; `window.rs` makes a report of it, and the processes of one
//! swarm pass it on and add it up.

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Digits to which a recorded time is exact.
const DIGITS: u8 = 3;
/// Nanoseconds of the longest time that is recorded as it is: ten minutes.
const LONGEST: u64 = 600_000_000_000;

/// Counts of one period.
#[derive(Serialize, Deserialize)]
pub(crate) struct Counts {
    /// How long messages were sent.
    pub(crate) seconds: f64,
    /// The share of that time that the generator was busy; of several, the busiest.
    pub(crate) busy: f64,
    pub(crate) sent: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    /// Since the swarm began.
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) disordered: u64,
    pub(crate) disagreed: u64,
    pub(crate) strays: u64,
    /// Users that left a room, as each member was told.
    pub(crate) left: u64,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) bytes: u64,
    /// From send to receive, in nanoseconds.
    #[serde(with = "sparse")]
    pub(crate) latency: Histogram<u64>,
    /// How late a message was sent, in nanoseconds.
    #[serde(with = "sparse")]
    pub(crate) lateness: Histogram<u64>,
    /// From the beginning of a connection to its being a member of its room, in nanoseconds.
    #[serde(with = "sparse")]
    pub(crate) joining: Histogram<u64>,
    pub(crate) refusal: Option<String>,
}

impl Counts {
    /// All zero. The histograms have a fixed size, so that recording allocates nothing.
    pub(crate) fn new() -> Result<Self> {
        let times = Histogram::new_with_max(LONGEST, DIGITS)?;
        Ok(Self {
            seconds: 0.0,
            busy: 0.0,
            sent: 0,
            expected: 0,
            delivered: 0,
            lost: 0,
            repeated: 0,
            disordered: 0,
            disagreed: 0,
            strays: 0,
            left: 0,
            acked: 0,
            refused: 0,
            bytes: 0,
            latency: times.clone(),
            lateness: times.clone(),
            joining: times,
            refusal: None,
        })
    }

    /// Adds those of another process over the same period.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.seconds = self.seconds.max(other.seconds);
        self.busy = self.busy.max(other.busy);
        for (sum, count) in [
            (&mut self.sent, other.sent),
            (&mut self.expected, other.expected),
            (&mut self.delivered, other.delivered),
            (&mut self.lost, other.lost),
            (&mut self.repeated, other.repeated),
            (&mut self.disordered, other.disordered),
            (&mut self.disagreed, other.disagreed),
            (&mut self.strays, other.strays),
            (&mut self.left, other.left),
            (&mut self.acked, other.acked),
            (&mut self.refused, other.refused),
            (&mut self.bytes, other.bytes),
        ] {
            *sum += count;
        }
        self.latency.add(&other.latency)?;
        self.lateness.add(&other.lateness)?;
        self.joining.add(&other.joining)?;
        if self.refusal.is_none() {
            self.refusal.clone_from(&other.refusal);
        }
        Ok(())
    }
}

/// A histogram as the list of its values and how often each was recorded.
mod sparse {
    use hdrhistogram::Histogram;
    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::Serializer;

    use super::{DIGITS, LONGEST};

    pub(super) fn serialize<S: Serializer>(times: &Histogram<u64>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(
            times.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Histogram<u64>, D::Error> {
        let mut times = Histogram::new_with_max(LONGEST, DIGITS).map_err(D::Error::custom)?;
        for (value, count) in Vec::<(u64, u64)>::deserialize(from)? {
            times.saturating_record_n(value, count);
        }
        Ok(times)
    }
}

/// Milliseconds that this share of the recorded nanoseconds does not exceed; 0 where nothing was recorded.
pub(crate) fn ms(times: &Histogram<u64>, share: f64) -> f64 {
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

    #[test]
    fn counts_of_another_process_are_added() {
        let mut one = Counts::new().unwrap();
        (one.sent, one.lost, one.busy) = (3, 1, 0.5);
        one.latency.saturating_record_n(2_000_000, 9);
        let mut other = Counts::new().unwrap();
        (other.sent, other.left, other.busy) = (4, 2, 0.25);
        other.latency.saturating_record(700_000_000);
        other.refusal = Some("busy".into());
        let passed: Counts = serde_json::from_str(&serde_json::to_string(&other).unwrap()).unwrap();
        one.add(&passed).unwrap();
        assert_eq!((one.sent, one.lost, one.left), (7, 1, 2));
        assert!((one.busy - 0.5).abs() < f64::EPSILON);
        assert_eq!(one.refusal.as_deref(), Some("busy"));
        assert_eq!(one.latency.len(), 10);
        assert!((ms(&one.latency, 0.5) - 2.0).abs() < 0.01 && ms(&one.latency, 1.0) >= 700.0);
    }
}
