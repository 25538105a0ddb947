//! The results document: samples, their medians, and whether they meet the limits. Several runs of different
//! workloads share one document; each workload is from one run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::measure::Sample;
use super::workload::{Bar, bars};
use crate::stats::{median, range};

/// Cores that other programs may keep busy during a measurement before it is doubtful.
pub(super) const DISTURBED: f64 = 0.2;

/// All results.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Document {
    /// The machine and software versions.
    pub(super) machine: BTreeMap<String, String>,
    /// By name.
    pub(super) workloads: BTreeMap<String, Taken>,
}

/// A workload, as one run measured it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Taken {
    /// The number of rounds.
    pub(super) rounds: usize,
    /// Seconds of sending in each.
    pub(super) seconds: u64,
    /// By entry, then by measure, over the rounds without a fault.
    pub(super) medians: BTreeMap<String, BTreeMap<String, f64>>,
    /// The figures that have a limit.
    pub(super) verdicts: Vec<Verdict>,
    /// Peers that should have been measured and could not be.
    pub(super) missing: Vec<String>,
    /// All measurements.
    pub(super) samples: Vec<Sample>,
}

/// A figure and its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Verdict {
    /// The name of the figure.
    pub(super) what: String,
    /// The limit.
    pub(super) bar: String,
    /// The median over the rounds; none where it could not be computed.
    pub(super) measured: Option<f64>,
    /// The minimum and the maximum.
    pub(super) range: Option<(f64, f64)>,
    /// Whether it is met.
    pub(super) met: bool,
}

impl Taken {
    /// Computes medians and verdicts from the samples.
    pub(super) fn conclude(&mut self, workload: &str) {
        // Only those that exist: a run may have been interrupted.
        self.rounds = self.samples.iter().map(|sample| sample.round).max().unwrap_or(0);
        let mut values: BTreeMap<String, BTreeMap<String, Vec<f64>>> = BTreeMap::new();
        for sample in self.good() {
            for (name, value) in &sample.values {
                values.entry(sample.entry.clone()).or_default().entry(name.clone()).or_default().push(*value);
            }
        }
        self.medians = values
            .into_iter()
            .map(|(entry, values)| {
                (
                    entry,
                    values.into_iter().filter_map(|(name, values)| Some((name, median(values)?))).collect(),
                )
            })
            .collect();
        self.verdicts =
            bars().iter().filter(|bar| bar.workload == workload).map(|bar| self.verdict(bar)).collect();
    }

    fn good(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.fault.is_none())
    }

    fn figure(&self, (entry, measure): (&str, &str), round: usize) -> Option<f64> {
        self.good()
            .find(|sample| sample.entry == entry && sample.round == round)?
            .values
            .get(measure)
            .copied()
    }

    fn verdict(&self, bar: &Bar) -> Verdict {
        let rounds: Vec<(f64, f64)> = (1..=self.rounds)
            .filter_map(|round| {
                let over = bar.over.map_or(Some(1.0), |over| self.figure(over, round))?;
                Some((self.figure(bar.figure, round)?, over))
            })
            .collect();
        let quotients = rounds.iter().map(|(figure, over)| figure / over);
        let differences = rounds.iter().map(|(figure, over)| figure - over);
        let (quotient, difference) = (median(quotients.clone()), median(differences.clone()));
        let (measured, range) = match bar.slack {
            None => (quotient, range(quotients)),
            Some(_) => (difference, range(differences)),
        };
        let within = |limit: Option<f64>, value: Option<f64>| value.zip(limit).is_some_and(|(v, l)| v <= l);
        Verdict {
            what: bar.what.to_owned(),
            bar: bar.shown.to_owned(),
            measured,
            range,
            met: within(Some(bar.limit), quotient) || within(bar.slack, difference),
        }
    }

    /// A median.
    pub(super) fn median(&self, entry: &str, measure: &str) -> Option<f64> {
        self.medians.get(entry)?.get(measure).copied()
    }

    /// Cores that other programs kept busy meanwhile, at the worst median.
    pub(super) fn disturbed(&self) -> f64 {
        self.medians.values().filter_map(|values| values.get("others_busy")).copied().fold(0.0, f64::max)
    }

    /// Faults and missing peers.
    pub(super) fn faults(&self) -> Vec<String> {
        let faulty = self.samples.iter().filter_map(|sample| {
            sample.fault.as_ref().map(|fault| format!("{} (round {}): {fault}", sample.entry, sample.round))
        });
        faulty.chain(self.missing.iter().map(|peer| format!("{peer} is missing"))).collect()
    }
}

impl Document {
    /// Reads the document, or creates an empty one.
    pub(super) fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(json) => {
                serde_json::from_str(&json).with_context(|| format!("{} is no document", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes it.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(entry: &str, round: usize, cpu: f64) -> Sample {
        Sample { entry: entry.into(), round, values: [("cpu_us".to_owned(), cpu)].into(), fault: None }
    }

    #[test]
    fn ratios_are_taken_within_rounds_and_faults_left_out() {
        let mut taken = Taken::default();
        for (round, floor, ours) in [(1, 1.0, 0.4), (2, 10.0, 3.0), (3, 2.0, 1.8)] {
            taken.samples.extend([sample("floor", round, floor), sample("roomcast-alone", round, ours)]);
        }
        taken.samples[5].fault = Some("1 lost".into());
        taken.conclude("hot");
        let verdict = &taken.verdicts[0];
        assert!((verdict.measured.unwrap() - 0.35).abs() < 1e-9, "{verdict:?}");
        assert!(verdict.met);
        assert_eq!(taken.verdicts[1].measured, None, "no latency was measured");
        assert!(!taken.verdicts[1].met);
        assert_eq!(taken.median("floor", "cpu_us"), Some(2.0));
        assert_eq!(taken.faults(), ["roomcast-alone (round 3): 1 lost"]);
    }

    /// The verdict on the slow reader's effect, from pairs of latencies without and with it.
    fn effect(pairs: [(f64, f64); 3]) -> Verdict {
        let mut taken = Taken::default();
        for (round, (without, with)) in (1..).zip(pairs) {
            for (entry, p99) in [("roomcast-alone", without), ("roomcast-slow", with)] {
                let values = [("p99_ms".to_owned(), p99)].into();
                taken.samples.push(Sample { entry: entry.into(), round, values, fault: None });
            }
        }
        taken.conclude("slow");
        taken.verdicts.swap_remove(0)
    }

    #[test]
    fn a_difference_may_be_small_or_small_in_proportion() {
        let small = effect([(4.0, 5.5), (9.0, 8.0), (3.0, 12.0)]);
        assert_eq!((small.measured, small.range, small.met), (Some(1.5), Some((-1.0, 9.0)), true));
        let in_proportion = effect([(100.0, 109.0), (100.0, 103.0), (100.0, 150.0)]);
        assert_eq!((in_proportion.measured, in_proportion.met), (Some(9.0), true));
        assert!(!effect([(10.0, 12.5), (10.0, 13.0), (10.0, 10.0)]).met);
    }
}
