//! `broadcast`: a message to every connection of the cluster. It is appended to the log of the reserved room `@all`, which
//! every node follows (`room/worker.rs`), and which nobody joins, leaves or reads. Answered once it is stored.

use std::time::Instant;

use roomcast_protocol::ack::Sent;
use roomcast_protocol::client::Broadcast;
use roomcast_protocol::{Body, Code, Content, Refusal, RoomName};
use roomcast_store::{PublishRequest, Published};

use super::limits::{check_text, message_id};
use super::{Actor, BroadcastOrigin, Chat};

impl Chat {
    pub(super) async fn broadcast(
        &self,
        actor: &Actor,
        message: Broadcast,
        origin: BroadcastOrigin,
    ) -> Result<Sent, Refusal> {
        let Broadcast { text, id } = message;
        let user = actor.named()?.clone();
        if !self.broadcast.allows(origin) {
            return Err(Refusal::new(Code::Forbidden, "messages to everyone are not allowed here"));
        }
        check_text(&text)?;
        let id = message_id(id)?;
        let turns = self.rooms.broadcast_turns();
        if let Err(left) = turns.take(&user, &id, Instant::now()) {
            let why = "one message to everyone in 10 seconds; wait a little";
            return Err(Refusal::new(Code::RateLimited, why).retry_after(left));
        }
        let room = RoomName::everyone();
        let content = Content::Text { text };
        let body = Body { id, user, verified: actor.verified(), content, extra: None };
        let request = PublishRequest { room: &room, body: &body, image: None, urgent: true };
        match self.repeat_if_unknown(|| self.store.log.publish(request)).await {
            Ok(Published { position, ts, duplicate }) => {
                if !duplicate {
                    self.telemetry.rooms.stored();
                }
                Ok(Sent { id: body.id, room, epoch: position.epoch, offset: position.offset, ts })
            }
            Err(error) => {
                // To be tried again, with the same id.
                turns.give_back(&body.user);
                Err(error.into())
            }
        }
    }
}
