//! `send_message`: appends a message to the room's log, which publishes it on the bus. Answered once it is stored.

use std::time::Duration;

use roomcast_ops::trace;
use roomcast_protocol::ack::Sent;
use roomcast_protocol::client::SendMessage;
use roomcast_protocol::{Body, Content, Extra, Refusal, RoomName, UserName};
use roomcast_store::{PublishRequest, Published, StoreError};

use super::limits::{check_text, message_id};
use super::{Actor, Chat};

/// How long a publication of unknown outcome waits for the store before it is repeated.
const RETRY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often, and after which pauses, the store is asked again whether a returning user is in a room.
const PRESENCE_READS: usize = 3;
const PRESENCE_READ_PAUSE: Duration = Duration::from_millis(100);

impl Chat {
    pub(super) async fn send_message(
        &self,
        actor: &Actor,
        message: SendMessage,
        extra: Option<Box<Extra>>,
        urgent: bool,
    ) -> Result<Sent, Refusal> {
        let SendMessage { room, text, id } = message;
        check_text(&text)?;
        let id = message_id(id)?;
        let (user, verified) = self.check_sender(actor, &room).await?;
        let body = Body { id, user, verified, content: Content::Text { text }, extra };
        let request = PublishRequest { room: &room, body: &body, image: None, urgent };
        let published = self.repeat_if_unknown(|| self.store.log.publish(request));
        let Published { position, ts, duplicate } = published.await?;
        if !duplicate {
            self.telemetry.rooms.stored();
        }
        Ok(Sent { id: body.id, room, epoch: position.epoch, offset: position.offset, ts })
    }

    /// Checks that the actor may send to the room; returns the user's name, and whether it is proved.
    pub(super) async fn check_sender(
        &self,
        actor: &Actor,
        room: &RoomName,
    ) -> Result<(UserName, bool), Refusal> {
        if let Err(refusal) = actor.check_access(room)
            && !Box::pin(self.returns_to(actor, room)).await?
        {
            return Err(refusal);
        }
        trace::note("roomcast.room", || room.to_string());
        Ok((actor.named()?.clone(), actor.verified()))
    }

    /// Whether the actor's device is the return of one that dropped, and the user is still in the room by its grace. The
    /// name must be proved: an open one is nobody's once its connection is gone.
    /// Official clients send what they buffered while offline before the application can join again. The store decides,
    /// because the former connection may have been another gateway's, which may not have noticed its end yet.
    async fn returns_to(&self, actor: &Actor, room: &RoomName) -> Result<bool, StoreError> {
        let Some(user) = actor.user().filter(|_| actor.verified()) else { return Ok(false) };
        if !actor.connected_within(self.grace) || self.store.names.was_taken_over(user).await? {
            return Ok(false);
        }
        // A join is answered before the store knows of it, if others are to be written with it.
        for _ in 0..PRESENCE_READS {
            if self.store.presence.is_present(room, user).await? {
                return Ok(true);
            }
            tokio::time::sleep(PRESENCE_READ_PAUSE).await;
        }
        self.store.presence.is_present(room, user).await
    }

    /// Stores a message by a call that may be repeated. If the store's answer is lost, it is repeated once with the same
    /// id, so that clients do not notice a short interruption. If the outcome is then still unknown, the client gets
    /// `outcome_unknown`.
    pub(super) async fn repeat_if_unknown<T, F>(&self, store: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let first = store().await;
        let Err(StoreError::Unknown(why)) = first else { return first };
        self.telemetry.cluster.store_failed("publish", &StoreError::Unknown(why.clone()));
        if !self.store.health.wait_up(RETRY_TIMEOUT).await {
            return Err(StoreError::Unknown(why));
        }
        store().await.map_err(|error| match error {
            // The first attempt may have succeeded.
            StoreError::Unavailable(why) => StoreError::Unknown(why),
            other => other,
        })
    }
}
