//! What a room needs from the store, each as a task whose result goes back to the room's worker. Called
//! by `worker.rs`; a semaphore bounds how much of it runs at once.

use std::sync::Arc;
use std::time::Duration;

use roomcast_ops::{Lifecycle, trace};
use roomcast_protocol::limits::{MAX_LISTED_USERS, MAX_REPLAY};
use roomcast_protocol::{Position, RoomName};
use roomcast_store::{Incarnation, Replay, Store, StoreError};
use tokio::sync::{Semaphore, mpsc};

use super::PendingJoin;
use super::follower::{Healed, RECENT};
use super::roster::{Write, WriteOutcome};
use super::state::{Entering, Pace, Past};
use super::worker::Command;
use crate::hub::Connection;
use crate::node::Node;
use crate::telemetry::Telemetry;

/// Requests of rooms to the store under way at once.
const AT_ONCE: usize = 256;
/// How long a heal waits for the store before it is tried again.
const HEAL_RETRY: Duration = Duration::from_millis(200);

/// What rooms stand on.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) store: Store,
    pub(crate) node: Node,
    pub(crate) telemetry: Telemetry,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) pace: Pace,
    /// How long messages of a busy room are gathered.
    pub(crate) gather: Duration,
    at_once: Arc<Semaphore>,
}

type Results = (mpsc::WeakSender<Command>, RoomName);

impl Surroundings {
    pub(crate) fn new(
        store: Store,
        node: Node,
        telemetry: Telemetry,
        lifecycle: Lifecycle,
        pace: Pace,
        gather: Duration,
    ) -> Self {
        Self { store, node, telemetry, lifecycle, pace, gather, at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    fn spawn<F>(&self, what: &'static str, results: mpsc::WeakSender<Command>, work: F)
    where
        F: Future<Output = Command> + Send + 'static,
    {
        let at_once = Arc::clone(&self.at_once);
        // What follows from a request belongs to it.
        let trace = trace::here();
        let task = async move {
            // The semaphore is never closed.
            let permit = at_once.acquire().await;
            let command = match trace {
                None => work.await,
                Some(trace) => trace::within(trace, Box::pin(work)).await,
            };
            drop(permit);
            if let Some(results) = results.upgrade()
                && results.send(command).await.is_err()
            {
                tracing::debug!(what, "the rooms have stopped");
            }
        };
        self.lifecycle.spawn_until_hard(what, task);
    }

    fn failed(&self, what: &'static str, error: &StoreError) {
        self.telemetry.cluster.store_failed(what, error);
    }

    /// Subscribes, then reads where the room stands.
    pub(super) fn open(&self, (results, room): Results) {
        let around = self.clone();
        self.spawn("room-open", results, async move {
            let opening = async {
                around.store.bus.subscribe(&room).await?;
                let opened = around.store.log.open(&room, RECENT).await?;
                let indexed = around.node.current();
                if let Some(node) = &indexed {
                    around.store.presence.index(&room, node).await?;
                }
                let state = around.store.presence.read(&room, MAX_LISTED_USERS).await?;
                Ok::<_, StoreError>((opened, state, indexed))
            };
            let opened = match opening.await {
                Ok(opened) => Some(opened),
                Err(error) => {
                    around.failed("open", &error);
                    None
                }
            };
            Command::Opened { room, opened, trace: trace::here() }
        });
    }

    /// Unsubscribes, and closes the room in the store under these incarnations.
    pub(super) fn close(&self, (results, room): Results, authors: Vec<Incarnation>) {
        let around = self.clone();
        self.spawn("room-close", results, async move {
            let closing = async {
                around.store.bus.unsubscribe(&room).await?;
                for node in authors {
                    around.store.presence.close(&room, &node, around.node.next_sequence()).await?;
                }
                Ok::<_, StoreError>(())
            };
            if let Err(error) = closing.await {
                // News of a room that nobody is in is dropped, and what stays indexed is swept with the incarnation.
                around.failed("close", &error);
            }
            Command::Closed { room }
        });
    }

    /// Reads what a returning client missed.
    pub(super) fn read_after(
        &self,
        (results, room): Results,
        entering: Entering<Arc<Connection>, PendingJoin>,
        position: Position,
    ) {
        let around = self.clone();
        self.spawn("room-replay", results, async move {
            let past = match around.store.log.since(&room, &position, MAX_REPLAY).await {
                Ok(replay) => Past::After(replay),
                Err(error) => {
                    around.failed("replay", &error);
                    Past::Failed
                }
            };
            Command::Past { room, entering, past }
        });
    }

    /// Reads the newest messages for a client that wants more than the node remembers.
    pub(super) fn read_newest(
        &self,
        (results, room): Results,
        entering: Entering<Arc<Connection>, PendingJoin>,
    ) {
        let around = self.clone();
        self.spawn("room-newest", results, async move {
            let past = match around.store.log.before(&room, None, entering.limit).await {
                Ok(page) => Past::Newest(page.entries),
                Err(error) => {
                    around.failed("newest", &error);
                    Past::Failed
                }
            };
            Command::Past { room, entering, past }
        });
    }

    /// Reads what the node missed, once for all its members.
    pub(super) fn heal(&self, (results, room): Results, position: Position) {
        let around = self.clone();
        self.spawn("room-heal", results, async move {
            let healing = async {
                match around.store.log.since(&room, &position, MAX_REPLAY).await? {
                    Replay::Whole(opened) => Ok(Healed::Whole(opened)),
                    Replay::Lost(_) => around.store.log.open(&room, RECENT).await.map(Healed::Lost),
                }
            };
            let healed = match healing.await {
                Ok(healed) => healed,
                Err(error) => {
                    around.failed("heal", &error);
                    tokio::time::sleep(HEAL_RETRY).await;
                    Healed::Failed
                }
            };
            around.telemetry.rooms.healed(healed.outcome());
            Command::Healed { room, healed }
        });
    }

    /// Writes this node's facts.
    pub(super) fn write(&self, (results, room): Results, write: Write) {
        let around = self.clone();
        self.spawn("room-presence", results, async move {
            let outcome = around.write_facts(&room, write).await;
            Command::Wrote { room, outcome }
        });
    }

    async fn write_facts(&self, room: &RoomName, write: Write) -> WriteOutcome {
        let Some(node) = self.node.current() else { return WriteOutcome::NotTried };
        let Some(change) = write.under(&node) else { return WriteOutcome::NotTried };
        let presence = &self.store.presence;
        let writing = async {
            // Before the first fact, so that the sweeper finds the room whatever happens in between.
            if !change.continues {
                presence.index(room, &node).await?;
            }
            presence.write(room, &node, self.node.next_sequence(), &change).await
        };
        match writing.await {
            Ok(true) => WriteOutcome::Taken(node),
            Ok(false) => {
                // The store lost its data, and the lease with it.
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

    /// Puts off the room's expiry.
    pub(super) fn touch(&self, room: RoomName) {
        let around = self.clone();
        let touching = async move {
            if let Err(error) = around.store.log.touch(&room).await {
                // There are two more turns before anything expires.
                around.failed("touch", &error);
            }
        };
        self.lifecycle.spawn_until_hard("room-touch", touching);
    }

    /// Reads who is in the room.
    pub(super) fn read_presence(&self, (results, room): Results) {
        let around = self.clone();
        self.spawn("room-presence-read", results, async move {
            let state = around.store.presence.read(&room, MAX_LISTED_USERS).await;
            let state = state.inspect_err(|error| around.failed("presence read", error)).ok();
            Command::Presence { room, state }
        });
    }
}
