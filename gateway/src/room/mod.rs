//! Rooms on this node. `Rooms` is the handle that `chat/` and the bus call. A fixed number of workers, each owning the
//! rooms that hash to it, turn commands and bus events into effects (`state.rs`, pure) and carry them out
//! (`worker.rs`): they send to members through the hub, and call the store in tasks (`store_tasks.rs`).

mod command;
pub(crate) mod effect;
mod entry;
mod figures;
mod follower;
mod replay;
mod roster;
pub(crate) mod state;
mod store_tasks;
mod timers;
mod turns;
mod view;
mod worker;
mod writes;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast_ops::trace;
use roomcast_protocol::ack::Online;
use roomcast_protocol::{Position, RoomName, UserName};
use roomcast_store::{BusEvent, BusListener};
use tokio::sync::{mpsc, oneshot};

pub(crate) use command::Gap;
use command::{Command, JoinResponder, PendingJoin};
use effect::JoinAttempt;
pub(crate) use effect::JoinedRoom;
pub(crate) use figures::{Figures, Order, Page, Rank, first};
pub(crate) use follower::encode_entry;
#[cfg(test)]
pub(crate) use roster::{PresenceUpdate, Write, WriteOutcome};
pub(crate) use state::RoomTiming;
pub(crate) use store_tasks::RoomDeps;
pub(crate) use turns::BroadcastTurns;
use worker::Worker;

use crate::hub::{Connection, ConnectionId, Fanout, UserList};
pub(crate) use crate::users::stay::Departure;

/// Commands that may wait for a worker. A bus event that finds the queue full is dropped and noted as a gap, which the
/// worker heals.
const QUEUE: usize = 8_192;

/// How soon a room that is to stay open is opened again after a failure.
const OPEN_RETRY: Duration = Duration::from_secs(1);

/// A connection's request to join a room.
pub(crate) struct JoinRequest {
    pub(crate) room: RoomName,
    pub(crate) connection: Arc<Connection>,
    /// The dialect in which its user's name was taken, if it is open.
    pub(crate) open_in: Option<&'static str>,
    pub(crate) since: Option<Position>,
    pub(crate) limit: usize,
    /// The connection only observes the room. It must not be a member.
    pub(crate) observes: bool,
    pub(crate) respond: JoinResponder,
}

struct Shard {
    commands: mpsc::Sender<Command>,
    gap: Arc<Gap>,
}

/// The rooms of this node.
#[derive(Clone)]
pub(crate) struct Rooms(Arc<[Shard]>, BroadcastTurns);

/// The receivers of the workers' queues, until [`Rooms::start`].
pub(crate) struct WorkerQueues(Vec<(mpsc::Receiver<Command>, Arc<Gap>)>);

impl Rooms {
    /// Creates the queues of `workers` workers. They exist before the store, which needs them as its listener.
    pub(crate) fn new(workers: usize) -> (Self, WorkerQueues) {
        let (shards, receivers) = (0..workers.max(1))
            .map(|_| {
                let (commands, receiver) = mpsc::channel(QUEUE);
                let gap = Arc::<Gap>::default();
                (Shard { commands, gap: Arc::clone(&gap) }, (receiver, gap))
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        (Self(shards.into(), BroadcastTurns::default()), WorkerQueues(receivers))
    }

    /// Starts the workers.
    pub(crate) fn start(&self, queues: WorkerQueues, deps: &RoomDeps) {
        for ((receiver, gap), shard) in queues.0.into_iter().zip(self.0.iter()) {
            let (fanout, runner) = Fanout::new(&deps.telemetry);
            let worker = Worker::new(
                receiver,
                gap,
                shard.commands.downgrade(),
                fanout,
                (deps.clone(), self.1.clone()),
            );
            deps.lifecycle.spawn_until_hard("rooms", worker.run());
            deps.lifecycle.spawn_until_hard("fanout", runner.run());
        }
    }

    /// Who sent messages to everyone lately.
    pub(crate) fn broadcast_turns(&self) -> &BroadcastTurns {
        &self.1
    }

    /// Opens the room of messages to everyone, which stays open: its events go to all connections. Tries until the store
    /// answers.
    pub(crate) async fn receive_broadcasts(self) {
        let room = RoomName::everyone();
        loop {
            let (opened, is_open) = oneshot::channel();
            self.send(&room, Command::KeepOpen { room: room.clone(), opened }).await;
            if is_open.await.is_ok() {
                return;
            }
            tokio::time::sleep(OPEN_RETRY).await;
        }
    }

    fn shard(&self, room: &RoomName) -> &Shard {
        let mut hasher = DefaultHasher::new();
        room.hash(&mut hasher);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let hash = hasher.finish() as usize;
        #[expect(
            clippy::indexing_slicing,
            reason = "there is at least one shard, and the index is below their number"
        )]
        &self.0[hash % self.0.len()]
    }

    async fn send(&self, room: &RoomName, command: Command) {
        if self.shard(room).commands.send(command).await.is_err() {
            tracing::debug!("the workers of rooms have stopped");
        }
    }

    /// Makes a connection a member of a room and answers the join. Returns whether it is a member.
    pub(crate) async fn join(&self, request: JoinRequest) -> bool {
        let JoinRequest { room, connection, open_in, since, limit, observes, respond } = request;
        let (done, joined) = oneshot::channel();
        let (id, user) = (connection.id(), connection.user().filter(|_| !observes));
        let (respond, trace) = (Some(respond), trace::here());
        let pending = PendingJoin { connection, observes, respond, done, trace };
        let attempt = JoinAttempt { id, user, open_in, since, limit, pending };
        self.send(&room, Command::Join { room: room.clone(), attempt }).await;
        // An error means that the connection ended during the join, or that the workers have stopped.
        joined.await.unwrap_or(false)
    }

    /// Ends a connection's membership. Returns once no event of the room is sent to it any more.
    pub(crate) async fn leave(&self, room: &RoomName, connection: ConnectionId, how: Departure) {
        let (done, left) = oneshot::channel();
        self.send(room, Command::Leave { room: room.clone(), connection, how, done }).await;
        // An error means that the workers have stopped and send nothing any more.
        left.await.unwrap_or_default();
    }

    /// Who is online in a room; none where no client of this node has joined it.
    pub(crate) async fn online(&self, room: &RoomName) -> Option<Online<UserList>> {
        let (reply, online) = oneshot::channel();
        self.send(room, Command::Online { room: room.clone(), reply }).await;
        online.await.ok().flatten()
    }

    /// Sends a typing event to this node's members only: for when the bus is unreachable.
    pub(crate) async fn typing_here(&self, room: &RoomName, user: UserName, typing: bool) {
        self.send(room, Command::BusEvent { room: room.clone(), event: BusEvent::Typing { user, typing } })
            .await;
    }

    /// Figures of this node's rooms, in the requested order. A worker computes them between two commands; how long to
    /// wait for that is the caller's decision.
    pub(crate) async fn figures(&self, page: Page) -> Vec<(Rank, Figures)> {
        let mut answers = Vec::with_capacity(self.0.len());
        for shard in self.0.iter() {
            let (reply, figures) = oneshot::channel();
            // A worker that has stopped has no rooms and answers with an error.
            shard.commands.send(Command::Figures { page: page.clone(), reply }).await.unwrap_or_default();
            answers.push(figures);
        }
        let mut all = Vec::new();
        for figures in answers {
            all.extend(figures.await.unwrap_or_default());
        }
        first(all.into_iter(), None, page.limit)
    }

    /// The store may have lost presence of this node, or keep presence that is out of date: writes all of it again.
    pub(crate) async fn rewrite(&self) {
        self.send_all(|| Command::Rewrite).await;
    }

    /// The store is unreachable and last answered at `since`: graces are paused.
    pub(crate) async fn pause(&self, since: Instant) {
        self.send_all(|| Command::StoreUnreachable(Some(since))).await;
    }

    /// The store is reachable again.
    pub(crate) async fn resume(&self) {
        self.send_all(|| Command::StoreUnreachable(None)).await;
    }

    async fn send_all(&self, command: impl Fn() -> Command) {
        for shard in self.0.iter() {
            if shard.commands.send(command()).await.is_err() {
                tracing::debug!("the workers of rooms have stopped");
            }
        }
    }
}

impl BusListener for Rooms {
    fn on_event(&self, room: &RoomName, event: BusEvent) {
        let shard = self.shard(room);
        if shard.commands.try_send(Command::BusEvent { room: room.clone(), event }).is_err() {
            shard.gap.note();
        }
    }

    fn on_gap(&self, room: Option<&RoomName>) {
        match room {
            Some(room) => self.shard(room).gap.note(),
            None => self.0.iter().for_each(|shard| shard.gap.note()),
        }
    }
}
