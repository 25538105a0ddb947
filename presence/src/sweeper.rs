//! Notices nodes that died and lets their users leave. Every replica does all of it: sealing, sweeping and
//! forgetting may run twice and in two places at once, because the store removes a fact and announces it
//! in one step. Called by `app.rs`; decides by `plan.rs`, acts through the store.

mod plan;

use std::collections::VecDeque;
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

/// Dead nodes swept at once: one with very many rooms must not keep the others' users online.
const AT_ONCE: usize = 4;
/// The part of readiness that is degraded while dead nodes cannot be looked for.
const PART: &str = "sweeper";

/// What the sweeper needs of the store.
#[async_trait]
pub(crate) trait DeadNodes: Send + Sync {
    /// Seals every incarnation whose lease ran out; answers all that are sealed and not yet forgotten.
    async fn seal_expired(&self) -> Result<Vec<Sealed>, StoreError>;
    /// Removes what a sealed incarnation left.
    async fn sweep(&self, node: &Incarnation) -> Result<Swept, StoreError>;
    /// Drops its last traces.
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
    plan: Plan,
    /// Due in the last round and not begun yet. Made anew in every round.
    due: VecDeque<(Incarnation, Step)>,
    sweeping: usize,
    /// Whether the last round could look, where there was one.
    looked: Option<bool>,
}

/// What a piece of work came to.
enum Done {
    Looked(Result<Vec<Sealed>, StoreError>),
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
            plan: Plan::new(lease),
            due: VecDeque::new(),
            sweeping: 0,
            looked: None,
        }
    }

    /// Sweeps until `stop`. What is under way then is dropped: what is left stays sealed, and any replica
    /// goes on with it.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            // Before the store was ever reached a round could only complain.
            if self.health.watch().wait_for(|reach| reach.up).await.is_ok() {
                self.rounds().await;
            }
        })
        .await;
    }

    /// Never returns. Looking and sweeping are pieces of work in one set, so that neither waits for the
    /// other; all that is remembered belongs to this one task.
    async fn rounds(&mut self) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = FuturesUnordered::new();
        let mut looking = false;
        loop {
            tokio::select! {
                _ = ticks.tick(), if !looking => {
                    looking = true;
                    work.push(self.look());
                }
                Some(done) = work.next() => match done {
                    Done::Looked(found) => {
                        looking = false;
                        self.looked(found);
                    }
                    Done::Swept(node, step, result) => {
                        self.sweeping -= 1;
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
            if self.looked == Some(true) && self.sweeping == 0 {
                self.first_sweep.open();
            }
        }
    }

    fn look(&self) -> BoxFuture<'static, Done> {
        let nodes = Arc::clone(&self.nodes);
        Box::pin(async move { Done::Looked(nodes.seal_expired().await) })
    }

    fn looked(&mut self, found: Result<Vec<Sealed>, StoreError>) {
        let worked_before = self.looked.is_none_or(|worked| worked);
        self.looked = Some(found.is_ok());
        match found {
            Ok(sealed) => {
                if !worked_before {
                    self.telemetry.sealing_recovered();
                }
                self.readiness.degrade(PART, false);
                self.telemetry.nodes_waiting(sealed.len());
                let round = self.plan.round(&sealed);
                for node in round.new {
                    self.telemetry.node_died(&node.incarnation, node.age);
                }
                self.due = round.due.into();
            }
            Err(error) => {
                self.readiness.degrade(PART, true);
                self.telemetry.sealing_failed(&error, worked_before);
                // They are due again when looking works again.
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
