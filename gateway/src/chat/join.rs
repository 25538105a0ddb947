//! `join`: makes a connection a member of a room, and returns the messages that it missed or the newest ones.

use std::sync::Arc;

use roomcast_ops::trace;
use roomcast_protocol::client::Join;
use roomcast_protocol::limits::MAX_ROOMS;
use roomcast_protocol::{Code, Refusal};

use super::limits::page;
use super::{Actor, Chat, Reply};
use crate::hub::Connection;
use crate::room::JoinRequest;

impl Chat {
    /// Joins a room. The room itself calls `respond`; this returns once the connection is a member, or was refused.
    pub(super) async fn join<R>(&self, actor: &Actor, join: Join, respond: R)
    where
        R: FnOnce(Result<Reply, Refusal>) + Send + 'static,
    {
        let (connection, limit) = match check_join(actor, &join) {
            Ok((connection, limit)) => (Arc::clone(connection), limit),
            Err(refusal) => return respond(Err(refusal)),
        };
        let Join { room, since, .. } = join;
        trace::note("roomcast.room", || room.to_string());
        let respond = Box::new(move |joined: Result<_, Refusal>| respond(joined.map(Reply::Joined)));
        let open_in = actor.open_in();
        let request = JoinRequest { room, connection, open_in, since, limit, observes: false, respond };
        if !self.rooms.join(request).await {
            trace::fail("refused");
        }
    }
}

/// Validates a join; returns the device that joins and the number of messages to return.
fn check_join<'a>(actor: &'a Actor, join: &Join) -> Result<(&'a Arc<Connection>, usize), Refusal> {
    let device = actor.required_device()?;
    if device.room_count() >= MAX_ROOMS && !device.is_in(&join.room) {
        let why = format!("a connection may be in {MAX_ROOMS} rooms at once");
        return Err(Refusal::new(Code::TooManyRooms, why));
    }
    Ok((device, page(join.limit, 0)?))
}
