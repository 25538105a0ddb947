//! Sends a client what it missed, where that is more than fits into the answer to its join: reads the log part by part,
//! and sends each message when the client has taken enough of those before. A task of a room, started by `worker.rs`;
//! its end goes back to the room's worker.

use std::sync::Arc;
use std::time::Duration;

use roomcast_protocol::limits::MAX_PAGE_BYTES;
use roomcast_protocol::{Position, RoomName};
use roomcast_store::{ReadLimit, Replay};

use super::command::{Command, PendingJoin};
use super::effect::{JoinAttempt, ReplayEnd};
use super::follower::encode_entry;
use super::store_tasks::{RETRY, Results, RoomDeps};
use crate::hub::{Connection, Event};

/// How long a client that was sent everything waits for this node to receive the same from the bus.
const BUS_WAIT: Duration = Duration::from_millis(20);
/// What is read at once.
const PART: ReadLimit = ReadLimit { entries: usize::MAX, bytes: MAX_PAGE_BYTES };

impl RoomDeps {
    /// Sends a client everything after a position.
    pub(super) fn replay(
        &self,
        (results, room): Results,
        attempt: JoinAttempt<PendingJoin>,
        position: Position,
    ) {
        let deps = self.clone();
        let replaying = async move {
            let end = deps.send_missed(&room, &attempt.pending.connection, position).await;
            if let Some(results) = results.upgrade()
                && results.send(Command::Replayed { room, attempt, end }).await.is_err()
            {
                tracing::debug!("the workers of rooms have stopped");
            }
        };
        self.lifecycle.spawn_until_hard("room-replay", replaying);
    }

    async fn send_missed(&self, room: &RoomName, client: &Connection, mut position: Position) -> ReplayEnd {
        let mut sent = false;
        while !client.is_closed() {
            let read = {
                // The semaphore is never closed.
                let _permit = self.permits.acquire().await;
                self.store.log.since(room, &position, PART).await
            };
            let (entries, head) = match read {
                Ok(Replay::Whole(opened)) => (opened.newest, Some(opened.head.position)),
                Ok(Replay::Part(entries)) => (entries, None),
                Ok(Replay::Lost(_)) => return ReplayEnd::Lost,
                Err(error) => {
                    self.failed("replay", &error);
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            for entry in entries {
                position = Position { epoch: entry.epoch.clone(), offset: entry.offset };
                let message = encode_entry(room, entry).map(|message| Event::Message(Arc::new(message)));
                if let Some(message) = message
                    && !client.send_when_ready(|outbound| outbound.send_own(&message)).await
                {
                    return ReplayEnd::Gone;
                }
                sent = true;
            }
            if let Some(head) = head {
                if !sent {
                    tokio::time::sleep(BUS_WAIT).await;
                }
                return ReplayEnd::Reached(head);
            }
        }
        ReplayEnd::Gone
    }
}
