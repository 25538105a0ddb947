//! Rounds of the sweeper on fake nodes, with tokio's paused clock.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_ops::{Lifecycle, Metrics};
use roomcast_store::{IgnoreEvents, Settings};

use super::*;

const LEASE: Duration = Duration::from_secs(15);
const EVERY: Duration = Duration::from_secs(1);

/// Fake nodes; the test decides when they die.
#[derive(Default)]
struct Played(Mutex<State>);

#[derive(Default)]
struct State {
    sealed: BTreeMap<Incarnation, tokio::time::Instant>,
    /// How many sweeps of each have begun.
    sweeps: BTreeMap<Incarnation, usize>,
    /// How many of the next calls fail.
    failing: usize,
    running: usize,
    most_running: usize,
}

impl Played {
    fn die(&self, word: &str) {
        self.0.lock().sealed.insert(Incarnation::new(word), tokio::time::Instant::now());
    }

    fn sweeps(&self, word: &str) -> usize {
        self.0.lock().sweeps.get(&Incarnation::new(word)).copied().unwrap_or(0)
    }

    fn sealed(&self) -> usize {
        self.0.lock().sealed.len()
    }

    fn fails(&self) -> Result<(), StoreError> {
        let mut state = self.0.lock();
        match state.failing.checked_sub(1) {
            None => Ok(()),
            Some(rest) => {
                state.failing = rest;
                Err(StoreError::Unavailable("played".into()))
            }
        }
    }
}

#[async_trait]
impl DeadNodes for Played {
    async fn seal_expired(&self) -> Result<Vec<Sealed>, StoreError> {
        self.fails()?;
        let sealed = &self.0.lock().sealed;
        Ok(sealed.iter().map(|(node, at)| Sealed { incarnation: node.clone(), age: at.elapsed() }).collect())
    }
    async fn sweep(&self, node: &Incarnation) -> Result<Swept, StoreError> {
        {
            let mut state = self.0.lock();
            *state.sweeps.entry(node.clone()).or_default() += 1;
            state.running += 1;
            state.most_running = state.most_running.max(state.running);
        }
        if node.as_str().starts_with("slow") {
            tokio::time::sleep(LEASE / 3).await;
        }
        self.0.lock().running -= 1;
        self.fails()?;
        Ok(Swept { rooms: 1, facts: 2, names: 3 })
    }
    async fn forget(&self, node: &Incarnation) -> Result<(), StoreError> {
        self.0.lock().sealed.remove(node);
        Ok(())
    }
}

struct Fixture {
    nodes: Arc<Played>,
    metrics: Metrics,
    readiness: Readiness,
    _life: Lifecycle,
}

impl Fixture {
    /// A running sweeper.
    fn start(prepare: impl FnOnce(&Played)) -> Self {
        let nodes = Arc::new(Played::default());
        prepare(&nodes);
        let health = Store::in_memory(&Settings::default(), Arc::new(IgnoreEvents)).health;
        let (metrics, readiness) = (Metrics::new("1").unwrap(), Readiness::new());
        let (telemetry, latch) = (Telemetry::new(&metrics).unwrap(), readiness.latch("first-sweep"));
        let sweeper =
            Sweeper::new(nodes.clone(), health, (LEASE, EVERY), telemetry, readiness.clone(), latch);
        let life = Lifecycle::new();
        life.spawn("sweeper", sweeper.run(life.soft()));
        Self { nodes, metrics, readiness, _life: life }
    }

    fn metric(&self, line: &str) -> bool {
        self.metrics.encode().lines().any(|l| l == line)
    }

    fn ready(&self) -> bool {
        self.readiness.report().ready
    }
}

/// Advances the clock and runs all tasks that are due until then.
async fn pass(time: Duration) {
    tokio::time::sleep(time + Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_swept_soon_and_a_lease_later_and_forgotten() {
    let f = Fixture::start(|_| {});
    pass(EVERY * 3).await;
    f.nodes.die("a");
    pass(EVERY).await;
    assert_eq!((f.nodes.sweeps("a"), f.nodes.sealed()), (1, 1));
    assert!(f.metric("roomcast_sealed_nodes 1"));
    pass(LEASE - EVERY * 2).await;
    assert_eq!((f.nodes.sweeps("a"), f.nodes.sealed()), (1, 1), "not before a lease has passed");
    pass(EVERY * 2).await;
    assert_eq!((f.nodes.sweeps("a"), f.nodes.sealed()), (2, 0));
    pass(LEASE).await;
    assert_eq!(f.nodes.sweeps("a"), 2);
    for line in [
        "roomcast_sealed_nodes_total 1",
        "roomcast_sealed_nodes 0",
        "roomcast_sweeps_total 2",
        "roomcast_swept_facts_total 4",
        "roomcast_swept_names_total 6",
        "roomcast_forgotten_nodes_total 1",
    ] {
        assert!(f.metric(line), "{line} is not in\n{}", f.metrics.encode());
    }
}

#[tokio::test(start_paused = true)]
async fn slow_sweeps_do_not_delay_sealing_and_are_limited_in_number() {
    let f = Fixture::start(|nodes| (0..3).for_each(|i| nodes.die(&format!("slow{i}"))));
    pass(EVERY).await;
    assert!(!f.ready(), "what was dead at the start is not swept yet");
    f.nodes.die("quick");
    pass(EVERY).await;
    assert_eq!(f.nodes.sweeps("quick"), 1, "swept while the slow sweeps are in progress");
    (3..9).for_each(|i| f.nodes.die(&format!("slow{i}")));
    pass(LEASE + EVERY * 2).await;
    assert!(f.ready());
    assert_eq!(f.nodes.0.lock().most_running, AT_ONCE);
    assert!((0..9).all(|i| f.nodes.sweeps(&format!("slow{i}")) >= 1));
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_shown_and_retried() {
    let f = Fixture::start(|nodes| {
        nodes.die("a");
        nodes.0.lock().failing = 3;
    });
    pass(EVERY).await;
    assert!(!f.ready());
    assert_eq!((f.nodes.sweeps("a"), f.readiness.report().degraded), (0, vec!["sweeper"]));
    // The third failure is of a sweep, and the round after it sweeps again.
    f.nodes.0.lock().failing = 0;
    pass(EVERY).await;
    assert!(f.ready() && f.readiness.report().degraded.is_empty());
    assert_eq!(f.nodes.sweeps("a"), 1);
    f.nodes.die("slow");
    pass(EVERY).await;
    f.nodes.0.lock().failing = 20;
    pass(LEASE).await;
    assert_eq!(f.nodes.sealed(), 2);
    f.nodes.0.lock().failing = 0;
    pass(LEASE * 2).await;
    assert_eq!(f.nodes.sealed(), 0);
    assert!(f.ready());
    let text = f.metrics.encode();
    assert!(text.contains("roomcast_sweep_errors_total{kind=\"unavailable\",step=\"sweep\"} 1\n"), "{text}");
    assert!(text.contains("roomcast_sweep_errors_total{kind=\"unavailable\",step=\"seal\"}"), "{text}");
}
