//! The commands of the chat, independent of the edge: an [`Actor`] gives a [`Command`] and gets a [`Reply`] or a
//! refusal. This folder has no sockets and no Redis client. Every edge calls [`Chat::sign_in`] and [`Chat::execute`];
//! they call `room/`, `users/`, `inbox/` and the store's traits. Events pushed to connections are defined in `hub/`.

mod actor;
mod broadcast;
mod command;
mod history;
mod image;
mod join;
mod leave;
mod limits;
mod online_users;
mod policy;
mod private_message;
mod reply;
mod rooms;
mod send_image;
mod send_message;
mod sign_in;
mod take_name;
mod threads;
mod typing;

use std::sync::Arc;
use std::time::Duration;

use roomcast_protocol::client::SendPrivateMessage;
use roomcast_protocol::{Refusal, RoomName};
use roomcast_store::Store;

pub(crate) use actor::{Actor, Rights};
pub(crate) use command::{BroadcastOrigin, Command, Recipient, SendImage};
pub(crate) use image::{IMAGES_PATH, ImageSettings};
pub(crate) use policy::BroadcastPolicy;
pub(crate) use reply::Reply;
pub(crate) use sign_in::SignedIn;
pub(crate) use threads::{PersonId, ThreadChange};

use crate::inbox::Inboxes;
use crate::node::Node;
use crate::room::Rooms;
use crate::telemetry::Telemetry;
use crate::users::Users;

/// Dependencies of the commands. A handle; clones share them.
#[derive(Clone)]
pub(crate) struct Chat {
    pub(crate) store: Store,
    pub(crate) node: Node,
    pub(crate) rooms: Rooms,
    pub(crate) users: Users,
    pub(crate) inboxes: Inboxes,
    pub(crate) telemetry: Telemetry,
    /// How long a user stays in a room after the connection dropped.
    pub(crate) grace: Duration,
    pub(crate) images: ImageSettings,
    /// Configured rooms, which are listed even if they have never been used.
    pub(crate) listed: Arc<[RoomName]>,
    /// Who may send messages to everyone.
    pub(crate) broadcast: BroadcastPolicy,
}

/// A command of an actor, and the receiver of its reply.
pub(crate) struct Request<R> {
    pub(crate) command: Command,
    /// Later commands of the actor are waiting for this one: it is not delayed to be batched.
    pub(crate) urgent: bool,
    /// Called exactly once. For a join it is called in the step that makes the connection a member, so that no
    /// event of the room overtakes the reply.
    pub(crate) respond: R,
}

impl Chat {
    /// Executes a command and calls `respond` with its reply. The caller passes one actor's commands one after the
    /// other, which defines their order.
    pub(crate) async fn execute<R>(&self, actor: &Actor, request: Request<R>)
    where
        R: FnOnce(Result<Reply, Refusal>) + Send + 'static,
    {
        let Request { command, urgent, respond } = request;
        if let (Err(refusal), false) =
            (actor.named(), matches!(command, Command::Join(_) | Command::Leave(_)))
        {
            return respond(Err(refusal));
        }
        // All futures but the most frequent one are boxed, to keep the caller's future small.
        let reply = match command {
            Command::SendMessage(message) => {
                self.send_message(actor, message, None, urgent).await.map(Reply::Sent)
            }
            Command::SendMessageWith(message, extra) => {
                Box::pin(self.send_message(actor, message, Some(extra), urgent)).await.map(Reply::Sent)
            }
            Command::PrivateMessage(SendPrivateMessage { to, text, id }) => {
                let to = Recipient::User(to);
                Box::pin(self.private_message(actor, to, text, id)).await.map(Reply::SentPrivately)
            }
            Command::PrivateMessageTo { typed: name, room, text, id } => {
                let to = Recipient::Typed { name, room };
                Box::pin(self.private_message(actor, to, text, id)).await.map(Reply::SentPrivately)
            }
            Command::SendImage(image) => {
                Box::pin(self.send_image(actor, image, urgent)).await.map(Reply::ImageSent)
            }
            Command::Join(join) => return Box::pin(self.join(actor, join, respond)).await,
            Command::Leave(leave) => Box::pin(self.leave(actor, leave)).await.map(Reply::Left),
            Command::Broadcast(message, origin) => {
                Box::pin(self.broadcast(actor, message, origin)).await.map(Reply::Sent)
            }
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
