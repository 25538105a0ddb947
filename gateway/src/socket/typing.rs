//! `typing`: told to the room and kept nowhere. Where the bus cannot carry it, this node's members hear
//! of it all the same.

use roomcast_protocol::Refusal;
use roomcast_protocol::ack::Done;
use roomcast_protocol::client::Typing;

use super::Gateway;
use super::decode::Payload;
use crate::session::Session;

pub(super) async fn handle(gateway: &Gateway, session: &Session, payload: &Payload) -> Result<Done, Refusal> {
    let Typing { room, typing } = payload.decode()?;
    session.must_be_in(&room)?;
    if gateway.store.bus.publish_ephemeral(&room, session.user(), typing).await.is_err() {
        gateway.rooms.typing_here(&room, session.user().clone(), typing).await;
    }
    Ok(Done {})
}
