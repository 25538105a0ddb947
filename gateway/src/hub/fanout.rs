//! The one place where something is sent to all members of a room. Called by `room/worker.rs`, which hands a batch
//! over and goes on. Small rooms are served at once; a large room's fan-out runs in a task of its own over the
//! members as they were, so that joins and leaves never wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use super::batch::Batch;
use super::connection::Membership;
use super::membership::Members;
use crate::telemetry::{FanoutTotals, Telemetry};

/// Members up to which a room is served at once.
const INLINE: usize = 128;
/// Members served between two yields.
const STRIDE: usize = 128;
/// Fan-outs that may wait for a shard's task; more are handed back.
const QUEUE: usize = 256;
/// Places beyond those, for what must leave before a join is answered. A worker that was handed something back
/// takes no more joins, so that few are ever needed.
const RESERVED: usize = 16;

struct Job {
    members: Arc<Vec<Arc<Membership>>>,
    under_way: Arc<AtomicUsize>,
    batch: Batch,
}

/// A shard's way to its members.
pub(crate) struct Fanout {
    jobs: mpsc::Sender<Job>,
    telemetry: Telemetry,
}

/// Serves large rooms, one fan-out after the other.
pub(crate) struct FanoutTask {
    jobs: mpsc::Receiver<Job>,
    telemetry: Telemetry,
}

/// Too many fan-outs wait: the batch is the caller's again, to be sent with what comes behind it.
pub(crate) struct Full(pub(crate) Box<Batch>);

/// Which places of the queue may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Places {
    /// Those open to all.
    Open,
    /// The reserved ones, too.
    Reserved,
}

impl Fanout {
    pub(crate) fn new(telemetry: &Telemetry) -> (Self, FanoutTask) {
        let (sender, jobs) = mpsc::channel(QUEUE + RESERVED);
        (
            Self { jobs: sender, telemetry: telemetry.clone() },
            FanoutTask { jobs, telemetry: telemetry.clone() },
        )
    }

    /// Sends a batch to every member there is now, behind what was sent to them before.
    ///
    /// # Errors
    /// Too many fan-outs of large rooms wait: nothing was sent.
    pub(crate) fn send(&self, members: &Members, mut batch: Batch, places: Places) -> Result<(), Full> {
        if members.len() <= INLINE && members.is_quiet() {
            batch.begin_write(members.len());
            let (mut totals, begun) = (FanoutTotals::default(), Instant::now());
            members.list().iter().for_each(|member| send(&batch, member, &mut totals));
            fanned_out(&self.telemetry, &batch, &totals, begun);
            return Ok(());
        }
        if places == Places::Open && self.jobs.capacity() <= RESERVED {
            return Err(Full(Box::new(batch)));
        }
        let permit = match self.jobs.try_reserve() {
            Ok(permit) => permit,
            Err(mpsc::error::TrySendError::Full(())) => return Err(Full(Box::new(batch))),
            // The process is ending, and so are its connections.
            Err(mpsc::error::TrySendError::Closed(())) => return Ok(()),
        };
        batch.begin_write(members.len());
        members.under_way().fetch_add(1, Ordering::AcqRel);
        let (list, under_way) = (Arc::clone(members.list()), Arc::clone(members.under_way()));
        permit.send(Job { members: list, under_way, batch });
        Ok(())
    }
}

impl FanoutTask {
    /// Runs until the shard's worker is gone.
    pub(crate) async fn run(mut self) {
        while let Some(Job { members, under_way, batch }) = self.jobs.recv().await {
            let (mut totals, begun) = (FanoutTotals::default(), Instant::now());
            for stride in members.chunks(STRIDE) {
                for member in stride {
                    let ended = member.ended();
                    if !*ended {
                        send(&batch, member, &mut totals);
                    }
                }
                tokio::task::yield_now().await;
            }
            under_way.fetch_sub(1, Ordering::AcqRel);
            fanned_out(&self.telemetry, &batch, &totals, begun);
        }
    }
}

fn fanned_out(telemetry: &Telemetry, batch: &Batch, totals: &FanoutTotals, begun: Instant) {
    telemetry.rooms.fanned_out(batch.len(), batch.oldest(), totals, begun.elapsed());
    telemetry.wire.written(&totals.written);
}

/// To one member. Counts into `totals`, which cost nothing from member to member.
fn send(batch: &Batch, member: &Membership, totals: &mut FanoutTotals) {
    let connection = member.connection();
    if batch.is_for(connection.user())
        && let Some(written) = connection.send(batch)
    {
        totals.members += 1;
        totals.written.add(&written);
    }
}
