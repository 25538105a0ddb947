//! Sends a connection the private messages that it lacks: reads the inbox part by part, and sends each message when the
//! client has taken enough of those before. A task of `worker.rs`.

use std::sync::Arc;
use std::time::Duration;

use roomcast_ops::Lifecycle;
use roomcast_protocol::limits::MAX_PAGE_BYTES;
use roomcast_protocol::server::Inbox;
use roomcast_protocol::{Position, message};
use roomcast_store::{Entry, InboxEntry, Missed, Person, ReadLimit, Store};
use tokio::sync::Semaphore;

use crate::hub::{Batch, Connection, Event, Message};
use crate::telemetry::Telemetry;

/// How long after a failure an inbox is read again.
const RETRY: Duration = Duration::from_millis(200);
/// What is read at once.
const PART: ReadLimit = ReadLimit { entries: usize::MAX, bytes: MAX_PAGE_BYTES };

/// What the worker and its tasks depend on.
#[derive(Clone)]
pub(super) struct Deps {
    pub(super) store: Store,
    pub(super) telemetry: Telemetry,
    pub(super) lifecycle: Lifecycle,
    pub(super) permits: Arc<Semaphore>,
}

/// From where on a connection is sent private messages.
pub(super) enum Start {
    /// From the newest message on: there is nothing to send.
    Head,
    /// From the position that the client asked for: it is told whether that was possible.
    Since(Position),
    /// From where this node has sent everything; offset 0 for an inbox that was empty.
    From(Position),
}

impl Deps {
    /// Sends what a connection lacks; returns the position up to which it has everything then. None where it has ended.
    pub(super) async fn send_missed(
        &self,
        person: &Person,
        client: &Connection,
        start: Start,
    ) -> Option<Position> {
        let (mut position, mut asked) = match start {
            Start::Head => return Some(self.read(person, client, None).await?.head),
            Start::Since(position) => (position, true),
            // Everything, whatever epoch it has.
            Start::From(Position { offset: 0, .. }) => {
                (Position { offset: 0, ..self.read(person, client, None).await?.head }, false)
            }
            Start::From(position) => (position, false),
        };
        loop {
            let missed = self.read(person, client, Some(&position)).await?;
            if missed.lost {
                let Position { epoch, offset } = missed.head.clone();
                send(client, Event::Inbox(Inbox { epoch, offset, recovered: false })).await;
                return Some(missed.head);
            }
            if std::mem::take(&mut asked) {
                // Where nothing is missing the client has the head, whatever epoch it asked with: an inbox without
                // messages is of any.
                let at = if missed.entries.is_empty() { &missed.head } else { &position };
                let Position { epoch, offset } = at.clone();
                send(client, Event::Inbox(Inbox { epoch, offset, recovered: true })).await;
            }
            let complete = missed.is_complete();
            for entry in missed.entries {
                position = Position { epoch: entry.entry.epoch.clone(), offset: entry.entry.offset };
                if let Some(message) = encode_inbox_entry(entry) {
                    send(client, Event::PrivateMessage(Arc::new(message))).await;
                }
            }
            if complete {
                return Some(missed.head);
            }
        }
    }

    /// Reads what came after a position, or the head alone, and again until the store answers. None where the connection
    /// has ended.
    async fn read(&self, person: &Person, client: &Connection, from: Option<&Position>) -> Option<Missed> {
        while !client.is_closed() {
            let answer = {
                // The semaphore is never closed.
                let _permit = self.permits.acquire().await;
                match from {
                    Some(position) => self.store.inbox.since(person, position, PART).await,
                    None => self.store.inbox.head(person).await.map(|head| Missed {
                        head,
                        entries: Vec::new(),
                        lost: false,
                    }),
                }
            };
            match answer {
                Ok(missed) => return Some(missed),
                Err(error) => self.telemetry.cluster.store_failed("inbox", &error),
            }
            tokio::time::sleep(RETRY).await;
        }
        None
    }
}

async fn send(client: &Connection, event: Event) {
    let mut batch = Batch::default();
    batch.push(event);
    client.send_when_ready(|outbound| outbound.send(&batch)).await;
}

/// The message of an entry of an inbox. One that cannot be parsed is logged and left out.
pub(crate) fn encode_inbox_entry(InboxEntry { entry, to }: InboxEntry) -> Option<Message> {
    let Entry { epoch, offset, ts, body, trace } = entry;
    match message::compose_private(&to, &epoch, offset, ts, &body) {
        Ok(json) => Some(Message { offset, ts, json, trace }),
        Err(error) => {
            tracing::error!(%error, offset, "a private message cannot be parsed");
            None
        }
    }
}
