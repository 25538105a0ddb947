//! Readiness as a set of named latches, so that `/readyz` can say which one is missing. Those who build the
//! process take latches, those who connect open and close them; `admin` serves the report, and
//! `Readiness::publish` shows the same as gauges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{IntGauge, IntGaugeVec};
use serde::Serialize;

use crate::metrics::{Metrics, MetricsError};

/// What `missing` says before the first latch is taken: a process that has named no condition is still starting.
const NO_LATCH: &str = "latches";

/// Whether this process should get traffic. A clone is another handle on the same state.
///
/// Take every latch before opening the first one: readiness begins when all known latches are open.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By index, since two parts may take a latch of the same name; both must then be open.
    latches: Vec<(&'static str, bool)>,
    draining: bool,
    degraded: BTreeSet<&'static str>,
    /// Ready was true once.
    started: bool,
    gauges: Option<Gauges>,
}

#[derive(Debug)]
struct Gauges {
    ready: IntGauge,
    degraded: IntGaugeVec,
}

/// The body of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every latch is open and the process is not draining. Being degraded does not make it unready.
    pub ready: bool,
    /// Names of closed latches, sorted, each once.
    pub missing: Vec<&'static str>,
    /// The process is shutting down and wants no new traffic. Final.
    pub draining: bool,
    /// Parts that work less well than they should, sorted.
    pub degraded: Vec<&'static str>,
}

impl Readiness {
    /// Without latches, and therefore not ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// A closed latch that keeps the process unready until it is opened, even if it is dropped before.
    pub fn latch(&self, name: &'static str) -> Latch {
        self.change(|state| {
            state.latches.push((name, false));
            Latch { readiness: self.clone(), name, index: state.latches.len() - 1 }
        })
    }

    /// Makes the process unready for good: the first step of a shutdown.
    pub fn drain(&self) {
        self.change(|state| state.draining = true);
    }

    /// Says that the part `name` works badly (`true`) or well again (`false`); readiness stays what it is.
    pub fn degrade(&self, name: &'static str, on: bool) {
        self.change(|state| {
            if on {
                state.degraded.insert(name);
            } else {
                state.degraded.remove(name);
            }
            if let Some(gauges) = &state.gauges {
                gauges.degraded.with_label_values(&[name]).set(i64::from(on));
            }
        });
    }

    /// The state of now.
    pub fn report(&self) -> Report {
        self.0.lock().report()
    }

    /// Whether the process has ever been ready.
    pub fn started(&self) -> bool {
        self.0.lock().started
    }

    /// Registers the gauges `roomcast_ready` (0 or 1) and `roomcast_degraded{part}` (0 or 1) and keeps them true.
    ///
    /// # Errors
    /// When these names are already registered in `metrics`.
    pub fn publish(&self, metrics: &Metrics) -> Result<(), MetricsError> {
        let ready = metrics.gauge("roomcast_ready", "1 while this process wants traffic.")?;
        let degraded = metrics.gauge_vec(
            "roomcast_degraded",
            "1 while a part of this process works badly.",
            &["part"],
        )?;
        self.change(|state| {
            for name in &state.degraded {
                degraded.with_label_values(&[name]).set(1);
            }
            state.gauges = Some(Gauges { ready, degraded });
        });
        Ok(())
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.lock();
        let result = change(&mut state);
        let ready = state.report().ready;
        state.started |= ready;
        if let Some(gauges) = &state.gauges {
            gauges.ready.set(i64::from(ready));
        }
        result
    }
}

impl State {
    fn report(&self) -> Report {
        let mut open = BTreeMap::new();
        for (name, is_open) in &self.latches {
            *open.entry(*name).or_insert(true) &= *is_open;
        }
        if open.is_empty() {
            open.insert(NO_LATCH, false);
        }
        let missing: Vec<_> = open.into_iter().filter(|(_, open)| !open).map(|(name, _)| name).collect();
        Report {
            ready: missing.is_empty() && !self.draining,
            missing,
            draining: self.draining,
            degraded: self.degraded.iter().copied().collect(),
        }
    }
}

/// One condition of readiness. A clone is another handle on the same latch.
#[derive(Clone, Debug)]
pub struct Latch {
    readiness: Readiness,
    name: &'static str,
    index: usize,
}

impl Latch {
    /// The condition holds.
    pub fn open(&self) {
        self.set(true);
    }

    /// The condition does not hold, or no longer.
    pub fn close(&self) {
        self.set(false);
    }

    fn set(&self, open: bool) {
        let changed = self.readiness.change(|state| {
            state
                .latches
                .get_mut(self.index)
                .is_some_and(|latch| std::mem::replace(&mut latch.1, open) != open)
        });
        if changed {
            tracing::info!(latch = self.name, open, "readiness latch");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_latch_is_not_ready() {
        let report = Readiness::new().report();
        assert!(!report.ready);
        assert_eq!(report.missing, [NO_LATCH]);
    }

    #[test]
    fn names_what_is_missing() {
        let readiness = Readiness::new();
        let (redis, bus) = (readiness.latch("redis"), readiness.latch("bus"));
        assert_eq!(readiness.report().missing, ["bus", "redis"]);
        redis.open();
        assert_eq!(readiness.report().missing, ["bus"]);
        assert!(!readiness.started());
        bus.open();
        assert!(readiness.report().ready);
        bus.close();
        assert!(!readiness.report().ready);
        assert!(readiness.started(), "started is for good");
    }

    #[test]
    fn latches_of_one_name_must_all_be_open() {
        let readiness = Readiness::new();
        let (one, two) = (readiness.latch("redis"), readiness.latch("redis"));
        two.open();
        assert_eq!(readiness.report().missing, ["redis"]);
        one.open();
        assert!(readiness.report().ready);
    }

    #[test]
    fn a_latch_dropped_closed_stays_closed() {
        let readiness = Readiness::new();
        drop(readiness.latch("redis"));
        assert_eq!(readiness.report().missing, ["redis"]);
    }

    #[test]
    fn draining_is_final_and_degraded_is_not_unready() {
        let readiness = Readiness::new();
        let latch = readiness.latch("redis");
        latch.open();
        readiness.degrade("redis", true);
        assert_eq!((readiness.report().ready, readiness.report().degraded), (true, vec!["redis"]));
        readiness.degrade("redis", false);
        assert!(readiness.report().degraded.is_empty());
        readiness.drain();
        latch.open();
        let report = readiness.report();
        assert_eq!((report.ready, report.draining, report.missing.len()), (false, true, 0));
    }

    #[test]
    fn gauges_follow() {
        let (readiness, metrics) = (Readiness::new(), Metrics::new("1").unwrap());
        readiness.degrade("redis", true);
        readiness.publish(&metrics).unwrap();
        let text = metrics.encode();
        assert!(
            text.contains("roomcast_ready 0\n") && text.contains("roomcast_degraded{part=\"redis\"} 1\n")
        );
        readiness.latch("redis").open();
        readiness.degrade("redis", false);
        let text = metrics.encode();
        assert!(
            text.contains("roomcast_ready 1\n") && text.contains("roomcast_degraded{part=\"redis\"} 0\n")
        );
    }
}
