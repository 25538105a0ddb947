//! Threads of a person: the rooms that the person has joined by some connection, so that other connections, on whichever
//! gateway, can be told of new messages there. They are kept in the log of a reserved room, one for each person, to
//! which each join and leave is a message: whoever observes that room knows the threads. Called by the edge, for dialects
//! that show new messages of all threads.

use std::sync::Arc;

use roomcast_protocol::limits::MAX_PAGE;
use roomcast_protocol::{Body, Content, Refusal, RoomName, UserName};
use roomcast_store::{PublishRequest, Secret};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::Chat;
use super::limits::random_hex;
use crate::hub::Connection;
use crate::room::{JoinRequest, JoinedRoom};

/// The kind of the messages in those logs. Clients never receive one.
const KIND: &str = "thread";

/// A user with a proved name: the name and its secret. Another secret is another person.
#[derive(Debug, Clone)]
pub(crate) struct PersonId {
    user: UserName,
    /// Its threads' log.
    room: RoomName,
}

/// A person joined or left a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ThreadChange {
    pub(crate) thread: RoomName,
    /// False if the person left it.
    pub(crate) joined: bool,
}

impl PersonId {
    pub(crate) fn new(user: &UserName, secret: &Secret) -> Self {
        let room = RoomName::reserved(&format!("threads/{}", secret.person(user)));
        Self { user: user.clone(), room }
    }
}

impl ThreadChange {
    /// The change that a message is; none if it is an ordinary message.
    pub(crate) fn of_message(json: &RawValue) -> Option<Self> {
        #[derive(Deserialize)]
        struct Change {
            kind: String,
            #[serde(flatten)]
            change: ThreadChange,
        }
        let found = serde_json::from_str::<Change>(json.get()).ok()?;
        (found.kind == KIND).then_some(found.change)
    }
}

impl Chat {
    /// Begins to follow a person's threads; returns those that the person is in now.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub(crate) async fn follow_threads(
        &self,
        connection: &Arc<Connection>,
        person: &PersonId,
    ) -> Result<Vec<RoomName>, Refusal> {
        let Some(log) = self.observe(connection, &person.room, MAX_PAGE).await? else {
            return Ok(Vec::new());
        };
        let mut threads: Vec<RoomName> = Vec::new();
        for message in &log.messages {
            let Some(ThreadChange { thread, joined }) = ThreadChange::of_message(&message.json) else {
                continue;
            };
            threads.retain(|other| *other != thread);
            threads.extend(joined.then_some(thread));
        }
        let mut present = Vec::with_capacity(threads.len());
        for thread in threads {
            // The person may have left it by the end of a grace, or of a gateway.
            if self.is_in_thread(person, &thread).await? {
                present.push(thread);
            }
        }
        Ok(present)
    }

    /// Whether a person is in a thread by some connection, or by the grace of one.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub(crate) async fn is_in_thread(&self, person: &PersonId, thread: &RoomName) -> Result<bool, Refusal> {
        Ok(self.store.presence.is_present(thread, &person.user).await?)
    }

    /// Tells the person's other connections that one of them joined a thread, or left it.
    pub(crate) async fn thread_changed(&self, person: &PersonId, change: &ThreadChange) {
        let mut members = Map::new();
        members.insert("thread".into(), json!(change.thread));
        members.insert("joined".into(), Value::Bool(change.joined));
        let content = Content::Other { kind: KIND.into(), members };
        let body = Body { id: random_hex(), user: person.user.clone(), verified: true, content, extra: None };
        let request = PublishRequest { room: &person.room, body: &body, image: None, urgent: true };
        if let Err(error) = self.store.log.publish(request).await {
            self.telemetry.cluster.store_failed("threads", &error);
        }
    }

    /// Begins to receive a room's events without joining it; none if the connection has ended.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub(crate) async fn observe(
        &self,
        connection: &Arc<Connection>,
        room: &RoomName,
        limit: usize,
    ) -> Result<Option<JoinedRoom>, Refusal> {
        let (sender, joined) = oneshot::channel();
        // An error means that the connection's task was ended.
        let respond = Box::new(move |answer| sender.send(answer).unwrap_or_default());
        let (room, connection) = (room.clone(), Arc::clone(connection));
        self.rooms
            .join(JoinRequest {
                room,
                connection,
                open_in: None,
                since: None,
                limit,
                observes: true,
                respond,
            })
            .await;
        joined.await.ok().transpose()
    }
}
