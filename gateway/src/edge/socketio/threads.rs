//! The threads of one client's person, where the dialect shows new messages of all of them: the client observes those
//! that another connection of the person is in, and says which ones it joins and leaves itself. Called by `client.rs`;
//! calls `chat/threads.rs`.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use roomcast_protocol::RoomName;
use roomcast_protocol::limits::MAX_ROOMS;

use crate::chat::{Chat, PersonId, ThreadChange};
use crate::hub::Connection;
use crate::room::Departure;

/// The event under which a change of threads stands among a batch's packets. It is not sent to clients.
pub(super) const CHANGED: &str = "@thread";

/// What the hub tells a client's task.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The person joined or left a thread, by some connection.
    Changed(ThreadChange),
    /// The person is not in this room any more, for whatever reason.
    Gone(RoomName),
}

pub(super) struct Threads {
    person: PersonId,
    /// The threads that the person is in, by this connection or another one.
    known: Mutex<HashSet<RoomName>>,
}

impl Threads {
    pub(super) fn new(person: PersonId) -> Self {
        Self { person, known: Mutex::default() }
    }

    /// Begins to follow the person's threads.
    pub(super) async fn begin(&self, chat: &Chat, connection: &Arc<Connection>) {
        match chat.follow_threads(connection, &self.person).await {
            Ok(threads) => {
                for thread in threads {
                    self.observe(chat, connection, thread).await;
                }
            }
            Err(error) => tracing::debug!(%error, "a user's threads cannot be followed"),
        }
    }

    /// The connection joined this room, or left it, as `was_in` and its present state say.
    pub(super) async fn moved(
        &self,
        chat: &Chat,
        connection: &Arc<Connection>,
        room: &RoomName,
        was_in: bool,
    ) {
        let is_in = connection.is_in(room);
        if is_in && self.add(room) {
            self.say(chat, room, true).await;
        } else if was_in && !is_in {
            self.known.lock().remove(room);
            self.say(chat, room, false).await;
        }
    }

    /// The connection is about to end.
    pub(super) async fn end(&self, chat: &Chat, connection: &Connection, how: Departure) {
        // One that dropped may return, and the end of its grace is noticed by the room's presence.
        if matches!(how, Departure::Left) {
            for room in connection.rooms() {
                self.say(chat, &room, false).await;
            }
        }
    }

    pub(super) async fn noticed(&self, chat: &Chat, connection: &Arc<Connection>, notice: Notice) {
        match notice {
            Notice::Changed(ThreadChange { thread, joined: true }) => {
                self.observe(chat, connection, thread).await;
            }
            // Another connection left: the person is still in the thread by this one.
            Notice::Changed(ThreadChange { thread, joined: false }) if connection.is_in(&thread) => {
                self.say(chat, &thread, true).await;
            }
            Notice::Changed(ThreadChange { thread, joined: false }) => {
                self.stop_observing(chat, connection, &thread).await;
            }
            Notice::Gone(thread) => {
                // If it cannot be read, the person is told of more threads than necessary.
                if !connection.is_in(&thread)
                    && !chat.is_in_thread(&self.person, &thread).await.unwrap_or(true)
                {
                    self.stop_observing(chat, connection, &thread).await;
                }
            }
        }
    }

    async fn stop_observing(&self, chat: &Chat, connection: &Connection, thread: &RoomName) {
        self.known.lock().remove(thread);
        chat.rooms.leave(thread, connection.id(), Departure::Left).await;
    }

    async fn observe(&self, chat: &Chat, connection: &Arc<Connection>, thread: RoomName) {
        if self.add(&thread)
            && !connection.is_in(&thread)
            && let Err(error) = chat.observe(connection, &thread, 0).await
        {
            self.known.lock().remove(&thread);
            tracing::debug!(%error, "a thread cannot be observed");
        }
    }

    async fn say(&self, chat: &Chat, room: &RoomName, joined: bool) {
        chat.thread_changed(&self.person, &ThreadChange { thread: room.clone(), joined }).await;
    }

    /// False if it is known, or if there are too many.
    fn add(&self, thread: &RoomName) -> bool {
        let mut known = self.known.lock();
        known.len() < MAX_ROOMS && known.insert(thread.clone())
    }
}
