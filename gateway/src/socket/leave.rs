//! `leave`: out of a room, at once and for everyone to see.

use std::sync::Arc;

use roomcast_protocol::Refusal;
use roomcast_protocol::ack::Left;
use roomcast_protocol::client::Leave;

use super::Gateway;
use super::decode::Payload;
use crate::client::Client;
use crate::room::Departure;
use crate::session::Session;

pub(super) async fn handle(
    gateway: &Gateway,
    client: &Arc<Client>,
    session: &mut Session,
    payload: &Payload,
) -> Result<Left, Refusal> {
    let Leave { room } = payload.decode()?;
    session.left(&room)?;
    gateway.rooms.leave(&room, client.id(), Departure::Left).await;
    Ok(Left { room })
}
