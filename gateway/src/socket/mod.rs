//! Socket.IO in, decisions of `session.rs` carried out: one file per client event, all handled in the
//! order in which the client sent them. Called by socketioxide through what `connect.rs` registers.

mod connect;
mod decode;
mod history;
mod join;
mod leave;
mod online_users;
mod queue;
mod rooms;
mod send_message;
mod typing;

use std::sync::Arc;

use roomcast_ops::trace::{self, Kind};
use roomcast_protocol::{Code, Refusal, RoomName, event};
use roomcast_store::Store;

pub(crate) use connect::{Clients, mount};
use decode::Incoming;

use crate::client::{Answer, Client};
use crate::conn::Sessions;
use crate::node::Node;
use crate::room::Rooms;
use crate::session::Session;
use crate::telemetry::Events;
use crate::users::Users;

/// What the handlers of events share.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) store: Store,
    pub(crate) node: Node,
    pub(crate) rooms: Rooms,
    pub(crate) users: Users,
    pub(crate) clients: Clients,
    pub(crate) sessions: Sessions,
    pub(crate) events: Events,
    pub(crate) lifecycle: roomcast_ops::Lifecycle,
    /// Rooms that are listed even when nobody ever used them.
    pub(crate) listed: Arc<[RoomName]>,
}

impl Gateway {
    /// Handles one event of one client, to its acknowledgement; `pressed` where more of its events wait.
    fn handle<'a>(
        &'a self,
        client: &'a Arc<Client>,
        session: &'a mut Session,
        incoming: Incoming,
        pressed: bool,
    ) -> impl Future<Output = ()> + 'a {
        let name = crate::trace::name(&incoming.event);
        // Boxed: it has room for every kind of event, and the task around it is moved several times.
        trace::request(name, Kind::Server, Box::pin(self.carry_out(client, session, incoming, pressed)))
    }

    async fn carry_out(
        &self,
        client: &Arc<Client>,
        session: &mut Session,
        incoming: Incoming,
        pressed: bool,
    ) {
        let Incoming { event, payload, ack, ack_id } = incoming;
        let answer = client.answer(ack, ack_id);
        match event.as_str() {
            event::client::SEND_MESSAGE => {
                answer.settle(send_message::handle(self, session, &payload, pressed).await);
            }
            // Those that turn to a room's worker are boxed: rarer, and larger than an allocator likes.
            event::client::JOIN => {
                Box::pin(join::handle(self, client, session, &payload, answer)).await;
            }
            event::client::LEAVE => {
                answer.settle(Box::pin(leave::handle(self, client, session, &payload)).await);
            }
            event::client::TYPING => {
                answer.settle(Box::pin(typing::handle(self, session, &payload)).await);
            }
            event::client::ONLINE_USERS => {
                answer.settle(Box::pin(online_users::handle(self, session, &payload)).await);
            }
            event::client::HISTORY => answer.settle(history::handle(self, session, &payload).await),
            event::client::ROOMS => answer.settle(rooms::handle(self, &payload).await),
            unknown => unknown_event(answer, unknown),
        }
    }
}

fn unknown_event(answer: Answer, event: &str) {
    let name: String = event.chars().take(64).collect();
    answer.refuse(Refusal::new(Code::UnknownEvent, format!("there is no event {name:?}")));
}
