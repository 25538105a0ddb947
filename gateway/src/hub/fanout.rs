//! The fan-out: sends a batch to all members of a room. Called by `room/worker.rs`, which does not wait for it. Small
//! rooms are served inline; a large room's fan-out runs in the shard's fan-out task, over a snapshot of the members, so
//! that joins and leaves never wait for it. Messages to everyone go to a snapshot of all connections in the same way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use super::batch::Batch;
use super::connection::{Connection, Membership};
use super::membership::Members;
use crate::telemetry::{FanoutTotals, Telemetry};

/// Number of members up to which a room is served inline.
const INLINE_MEMBERS: usize = 128;
/// Members served between two yields.
const MEMBERS_PER_YIELD: usize = 128;
/// Fan-outs that may be queued for a shard's task; more are returned to the caller.
const QUEUE: usize = 256;

/// Who receives a batch.
enum Receivers {
    Members(Arc<Vec<Arc<Membership>>>),
    Connections(Vec<Arc<Connection>>),
}

/// What a shard's task does in its turn.
enum Work {
    Send(Receivers, Batch),
    Call(Call),
}

/// Called once, and does not block.
type Call = Box<dyn FnOnce() + Send>;

struct Job {
    under_way: Arc<AtomicUsize>,
    work: Work,
}

/// Sends batches to the members of a shard's rooms.
pub(crate) struct Fanout {
    jobs: mpsc::Sender<Job>,
    telemetry: Telemetry,
}

/// Serves large rooms, one fan-out after the other.
pub(crate) struct FanoutTask {
    jobs: mpsc::Receiver<Job>,
    telemetry: Telemetry,
}

/// The queue is full: the batch is returned, to be sent later together with the events that follow.
pub(crate) struct Full(pub(crate) Box<Batch>);

impl Fanout {
    pub(crate) fn new(telemetry: &Telemetry) -> (Self, FanoutTask) {
        let (sender, jobs) = mpsc::channel(QUEUE);
        (
            Self { jobs: sender, telemetry: telemetry.clone() },
            FanoutTask { jobs, telemetry: telemetry.clone() },
        )
    }

    /// Whether the queue has free places for a batch and for a call.
    pub(crate) fn has_places(&self) -> bool {
        self.jobs.capacity() > 1
    }

    /// Calls `call` after everything that was sent to these members before, and before everything that is sent later.
    pub(crate) fn call_after(&self, members: &Members, call: Call) {
        if members.is_quiet() {
            return call();
        }
        match self.jobs.try_reserve() {
            Ok(permit) => permit.send(Job::new(members, Work::Call(call))),
            Err(error) => {
                debug_assert!(matches!(error, mpsc::error::TrySendError::Closed(())), "the queue is full");
                call();
            }
        }
    }

    /// Whether the next batch for these members is sent before [`Fanout::send`] returns.
    fn sends_at_once(&self, members: &Members) -> bool {
        members.len() <= INLINE_MEMBERS && members.is_quiet()
    }

    /// Sends a batch to every current member, after everything that was sent to them before.
    ///
    /// # Errors
    /// The queue of fan-outs to large rooms is full; nothing was sent.
    pub(crate) fn send(&self, members: &Members, mut batch: Batch) -> Result<(), Full> {
        if self.sends_at_once(members) {
            batch.begin_write(members.len());
            let (mut totals, started) = (FanoutTotals::default(), Instant::now());
            members.list().iter().for_each(|member| send(&batch, member, &mut totals));
            report(&self.telemetry, &batch, &totals, started);
            return Ok(());
        }
        if members.len() == 0 {
            return Ok(());
        }
        self.queue(Receivers::Members(Arc::clone(members.list())), members, batch)
    }

    /// Sends a batch of a room to these connections instead of its members, after everything that was sent before.
    ///
    /// # Errors
    /// The queue is full; nothing was sent.
    pub(crate) fn send_to(
        &self,
        connections: Vec<Arc<Connection>>,
        members: &Members,
        batch: Batch,
    ) -> Result<(), Full> {
        if connections.is_empty() {
            return Ok(());
        }
        self.queue(Receivers::Connections(connections), members, batch)
    }

    fn queue(&self, receivers: Receivers, members: &Members, mut batch: Batch) -> Result<(), Full> {
        let permit = match self.jobs.try_reserve() {
            Ok(permit) => permit,
            Err(mpsc::error::TrySendError::Full(())) => return Err(Full(Box::new(batch))),
            // The process is shutting down.
            Err(mpsc::error::TrySendError::Closed(())) => return Ok(()),
        };
        batch.begin_write(receivers.len());
        permit.send(Job::new(members, Work::Send(receivers, batch)));
        Ok(())
    }
}

impl Job {
    /// One more under way for these members.
    fn new(members: &Members, work: Work) -> Self {
        members.under_way().fetch_add(1, Ordering::AcqRel);
        Self { under_way: Arc::clone(members.under_way()), work }
    }
}

impl Receivers {
    fn len(&self) -> usize {
        match self {
            Self::Members(members) => members.len(),
            Self::Connections(connections) => connections.len(),
        }
    }
}

impl FanoutTask {
    /// Runs until the shard's worker has ended.
    pub(crate) async fn run(mut self) {
        while let Some(Job { under_way, work }) = self.jobs.recv().await {
            match work {
                Work::Send(receivers, batch) => self.send(&receivers, &batch).await,
                Work::Call(call) => call(),
            }
            under_way.fetch_sub(1, Ordering::AcqRel);
        }
    }

    async fn send(&self, receivers: &Receivers, batch: &Batch) {
        let (mut totals, started) = (FanoutTotals::default(), Instant::now());
        match receivers {
            Receivers::Members(members) => {
                for chunk in members.chunks(MEMBERS_PER_YIELD) {
                    for member in chunk {
                        let ended = member.ended();
                        if !*ended {
                            send(batch, member, &mut totals);
                        }
                    }
                    tokio::task::yield_now().await;
                }
            }
            Receivers::Connections(connections) => {
                for chunk in connections.chunks(MEMBERS_PER_YIELD) {
                    chunk.iter().for_each(|connection| totals.add(connection.send(batch)));
                    tokio::task::yield_now().await;
                }
            }
        }
        report(&self.telemetry, batch, &totals, started);
    }
}

fn report(telemetry: &Telemetry, batch: &Batch, totals: &FanoutTotals, started: Instant) {
    telemetry.rooms.fanned_out(batch.len(), batch.oldest(), totals, started.elapsed());
    telemetry.wire.written(&totals.written);
}

/// Sends to one member. Counts into `totals`, so that metrics are updated once per fan-out.
fn send(batch: &Batch, member: &Membership, totals: &mut FanoutTotals) {
    let connection = member.connection();
    if batch.is_for(|| connection.user()) {
        let sent = if member.observes() { connection.send_observed(batch) } else { connection.send(batch) };
        totals.add(sent);
    }
}
