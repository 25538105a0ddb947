//! Owns the rooms of one shard: takes commands in order, lets `state.rs` decide, and carries out the
//! effects: to clients through `fanout.rs` at once, to the store through `work.rs` in tasks whose
//! results come back as commands. Never waits for the store itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use roomcast_protocol::ack::{Joined, Online};
use roomcast_protocol::server::{Presence, Resync, Snapshot, TypingNews};
use roomcast_protocol::{Code, Refusal, RoomName, event};
use roomcast_store::{News, Opened, RoomState};
use tokio::sync::{mpsc, oneshot};

use super::follower::{Healed, Message};
use super::roster::{Departure, Told};
use super::state::{ClientId, Effect, Entered, Entering, Past, Room};
use super::work::Surroundings;
use super::{Gap, Ticket};
use crate::client::Client;
use crate::fanout;

type Caller = Arc<Client>;

pub(super) enum Command {
    Enter { room: RoomName, entering: Entering<Caller, Ticket> },
    Leave { room: RoomName, client: ClientId, how: Departure, done: oneshot::Sender<()> },
    Online { room: RoomName, reply: oneshot::Sender<Option<Online>> },
    News { room: RoomName, news: News },
    Rewrite,
    Opened { room: RoomName, opened: Option<(Opened, RoomState)> },
    Closed { room: RoomName },
    Past { room: RoomName, entering: Entering<Caller, Ticket>, past: Past },
    Healed { room: RoomName, healed: Healed },
    Wrote { room: RoomName, taken: bool },
    Presence { room: RoomName, state: Option<RoomState> },
}

pub(super) struct Worker {
    commands: mpsc::Receiver<Command>,
    gap: Arc<Gap>,
    results: mpsc::WeakSender<Command>,
    around: Surroundings,
    rooms: HashMap<RoomName, Room<Caller, Ticket>>,
    alarms: BinaryHeap<Reverse<(Instant, RoomName)>>,
}

impl Worker {
    pub(super) fn new(
        commands: mpsc::Receiver<Command>,
        gap: Arc<Gap>,
        results: mpsc::WeakSender<Command>,
        around: Surroundings,
    ) -> Self {
        Self { commands, gap, results, around, rooms: HashMap::new(), alarms: BinaryHeap::new() }
    }

    /// Runs until every handle is gone.
    pub(super) async fn run(mut self) {
        loop {
            let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
            let gap = Arc::clone(&self.gap);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command).await,
                    None => return,
                },
                () = gap.wake.notified() => {}
                () = until(alarm) => self.ring().await,
            }
            if self.gap.noted.swap(false, Ordering::AcqRel) {
                self.around.events.gap();
                self.each_room(Room::gap).await;
            }
        }
    }

    async fn take(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Enter { room, entering } => {
                let pace = self.around.pace;
                let begin = || Room::new(room.clone(), pace);
                let effects = self.rooms.entry(room.clone()).or_insert_with(begin).enter(entering, now);
                self.carry_out(&room, effects).await;
            }
            Command::Leave { room, client, how, done } => {
                self.with(&room, |room| room.leave(client, how, now)).await;
                // Nobody waits where the connection's own task was ended.
                done.send(()).unwrap_or_default();
            }
            Command::Online { room, reply } => {
                let online = self.rooms.get(&room).and_then(Room::online);
                reply.send(online).unwrap_or_default();
            }
            Command::News { room, news } => self.with(&room, |room| room.news(news, now)).await,
            Command::Rewrite => self.each_room(Room::rewrite).await,
            Command::Opened { room, opened } => self.with(&room, |room| room.opened(opened, now)).await,
            Command::Closed { room } => self.with(&room, Room::closed).await,
            Command::Past { room, entering, past } => {
                self.with(&room, |room| room.past(entering, past, now)).await;
            }
            Command::Healed { room, healed } => self.with(&room, |room| room.healed(healed, now)).await,
            Command::Wrote { room, taken } => self.with(&room, |room| room.wrote(taken, now)).await,
            Command::Presence { room, state } => self.with(&room, |room| room.presence(state, now)).await,
        }
    }

    async fn ring(&mut self) {
        let now = Instant::now();
        while self.alarms.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, room))) = self.alarms.pop() else { return };
            self.with(&room, |room| room.timer(now)).await;
        }
    }

    async fn each_room(
        &mut self,
        act: impl Fn(&mut Room<Caller, Ticket>, Instant) -> Vec<Effect<Caller, Ticket>>,
    ) {
        let now = Instant::now();
        let rooms: Vec<RoomName> = self.rooms.keys().cloned().collect();
        for room in rooms {
            self.with(&room, |room| act(room, now)).await;
        }
    }

    async fn with(
        &mut self,
        room: &RoomName,
        act: impl FnOnce(&mut Room<Caller, Ticket>) -> Vec<Effect<Caller, Ticket>>,
    ) {
        if let Some(state) = self.rooms.get_mut(room) {
            let effects = act(state);
            self.carry_out(room, effects).await;
        }
    }

    async fn carry_out(&mut self, room: &RoomName, effects: Vec<Effect<Caller, Ticket>>) {
        for effect in effects {
            let Some(state) = self.rooms.get(room) else { return };
            let members = || state.members().map(|(_, client)| client);
            let results = || (self.results.clone(), room.clone());
            match effect {
                Effect::Admit { client, ticket, entered } => admit(room, &client, ticket, &entered),
                Effect::Refuse { ticket } => {
                    let why = "the cluster's memory cannot be reached; try again";
                    ticket.answer.refuse(Refusal::new(Code::Unavailable, why));
                    ticket.done.send(false).unwrap_or_default();
                }
                Effect::Deliver(message) => {
                    self.around.events.delivered(&message, state.members().len());
                    fanout::raw(members(), event::server::MESSAGE, &message.json).await;
                }
                Effect::Resync(epoch) => {
                    self.around.events.resync();
                    let told = Resync { room: room.clone(), epoch };
                    fanout::event(members(), event::server::RESYNC, &told).await;
                }
                Effect::Tell(told) => tell(room, members(), told).await,
                Effect::Typing { user, typing } => {
                    let others =
                        state.members().filter(|(member, _)| *member != user).map(|(_, client)| client);
                    let told = TypingNews { room: room.clone(), user: user.clone(), typing };
                    fanout::event(others, event::server::TYPING, &told).await;
                }
                Effect::Open => self.around.open(results()),
                Effect::Close => self.around.close(results()),
                Effect::ReadAfter { entering, position } => {
                    self.around.read_after(results(), entering, position);
                }
                Effect::ReadNewest { entering } => self.around.read_newest(results(), entering),
                Effect::Heal(position) => self.around.heal(results(), position),
                Effect::Write(change) => self.around.write(results(), change),
                Effect::ReadPresence => self.around.read_presence(results()),
                Effect::Touch => self.around.touch(room.clone()),
                Effect::WakeAt(at) => self.alarms.push(Reverse((at, room.clone()))),
                Effect::Drop => {
                    self.rooms.remove(room);
                }
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Answers a join and lets the client's own events go on.
fn admit(room: &RoomName, client: &Arc<Client>, ticket: Ticket, entered: &Entered) {
    let joined = Joined {
        room: room.clone(),
        epoch: entered.position.epoch.clone(),
        offset: entered.position.offset,
        recovered: entered.recovered,
        messages: entered.messages.iter().map(|message: &Arc<Message>| &message.json).collect(),
        online: entered.online.clone(),
    };
    ticket.answer.give(&joined);
    let Online { count, users } = joined.online;
    client.emit(event::server::ONLINE_USERS, &Snapshot { room: room.clone(), count, users });
    ticket.done.send(true).unwrap_or_default();
}

async fn tell<'a>(room: &RoomName, members: impl Iterator<Item = &'a Arc<Client>>, told: Told) {
    let room = room.clone();
    match told {
        Told::Differences { joined, left, count } => {
            let told = Presence { room, joined, left, count };
            fanout::event(members, event::server::PRESENCE, &told).await;
        }
        Told::Snapshot(Online { count, users }) => {
            let told = Snapshot { room, count, users };
            fanout::event(members, event::server::ONLINE_USERS, &told).await;
        }
    }
}
