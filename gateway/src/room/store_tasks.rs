//! A room's calls to the store, each in a task that sends its result to the room's worker. Called by `worker.rs`; a
//! semaphore limits how many run at once.

use std::sync::Arc;
use std::time::Duration;

use roomcast_ops::{Lifecycle, trace};
use roomcast_protocol::limits::{MAX_LISTED_USERS, MAX_PAGE_BYTES, MAX_REPLAY};
use roomcast_protocol::{Position, RoomName};
use roomcast_store::{Incarnation, ReadLimit, Replay, Store, StoreError};
use tokio::sync::{Semaphore, mpsc};

use super::command::{Command, PendingJoin};
use super::effect::{JoinAttempt, LogRead};
use super::follower::{Healed, RECENT};
use super::roster::{Write, WriteOutcome};
use super::state::RoomTiming;
use crate::hub::Registry;
use crate::node::Node;
use crate::telemetry::Telemetry;

/// Calls of rooms to the store in progress at once.
const MAX_REQUESTS: usize = 256;
/// How long after a failure a heal or a replay is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(200);

/// What a client missed, as far as it fits into one answer.
const MISSED: ReadLimit = ReadLimit { entries: MAX_REPLAY, bytes: MAX_PAGE_BYTES };

/// What rooms depend on: the store, the node, telemetry.
#[derive(Clone)]
pub(crate) struct RoomDeps {
    pub(crate) store: Store,
    pub(crate) node: Node,
    pub(crate) telemetry: Telemetry,
    /// All connections, for messages to everyone.
    pub(crate) registry: Registry,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) timing: RoomTiming,
    /// How long messages of a busy room are collected into one batch.
    pub(crate) batch_window: Duration,
    pub(super) permits: Arc<Semaphore>,
}

pub(super) type Results = (mpsc::WeakSender<Command>, RoomName);

impl RoomDeps {
    pub(crate) fn new(
        store: Store,
        node: Node,
        registry: Registry,
        telemetry: Telemetry,
        lifecycle: Lifecycle,
        timing: RoomTiming,
        batch_window: Duration,
    ) -> Self {
        Self {
            store,
            node,
            registry,
            telemetry,
            lifecycle,
            timing,
            batch_window,
            permits: Arc::new(Semaphore::new(MAX_REQUESTS)),
        }
    }

    fn spawn<F>(&self, what: &'static str, results: mpsc::WeakSender<Command>, work: F)
    where
        F: Future<Output = Command> + Send + 'static,
    {
        let permits = Arc::clone(&self.permits);
        // The call belongs to the request that caused it.
        let trace = trace::here();
        let task = async move {
            // The semaphore is never closed.
            let permit = permits.acquire().await;
            let command = match trace {
                None => work.await,
                Some(trace) => trace::within(trace, Box::pin(work)).await,
            };
            drop(permit);
            if let Some(results) = results.upgrade()
                && results.send(command).await.is_err()
            {
                tracing::debug!(what, "the workers of rooms have stopped");
            }
        };
        self.lifecycle.spawn_until_hard(what, task);
    }

    pub(super) fn failed(&self, what: &'static str, error: &StoreError) {
        self.telemetry.cluster.store_failed(what, error);
    }

    /// Subscribes, then reads the room's log and presence.
    pub(super) fn open(&self, (results, room): Results) {
        let deps = self.clone();
        self.spawn("room-open", results, async move {
            let opening = async {
                deps.store.bus.subscribe(&room).await?;
                // Before the log is opened: another node that closes the room must not forget it. Rooms of the server
                // itself are not listed, and not forgotten before their log is.
                let indexed = deps.node.current().filter(|_| !room.is_reserved());
                if let Some(node) = &indexed {
                    deps.store.presence.index(&room, node).await?;
                }
                let opened = deps.store.log.open(&room, RECENT).await?;
                let state = deps.store.presence.read(&room, MAX_LISTED_USERS).await?;
                Ok::<_, StoreError>((opened, state, indexed))
            };
            let opened = match opening.await {
                Ok(opened) => Some(opened),
                Err(error) => {
                    deps.failed("open", &error);
                    None
                }
            };
            Command::Opened { room, opened, trace: trace::here() }
        });
    }

    /// Unsubscribes, and closes the room in the store for these incarnations.
    pub(super) fn close(&self, (results, room): Results, writers: Vec<Incarnation>) {
        let deps = self.clone();
        self.spawn("room-close", results, async move {
            let mut closed = deps.store.bus.unsubscribe(&room).await;
            for node in writers {
                closed = closed.and(deps.store.presence.close(&room, &node, deps.node.next_sequence()).await);
            }
            if let Err(error) = closed {
                // Events of a room without members are ignored, and its index entry is swept with the incarnation.
                deps.failed("close", &error);
            }
            Command::Closed { room }
        });
    }

    /// Reads the messages that a returning client missed.
    pub(super) fn read_after(
        &self,
        (results, room): Results,
        attempt: JoinAttempt<PendingJoin>,
        position: Position,
    ) {
        let deps = self.clone();
        self.spawn("room-replay", results, async move {
            let read = match deps.store.log.since(&room, &position, MISSED).await {
                Ok(replay) => LogRead::After(replay),
                Err(error) => {
                    deps.failed("replay", &error);
                    LogRead::Failed
                }
            };
            Command::LogRead { room, attempt, read }
        });
    }

    /// Reads the newest messages for a client that requests more than the node keeps.
    pub(super) fn read_newest(&self, (results, room): Results, attempt: JoinAttempt<PendingJoin>) {
        let deps = self.clone();
        let limit = ReadLimit { entries: attempt.limit, bytes: MAX_PAGE_BYTES };
        self.spawn("room-newest", results, async move {
            let read = match deps.store.log.before(&room, None, limit).await {
                Ok(page) => LogRead::Newest(page.entries),
                Err(error) => {
                    deps.failed("newest", &error);
                    LogRead::Failed
                }
            };
            Command::LogRead { room, attempt, read }
        });
    }

    /// Reads the messages that the node missed, once for all its members.
    pub(super) fn heal(&self, (results, room): Results, position: Position) {
        let deps = self.clone();
        self.spawn("room-heal", results, async move {
            let healing = async {
                match deps.store.log.since(&room, &position, ReadLimit::entries(MAX_REPLAY)).await? {
                    Replay::Whole(opened) => Ok(Healed::Whole(opened)),
                    Replay::Part(_) | Replay::Lost(_) => {
                        deps.store.log.open(&room, RECENT).await.map(Healed::Lost)
                    }
                }
            };
            let healed = match healing.await {
                Ok(healed) => healed,
                Err(error) => {
                    deps.failed("heal", &error);
                    tokio::time::sleep(RETRY).await;
                    Healed::Failed
                }
            };
            deps.telemetry.rooms.healed(healed.outcome());
            Command::Healed { room, healed }
        });
    }

    /// Writes this node's facts.
    pub(super) fn write(&self, (results, room): Results, write: Write) {
        let deps = self.clone();
        self.spawn("room-presence", results, async move {
            let outcome = deps.write_facts(&room, write).await;
            Command::Wrote { room, outcome }
        });
    }

    async fn write_facts(&self, room: &RoomName, write: Write) -> WriteOutcome {
        let Some(node) = self.node.current() else { return WriteOutcome::NotTried };
        let Some(change) = write.under(&node) else { return WriteOutcome::NotTried };
        let presence = &self.store.presence;
        let writing = async {
            // Before the first fact, so that the sweeper finds the room also if this task fails in between.
            if !change.continues {
                presence.index(room, &node).await?;
            }
            presence.write(room, &node, self.node.next_sequence(), &change).await
        };
        match writing.await {
            Ok(true) => WriteOutcome::Accepted(node),
            Ok(false) => {
                // The store has lost its data, and the lease with it.
                self.node.renew_soon();
                WriteOutcome::Refused(node)
            }
            Err(error) => {
                self.failed("presence", &error);
                let unknown = !matches!(error, StoreError::Unavailable(_));
                WriteOutcome::Failed { under: node, unknown }
            }
        }
    }

    /// Postpones the expiry of the room's log.
    pub(super) fn touch(&self, room: RoomName) {
        let deps = self.clone();
        let touching = async move {
            if let Err(error) = deps.store.log.touch(&room).await {
                // It is tried twice more before the log expires.
                deps.failed("touch", &error);
            }
        };
        self.lifecycle.spawn_until_hard("room-touch", touching);
    }

    /// Reads who is in the room.
    pub(super) fn read_presence(&self, (results, room): Results) {
        let deps = self.clone();
        self.spawn("room-presence-read", results, async move {
            let state = deps.store.presence.read(&room, MAX_LISTED_USERS).await;
            let state = state.inspect_err(|error| deps.failed("presence read", error)).ok();
            Command::Presence { room, state }
        });
    }
}
