//! Private messages on this node: each connection of a person receives what reaches that person's inbox, once and in
//! order. `Inboxes` is the handle that the edge and the bus call; one worker (`worker.rs`) owns the connections and how
//! far each has read, and `catch_up.rs` reads the store for those that lack something.

mod catch_up;
mod worker;

use std::sync::Arc;

use roomcast_ops::Lifecycle;
use roomcast_protocol::Position;
use roomcast_store::{InboxEvent, Person, Store};
use tokio::sync::{Semaphore, mpsc};

use crate::hub::{Connection, ConnectionId};
use crate::room::Gap;
use crate::telemetry::Telemetry;
use crate::users::NameHold;
use catch_up::Deps;
pub(crate) use catch_up::encode_inbox_entry;
use worker::{Command, Worker};

/// Commands that may wait for the worker. An event of the bus that finds the queue full is a gap, which is healed.
const QUEUE: usize = 8_192;
/// Reads of inboxes in progress at once.
const MAX_READS: usize = 64;

/// The inboxes of this node's users. A handle; clones share the worker.
#[derive(Clone)]
pub(crate) struct Inboxes {
    commands: mpsc::Sender<Command>,
    gap: Arc<Gap>,
}

/// The receiver of the worker's queue, until [`Inboxes::start`].
pub(crate) struct InboxQueue(mpsc::Receiver<Command>);

impl Inboxes {
    /// The queue exists before the store, which needs it as its listener.
    pub(crate) fn new() -> (Self, InboxQueue) {
        let (commands, queue) = mpsc::channel(QUEUE);
        (Self { commands, gap: Arc::default() }, InboxQueue(queue))
    }

    /// Starts the worker.
    pub(crate) fn start(&self, queue: InboxQueue, store: Store, telemetry: Telemetry, lifecycle: &Lifecycle) {
        let permits = Arc::new(Semaphore::new(MAX_READS));
        let deps = Deps { store, telemetry, lifecycle: lifecycle.clone(), permits };
        let worker = Worker::new(queue.0, Arc::clone(&self.gap), self.commands.downgrade(), deps);
        lifecycle.spawn_until_hard("inboxes", worker.run());
    }

    /// Begins to send the private messages of the name's owner to a connection: those after `since` and new ones, or
    /// those since the name was claimed. In place of those of another person, if the connection was one before.
    pub(crate) async fn follow(
        &self,
        name: &mut NameHold,
        connection: &Arc<Connection>,
        since: Option<Position>,
    ) {
        let (person, claimed) = (name.person(), name.take_inbox());
        self.send(Command::Follow { person, connection: Arc::clone(connection), since, claimed }).await;
    }

    /// The connection has ended.
    pub(crate) async fn unfollow(&self, connection: ConnectionId) {
        self.send(Command::Unfollow(connection)).await;
    }

    async fn send(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            tracing::debug!("the worker of inboxes has stopped");
        }
    }

    /// A message reached a person's inbox.
    pub(crate) fn on_event(&self, person: &Person, event: InboxEvent) {
        if self.commands.try_send(Command::Event { person: person.clone(), event }).is_err() {
            self.gap.note();
        }
    }

    /// Events may have been missed.
    pub(crate) fn on_gap(&self) {
        self.gap.note();
    }
}
