//! A client that is connected to a namespace: handles its events, answers each, and handles its disconnect. Created by
//! `connect.rs`; called by `socket.rs`, one event after the other; calls `chat/`, and `identity.rs` for its name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roomcast_ops::trace;
use roomcast_protocol::client::{Join, Leave};
use roomcast_protocol::{Code, Refusal, RoomName};
use roomcast_store::Secret;
use tokio::sync::oneshot;

use super::context::ClientContext;
use super::dialect::{Decoded, Standing, Step};
use super::identity::Identity;
use super::outbound::SocketOutbound;
use super::packet::{Packet, Payload};
use super::threads::{Notice, Threads};
use crate::chat::{Actor, Command, PersonId, Reply, Request};
use crate::hub::{Connection, SendError};
use crate::room::Departure;
use crate::telemetry::{Deed, Written};
use crate::users::NameHold;

pub(super) struct Client {
    context: Arc<ClientContext>,
    connection: Arc<Connection>,
    identity: Identity,
    outbound: SocketOutbound,
    /// The threads of its person, where the dialect shows new messages of all.
    threads: Option<Box<Threads>>,
    /// The socket's id, where what users do is logged.
    logged_as: Option<Box<str>>,
    registered: AtomicBool,
}

impl Client {
    /// `name` is none for a connection that has no name yet, `person` where the dialect follows no threads; `cookie` is the
    /// secret in the browser's cookie, if it was read; `id` is the socket's.
    pub(super) fn new(
        context: &Arc<ClientContext>,
        connection: Arc<Connection>,
        outbound: SocketOutbound,
        (name, person, cookie): (Option<NameHold>, Option<PersonId>, Option<Secret>),
        id: &str,
    ) -> Arc<Self> {
        let threads = person.map(|person| Box::new(Threads::new(person)));
        let identity = Identity::new(&connection, name, cookie);
        let logged_as = context.chat.telemetry.chat_log.is_enabled().then(|| id.into());
        let (context, registered) = (Arc::clone(context), AtomicBool::new(true));
        let client = Self { context, connection, identity, outbound, threads, logged_as, registered };
        client.log(Deed::Connected, None);
        Arc::new(client)
    }

    /// Executes what the dialect's connections do before their first event.
    pub(super) async fn begin(self: &Arc<Self>) {
        self.follow_threads().await;
        let Some(command) = self.outbound.dialect().on_connect() else { return };
        if self.execute_part(&self.identity.actor(), command).await.is_err() {
            // Its events would be refused for a reason that its user cannot know: it connects again.
            self.connection.close("connect_failed");
        }
    }

    async fn follow_threads(&self) {
        if let Some(threads) = self.threads() {
            threads.begin(&self.context.chat, &self.connection).await;
        }
    }

    /// The threads of its person, if its dialect shows new messages of all.
    fn threads(&self) -> Option<&Threads> {
        self.threads.as_deref().filter(|_| !self.outbound.dialect().outside().is_empty())
    }

    /// Where the dialect is not decided yet: decides it by this event, if that is possible.
    async fn decide(&self, event: &str, payload: &Payload) {
        let before = self.outbound.dialect();
        let Some(dialect) = before.decide(event, payload) else { return };
        if dialect.name() != before.name() {
            // It was shown the shared room in the vocabulary of another chat.
            self.context.chat.leave_all(&self.connection, Departure::Left).await;
        }
        self.outbound.decide(dialect);
        self.follow_threads().await;
    }

    /// Handles one event and answers it. `urgent` says that more are waiting.
    pub(super) async fn handle(self: &Arc<Self>, packet: Packet, urgent: bool) {
        // The memory of a long packet counts until the end.
        let Packet { event, payload, ack_id, held: _held } = packet;
        if self.outbound.dialect().is_undecided() {
            Box::pin(self.decide(&event, &payload)).await;
        }
        match self.outbound.dialect().decode(&|| self.standing(), &event, &payload) {
            Ok(Decoded::Command(command)) => {
                let client = Arc::clone(self);
                let respond = move |reply| client.respond(ack_id, reply);
                let actor = self.identity.actor();
                self.context.chat.execute(&actor, Request { command, urgent, respond }).await;
            }
            Ok(Decoded::Steps(steps)) => Box::pin(self.execute_steps(steps, urgent, ack_id)).await,
            Err(refusal) => self.respond(ack_id, Err(refusal)),
        }
    }

    fn standing(&self) -> Standing {
        let actor = self.identity.actor();
        let (user, signed_in) = (actor.user().cloned(), self.identity.signed_in());
        Standing { user, signed_in, rooms: self.connection.rooms() }
    }

    /// Executes steps one after the other up to the first that is refused. The last one, or the one that was refused,
    /// answers the event.
    async fn execute_steps(self: &Arc<Self>, steps: Vec<Step>, urgent: bool, ack_id: Option<u64>) {
        let (chat, registry) = (&self.context.chat, &self.context.registry);
        let dialect = self.outbound.dialect().name();
        let mut steps = steps.into_iter().peekable();
        while let Some(step) = steps.next() {
            let sends = matches!(
                step,
                Step::Execute(
                    Command::SendMessage(_)
                        | Command::SendMessageWith(..)
                        | Command::PrivateMessage(_)
                        | Command::PrivateMessageTo { .. }
                        | Command::SendImage(_)
                        | Command::Join(_)
                )
            );
            let done = match step {
                Step::TakeName(user) => {
                    let log_leaves = || self.log_leaves();
                    self.identity.take(chat, registry, (&self.connection, user, dialect), log_leaves).await
                }
                Step::TakeGuestName => {
                    self.identity.take_guest_name(chat, registry, (&self.connection, dialect)).await
                }
                Step::Execute(command) if steps.peek().is_some() => {
                    self.execute_part(&self.identity.actor(), command).await
                }
                Step::Execute(command) => {
                    let thread = self.thread_of(&command);
                    let (command, own) = self.note_own_message(command);
                    let client = Arc::clone(self);
                    let respond = move |reply: Result<Reply, Refusal>| {
                        if reply.is_err() {
                            client.forget_own_message(own);
                        }
                        client.respond(ack_id, reply);
                    };
                    let actor = self.identity.actor();
                    chat.execute(&actor, Request { command, urgent, respond }).await;
                    if let (Some(threads), Some((room, was_in))) = (self.threads(), thread) {
                        threads.moved(chat, &self.connection, &room, was_in).await;
                    }
                    return;
                }
            };
            if let Some(own) = self.outbound.own_messages().filter(|_| !sends) {
                // What was not delivered by now will not be.
                own.clear();
            }
            if let Err(refusal) = done {
                return self.respond(ack_id, Err(refusal));
            }
        }
        self.respond(ack_id, Ok(Reply::Done));
    }

    /// The room that a command may join or leave, and whether the connection is in it; none if no threads are followed.
    fn thread_of(&self, command: &Command) -> Option<(RoomName, bool)> {
        self.threads()?;
        let (Command::Join(Join { room, .. }) | Command::Leave(Leave { room })) = command else {
            return None;
        };
        Some((room.clone(), self.connection.is_in(room)))
    }

    /// Handles what the hub tells it.
    pub(super) async fn noticed(&self, notice: Notice) {
        if let Some(threads) = self.threads() {
            threads.noticed(&self.context.chat, &self.connection, notice).await;
        }
    }

    /// Executes a command whose reply is not the answer to an event; only the reply's own events are sent.
    async fn execute_part(self: &Arc<Self>, actor: &Actor, command: Command) -> Result<(), Refusal> {
        let (sender, done) = oneshot::channel();
        let client = Arc::clone(self);
        let respond = move |reply: Result<Reply, Refusal>| {
            // An error means that the client's task was ended.
            sender.send(reply.map(|reply| client.send_reply(reply))).unwrap_or_default();
        };
        self.context.chat.execute(actor, Request { command, urgent: true, respond }).await;
        done.await.unwrap_or_else(|_| Err(Refusal::new(Code::Draining, "the server is stopping")))
    }

    /// Sends the events of a reply.
    fn send_reply(&self, reply: Reply) {
        self.log_reply(&reply);
        match self.outbound.dialect().encode_reply(Ok(reply)) {
            Ok(encoded) => self.sent(self.outbound.send_events(&encoded.events)),
            Err(error) => tracing::error!(%error, "failed to encode a reply"),
        }
    }

    fn sent(&self, sent: Result<Written, SendError>) {
        if let Some(written) = self.connection.on_sent(sent) {
            self.context.chat.telemetry.wire.written(&written);
        }
    }

    /// Where the dialect's front ends show their own messages: makes sure that this one is not sent back. Returns its id.
    fn note_own_message(&self, mut command: Command) -> (Command, Option<String>) {
        let Some(own) = self.outbound.own_messages() else { return (command, None) };
        let id = match &mut command {
            Command::SendMessage(message) => &mut message.id,
            Command::SendImage(image) => &mut image.id,
            Command::Broadcast(message, _) => &mut message.id,
            Command::PrivateMessage(message) => &mut message.id,
            Command::PrivateMessageTo { id, .. } => id,
            _ => return (command, None),
        };
        let id = id.get_or_insert_with(|| format!("{:032x}", rand::random::<u128>())).clone();
        own.note(id.clone());
        (command, Some(id))
    }

    fn forget_own_message(&self, id: Option<String>) {
        if let (Some(own), Some(id)) = (self.outbound.own_messages(), id) {
            own.forget(&id);
        }
    }

    /// Refuses an event because too many are waiting.
    pub(super) fn refuse_busy(&self, ack_id: Option<u64>) {
        self.respond(ack_id, Err(Refusal::new(Code::Busy, "too many events are waiting; slow down")));
    }

    /// Answers an event, whether or not the client asked for an acknowledgement: some replies carry events, too.
    fn respond(&self, ack_id: Option<u64>, reply: Result<Reply, Refusal>) {
        match &reply {
            Ok(reply) => self.log_reply(reply),
            Err(refusal) => {
                self.context.chat.telemetry.connections.refused(refusal.code);
                trace::fail(refusal.code.name());
            }
        }
        match self.outbound.dialect().encode_reply(reply) {
            Ok(encoded) => self.sent(self.outbound.answer(ack_id, &encoded)),
            Err(error) => tracing::error!(%error, "failed to encode a reply"),
        }
    }

    fn log(&self, deed: Deed, room: Option<&RoomName>) {
        if let Some(id) = &self.logged_as {
            let user = self.connection.user();
            self.context.chat.telemetry.chat_log.log(deed, user.as_ref(), room, id);
        }
    }

    fn log_reply(&self, reply: &Reply) {
        match reply {
            Reply::Joined(joined) => self.log(Deed::Joined, Some(&joined.room)),
            Reply::Left(left) => self.log(Deed::Left, Some(&left.room)),
            Reply::Sent(sent) => self.log(Deed::Sent, Some(&sent.room)),
            Reply::SentPrivately(_) => self.log(Deed::SentPrivately, None),
            Reply::ImageSent(image) => {
                let deed = if image.room.is_some() { Deed::Sent } else { Deed::SentPrivately };
                self.log(deed, image.room.as_ref());
            }
            Reply::History(_) | Reply::Rooms(_) | Reply::OnlineUsers(_) | Reply::Done => {}
        }
    }

    fn log_leaves(&self) {
        if self.logged_as.is_some() {
            self.connection.rooms().iter().for_each(|room| self.log(Deed::Left, Some(room)));
        }
    }

    /// The session moved from long-polling to a WebSocket.
    pub(super) fn upgraded(&self) {
        self.context.registry.upgraded(&self.connection);
    }

    /// Removes the connection from the hub's registry, once. `label` says why the client disconnected.
    pub(super) fn unregister(&self, label: &'static str) {
        if self.registered.swap(false, Ordering::AcqRel) {
            let kind = self.context.registry.remove(&self.connection);
            self.context.chat.telemetry.connections.disconnected(kind, label);
        }
    }

    /// Leaves all rooms and releases the name, after the last event was handled.
    pub(super) async fn end(&self, how: Departure) {
        self.log_leaves();
        self.log(Deed::Disconnected, None);
        if let Some(threads) = self.threads() {
            threads.end(&self.context.chat, &self.connection, how).await;
        }
        self.context.chat.leave_all(&self.connection, how).await;
        self.context.chat.inboxes.unfollow(self.connection.id()).await;
        self.identity.release(how).await;
    }
}
