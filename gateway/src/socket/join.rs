//! `join`: into a room, with what was missed, or with the newest messages. The room answers itself, so
//! that nothing of the room overtakes the answer.

use std::sync::Arc;

use roomcast_ops::trace;
use roomcast_protocol::client::Join;

use super::Gateway;
use super::decode::Payload;
use crate::client::{Answer, Client};
use crate::room::EnterRequest;
use crate::session::Session;

pub(super) async fn handle(
    gateway: &Gateway,
    client: &Arc<Client>,
    session: &mut Session,
    payload: &Payload,
    answer: Answer,
) {
    let asked = payload.decode::<Join>().and_then(|join| Ok((session.may_join(&join)?, join)));
    let (limit, Join { room, since, .. }) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return answer.refuse(refusal),
    };
    trace::note("roomcast.room", || room.to_string());
    let request = EnterRequest { room: room.clone(), client: Arc::clone(client), since, limit, answer };
    if gateway.rooms.enter(request).await {
        session.joined(room);
    } else {
        trace::fail("refused");
    }
}
