//! `send_message`: into the room's log, from where the bus takes it to every member. Acknowledged once
//! the log has it.

use std::time::Duration;

use roomcast_ops::trace;
use roomcast_protocol::ack::Sent;
use roomcast_protocol::client::SendMessage;
use roomcast_protocol::{Body, Content, Refusal};
use roomcast_store::{PublishRequest, Published, StoreError};

use super::Gateway;
use super::decode::Payload;
use crate::session::{Sending, Session};

/// How long a send whose answer was lost waits for the store before it is repeated.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn handle(
    gateway: &Gateway,
    session: &Session,
    payload: &Payload,
    pressed: bool,
) -> Result<Sent, Refusal> {
    let fresh = || format!("{:032x}", rand::random::<u128>());
    let Sending { room, id, text } = session.may_send(payload.decode::<SendMessage>()?, fresh)?;
    trace::note("roomcast.room", || room.to_string());
    let body = Body { id, user: session.user().clone(), content: Content::Text { text } };
    let request = PublishRequest { room: &room, body: &body, urgent: pressed };
    let Published { position, ts, duplicate } = publish(gateway, request).await?;
    if !duplicate {
        gateway.events.stored();
    }
    Ok(Sent { id: body.id, room, epoch: position.epoch, offset: position.offset, ts })
}

/// Publishes; where the answer was lost, once more with the same id, so that a short interruption is
/// nobody's concern. What then is still unknown, the client is told.
async fn publish(gateway: &Gateway, request: PublishRequest<'_>) -> Result<Published, StoreError> {
    let first = gateway.store.log.publish(request).await;
    let Err(StoreError::Unknown(why)) = first else { return first };
    gateway.events.store_failed("publish", &StoreError::Unknown(why.clone()));
    if !gateway.store.health.wait_up(PATIENCE).await {
        return Err(StoreError::Unknown(why));
    }
    gateway.store.log.publish(request).await.map_err(|error| match error {
        // The first attempt may have been done all the same.
        StoreError::Unavailable(why) => StoreError::Unknown(why),
        other => other,
    })
}
