//! Finds dead nodes and removes their users' presence. Every replica does all of it: sealing, sweeping and forgetting
//! may run twice and on two replicas at once, because the store removes a fact and publishes the leave in one step.
//! Called by `app.rs`; `plan.rs` decides what is due, the store does it.

mod plan;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use roomcast_ops::trace::{self, Kind};
use roomcast_ops::{CancellationToken, Latch, Readiness};
use roomcast_store::{Health, Incarnation, Sealed, Store, StoreError, Swept};
use tokio::time::{MissedTickBehavior, interval};

use crate::telemetry::Telemetry;
use plan::{Plan, Step};

/// Dead nodes swept at once: one with very many rooms must not delay the others.
const AT_ONCE: usize = 4;
/// The part of readiness that is degraded while dead nodes cannot be listed.
const PART: &str = "sweeper";

/// What the sweeper needs of the store.
#[async_trait]
pub(crate) trait DeadNodes: Send + Sync {
    /// Seals every incarnation whose lease ran out; returns all that are sealed and not yet forgotten.
    async fn seal_expired(&self) -> Result<Vec<Sealed>, StoreError>;
    /// Removes what a sealed incarnation left.
    async fn sweep(&self, node: &Incarnation) -> Result<Swept, StoreError>;
    /// Removes its last entries.
    async fn forget(&self, node: &Incarnation) -> Result<(), StoreError>;
}

#[async_trait]
impl DeadNodes for Store {
    async fn seal_expired(&self) -> Result<Vec<Sealed>, StoreError> {
        self.nodes.seal_expired().await
    }

    async fn sweep(&self, node: &Incarnation) -> Result<Swept, StoreError> {
        Self::sweep(self, node).await
    }

    async fn forget(&self, node: &Incarnation) -> Result<(), StoreError> {
        Self::forget(self, node).await
    }
}

/// The sweeper of this replica.
pub(crate) struct Sweeper {
    nodes: Arc<dyn DeadNodes>,
    health: Health,
    every: Duration,
    telemetry: Telemetry,
    readiness: Readiness,
    first_sweep: Latch,
    /// Nodes that were dead when this replica started and that it has not tried to sweep; none before the first listing.
    dead_at_start: Option<BTreeSet<Incarnation>>,
    plan: Plan,
    /// Steps that were due in the last round and have not begun. Replaced in every round.
    due: VecDeque<(Incarnation, Step)>,
    sweeping: usize,
    /// Whether the last listing succeeded; none before the first.
    listed: Option<bool>,
}

/// The result of a listing or of a step.
enum Done {
    Listed(Result<Vec<Sealed>, StoreError>),
    Swept(Incarnation, Step, Result<(), Failure>),
}

/// Which part of a step failed, and why.
type Failure = (&'static str, StoreError);

impl Sweeper {
    /// `lease` after its sealing a node is swept for the last time; `first_sweep` is opened once this
    /// replica has tried to sweep everything that was dead when it started.
    pub(crate) fn new(
        nodes: Arc<dyn DeadNodes>,
        health: Health,
        (lease, every): (Duration, Duration),
        telemetry: Telemetry,
        readiness: Readiness,
        first_sweep: Latch,
    ) -> Self {
        Self {
            nodes,
            health,
            every,
            telemetry,
            readiness,
            first_sweep,
            dead_at_start: None,
            plan: Plan::new(lease),
            due: VecDeque::new(),
            sweeping: 0,
            listed: None,
        }
    }

    /// Sweeps until `stop` is cancelled, and drops steps in progress then: their nodes stay sealed, and any replica
    /// continues with them.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            // Before the first connection to the store a round could only fail.
            if self.health.watch().wait_for(|reach| reach.up).await.is_ok() {
                self.rounds().await;
            }
        })
        .await;
    }

    /// Never returns. Listing and sweeping are futures in one set, so that neither waits for the other, and all state
    /// belongs to this task.
    async fn rounds(&mut self) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = FuturesUnordered::new();
        let mut listing = false;
        loop {
            tokio::select! {
                _ = ticks.tick(), if !listing => {
                    listing = true;
                    work.push(self.list());
                }
                Some(done) = work.next() => match done {
                    Done::Listed(found) => {
                        listing = false;
                        self.listed(found);
                    }
                    Done::Swept(node, step, result) => {
                        self.sweeping -= 1;
                        if let Some(dead) = &mut self.dead_at_start {
                            dead.remove(&node);
                        }
                        self.swept(&node, step, result);
                    }
                }
            }
            while self.sweeping < AT_ONCE
                && let Some((node, step)) = self.due.pop_front()
            {
                self.plan.begin(&node);
                self.sweeping += 1;
                work.push(self.sweep(node, step));
            }
            if self.dead_at_start.as_ref().is_some_and(BTreeSet::is_empty) {
                self.first_sweep.open();
            }
        }
    }

    fn list(&self) -> BoxFuture<'static, Done> {
        let nodes = Arc::clone(&self.nodes);
        Box::pin(async move { Done::Listed(nodes.seal_expired().await) })
    }

    fn listed(&mut self, found: Result<Vec<Sealed>, StoreError>) {
        let succeeded_before = self.listed.is_none_or(|succeeded| succeeded);
        self.listed = Some(found.is_ok());
        match found {
            Ok(sealed) => {
                if !succeeded_before {
                    self.telemetry.sealing_recovered();
                }
                self.readiness.degrade(PART, false);
                self.telemetry.nodes_waiting(sealed.len());
                let listed: BTreeSet<_> = sealed.iter().map(|node| node.incarnation.clone()).collect();
                // Those that are not listed any more were swept by another replica.
                let dead = self.dead_at_start.take().unwrap_or_else(|| listed.clone());
                self.dead_at_start = Some(dead.into_iter().filter(|node| listed.contains(node)).collect());
                let round = self.plan.round(&sealed);
                for node in round.new {
                    self.telemetry.node_died(&node.incarnation, node.age);
                }
                self.due = round.due.into();
            }
            Err(error) => {
                self.readiness.degrade(PART, true);
                self.telemetry.sealing_failed(&error, succeeded_before);
                // They are due again after the next successful listing.
                self.due.clear();
            }
        }
    }

    fn sweep(&self, node: Incarnation, step: Step) -> BoxFuture<'static, Done> {
        let (nodes, telemetry) = (Arc::clone(&self.nodes), self.telemetry.clone());
        Box::pin(async move {
            let result = async {
                let begin = Instant::now();
                let swept: Swept = nodes.sweep(&node).await.map_err(|error| ("sweep", error))?;
                trace::note("roomcast.rooms", || i64::try_from(swept.rooms).unwrap_or(i64::MAX));
                telemetry.swept(&node, swept, begin.elapsed());
                if step == Step::SweepAndForget {
                    nodes.forget(&node).await.map_err(|error| ("forget", error))?;
                    telemetry.forgotten(&node);
                }
                Ok(())
            };
            let result =
                async { result.await.inspect_err(|(_, error): &Failure| trace::fail(error.label())) };
            let result = trace::request("sweep", Kind::Internal, result).await;
            Done::Swept(node, step, result)
        })
    }

    fn swept(&mut self, node: &Incarnation, step: Step, result: Result<(), Failure>) {
        let first_failure = self.plan.end(node, step, result.is_ok());
        if let Err((part, error)) = result {
            self.telemetry.sweep_failed(part, node, &error, first_failure);
        }
    }
}

#[cfg(test)]
mod tests;
