//! What a person can do, whatever edge they come by: an [`Actor`] gives a [`Command`] and gets a [`Reply`] or a
//! refusal. No socket and no Redis client is known here. Every edge calls [`Chat::sign_in`] and
//! [`Chat::execute`]; they call `room/`, `users/` and the store's traits. What actors are sent unasked are the
//! events of the hub.

mod actor;
mod command;
mod history;
mod join;
mod leave;
mod limits;
mod online_users;
mod reply;
mod rooms;
mod send_message;
mod sign_in;
mod typing;

use std::sync::Arc;

use roomcast_protocol::{Refusal, RoomName};
use roomcast_store::Store;

pub(crate) use actor::{Actor, Rights};
pub(crate) use command::Command;
pub(crate) use reply::Reply;
pub(crate) use sign_in::SignedIn;

use crate::node::Node;
use crate::room::Rooms;
use crate::telemetry::Telemetry;
use crate::users::Users;

/// What commands are carried out with. Clones share it.
#[derive(Clone)]
pub(crate) struct Chat {
    pub(crate) store: Store,
    pub(crate) node: Node,
    pub(crate) rooms: Rooms,
    pub(crate) users: Users,
    pub(crate) telemetry: Telemetry,
    /// Rooms that are listed even when nobody ever used them.
    pub(crate) listed: Arc<[RoomName]>,
}

/// One command of one actor, and where its reply goes.
pub(crate) struct Request<R> {
    pub(crate) command: Command,
    /// The actor has sent more that waits for this: it is not held back to be batched with others' commands.
    pub(crate) urgent: bool,
    /// Called exactly once. For a join it is called in the step that makes the connection a member, so that no
    /// event of the room overtakes the reply.
    pub(crate) respond: R,
}

impl Chat {
    /// Carries out a command, to its reply. One actor's commands are given one after the other: their order is
    /// the order of the calls.
    pub(crate) async fn execute<R>(&self, actor: &Actor, request: Request<R>)
    where
        R: FnOnce(Result<Reply, Refusal>) + Send + 'static,
    {
        let Request { command, urgent, respond } = request;
        // All but sending a message are boxed: they are rarer, and whoever calls has room for each of them.
        let reply = match command {
            Command::SendMessage(message) => self.send_message(actor, message, urgent).await.map(Reply::Sent),
            Command::Join(join) => return Box::pin(self.join(actor, join, respond)).await,
            Command::Leave(leave) => Box::pin(self.leave(actor, leave)).await.map(Reply::Left),
            Command::Typing(typing) => Box::pin(self.typing(actor, typing)).await.map(|()| Reply::Done),
            Command::History(history) => Box::pin(self.history(actor, history)).await.map(Reply::History),
            Command::Rooms(rooms) => Box::pin(self.list_rooms(rooms)).await.map(Reply::Rooms),
            Command::OnlineUsers(online) => {
                Box::pin(self.online_users(actor, online)).await.map(Reply::OnlineUsers)
            }
        };
        respond(reply);
    }
}

#[cfg(test)]
mod tests;
