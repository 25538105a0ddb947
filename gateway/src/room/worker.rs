//! Owns the rooms of one shard: takes commands in order, lets `state.rs` decide, and carries out the
//! effects: to clients through `fanout.rs`, at once where the room is quiet and gathered where it is hot;
//! to the store through `work.rs` in tasks whose results come back as commands. Never waits for the store.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use roomcast_ops::trace::{self, Trace};
use roomcast_protocol::ack::{Joined, Online};
use roomcast_protocol::server::{Presence, Resync, Snapshot, TypingNews};
use roomcast_protocol::{Code, Refusal, RoomName, event};
use roomcast_store::{Incarnation, News, Opened, RoomState};
use tokio::sync::{mpsc, oneshot};

use super::figures::{Activity, Figures, Order, Page, Rank, first, milliseconds};
use super::follower::{Follower, Healed, Message};
use super::roster::{Told, WriteOutcome};
use super::state::{ClientId, Effect, Entered, Entering, Past, Room};
use super::work::Surroundings;
use super::{Departure, Gap, Ticket};
use crate::client::Client;
use crate::fanout::{Batch, Fanout, Payload, Seats};

type Caller = Arc<Client>;
type Effects = Vec<Effect<Caller, Ticket>>;

pub(super) enum Command {
    Enter {
        room: RoomName,
        entering: Entering<Caller, Ticket>,
    },
    Leave {
        room: RoomName,
        client: ClientId,
        how: Departure,
        done: oneshot::Sender<()>,
    },
    Online {
        room: RoomName,
        reply: oneshot::Sender<Option<Online>>,
    },
    News {
        room: RoomName,
        news: News,
    },
    Rewrite,
    /// The store is away since then, or back.
    Away(Option<Instant>),
    Figures {
        page: Page,
        reply: oneshot::Sender<Vec<(Rank, Figures)>>,
    },
    Opened {
        room: RoomName,
        opened: Option<(Opened, RoomState, Option<Incarnation>)>,
        trace: Option<Trace>,
    },
    Closed {
        room: RoomName,
    },
    Past {
        room: RoomName,
        entering: Entering<Caller, Ticket>,
        past: Past,
    },
    Healed {
        room: RoomName,
        healed: Healed,
    },
    Wrote {
        room: RoomName,
        outcome: WriteOutcome,
    },
    Presence {
        room: RoomName,
        state: Option<RoomState>,
    },
}

impl Command {
    /// The request that it belongs to: store, log lines and further messages follow from it.
    fn trace(&self) -> Option<Trace> {
        match self {
            Self::Enter { entering, .. } | Self::Past { entering, .. } => entering.ticket.trace,
            Self::News { news: News::Message(entry), .. } => {
                entry.trace.as_ref().map(|origin| origin.trace())
            }
            Self::Opened { trace, .. } => *trace,
            _ => None,
        }
    }
}

/// A room, and what is on its way to its members.
struct Hall {
    room: Room<Caller, Ticket>,
    seats: Seats,
    /// Gathered since the last write.
    pending: Batch,
    written_at: Option<Instant>,
    activity: Activity,
    /// Where the room stands, and since when.
    state: (&'static str, Instant),
    /// An alarm will write what is pending.
    alarmed: bool,
}

impl Hall {
    fn figures(&self, room: RoomName, now: Instant) -> Figures {
        let follower = self.room.follower();
        let (state, since) = self.state;
        #[expect(clippy::cast_precision_loss, reason = "nobody says that much in a second")]
        let messages_per_second = self.activity.rate(now) as f64 / 1_000.0;
        Figures {
            room,
            state,
            state_ms: milliseconds(now.saturating_duration_since(since)),
            age_ms: milliseconds(self.activity.age(now)),
            members: self.seats.len(),
            waiting: self.room.waiting(),
            messages: self.activity.total(),
            messages_per_second,
            offset: follower.map(|follower| follower.position().offset),
            healing: follower.is_some_and(Follower::is_healing),
            pending: self.pending.len(),
        }
    }
}

/// Why a room wants to be looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Timer,
    Write,
}

pub(super) struct Worker {
    commands: mpsc::Receiver<Command>,
    gap: Arc<Gap>,
    results: mpsc::WeakSender<Command>,
    fanout: Fanout,
    around: Surroundings,
    halls: HashMap<RoomName, Hall>,
    alarms: BinaryHeap<Reverse<(Instant, Alarm, RoomName)>>,
    /// Since when the store is away.
    away_since: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        commands: mpsc::Receiver<Command>,
        gap: Arc<Gap>,
        results: mpsc::WeakSender<Command>,
        fanout: Fanout,
        around: Surroundings,
    ) -> Self {
        let (halls, alarms) = (HashMap::new(), BinaryHeap::new());
        Self { commands, gap, results, fanout, around, halls, alarms, away_since: None }
    }

    /// Runs until every handle is gone.
    pub(super) async fn run(mut self) {
        loop {
            let alarm = self.alarms.peek().map(|Reverse((at, ..))| *at);
            let gap = Arc::clone(&self.gap);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => match command.trace() {
                        None => self.take(command).await,
                        Some(trace) => Box::pin(trace::within(trace, self.take(command))).await,
                    },
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
                let (pace, away_since) = (self.around.pace, self.away_since);
                let hall = self.halls.entry(room.clone()).or_insert_with(|| Hall {
                    room: Room::new(room.clone(), pace, away_since),
                    seats: Seats::default(),
                    pending: Batch::default(),
                    written_at: None,
                    activity: Activity::new(now),
                    state: ("opening", now),
                    alarmed: false,
                });
                let effects = hall.room.enter(entering, now);
                self.carry_out(&room, effects).await;
            }
            Command::Leave { room, client, how, done } => {
                self.with(&room, |room| room.leave(client, how, now)).await;
                // Nobody waits where the connection's own task was ended.
                done.send(()).unwrap_or_default();
            }
            Command::Online { room, reply } => {
                let online = self.halls.get_mut(&room).and_then(|hall| hall.room.online());
                reply.send(online).unwrap_or_default();
            }
            Command::News { room, news } => self.with(&room, |room| room.news(news, now)).await,
            Command::Figures { page, reply } => reply.send(self.figures(&page, now)).unwrap_or_default(),
            Command::Rewrite => self.each_room(Room::rewrite).await,
            Command::Away(since) => {
                self.away_since = since;
                match since {
                    Some(since) => self.each_room(|room, now| room.pause(since, now)).await,
                    None => self.each_room(Room::resume).await,
                }
            }
            Command::Opened { room, opened, .. } => self.with(&room, |room| room.opened(opened, now)).await,
            Command::Closed { room } => self.with(&room, Room::closed).await,
            Command::Past { room, entering, past } => {
                self.with(&room, |room| room.past(entering, past, now)).await;
            }
            Command::Healed { room, healed } => self.with(&room, |room| room.healed(healed, now)).await,
            Command::Wrote { room, outcome } => self.with(&room, |room| room.wrote(outcome, now)).await,
            Command::Presence { room, state } => self.with(&room, |room| room.presence(state, now)).await,
        }
    }

    async fn ring(&mut self) {
        let now = Instant::now();
        // No more than there are now: what these set again, however soon, comes after the commands that wait.
        for _ in 0..self.alarms.len() {
            if self.alarms.peek().is_none_or(|Reverse((at, ..))| *at > now) {
                return;
            }
            let Some(Reverse((_, alarm, room))) = self.alarms.pop() else { return };
            match alarm {
                Alarm::Timer => self.with(&room, |room| room.timer(now)).await,
                Alarm::Write => {
                    if let Some(hall) = self.halls.get_mut(&room) {
                        hall.alarmed = false;
                    }
                    self.write(&room).await;
                }
            }
        }
    }

    async fn each_room(&mut self, act: impl Fn(&mut Room<Caller, Ticket>, Instant) -> Effects) {
        let now = Instant::now();
        let rooms: Vec<RoomName> = self.halls.keys().cloned().collect();
        for room in rooms {
            self.with(&room, |room| act(room, now)).await;
        }
    }

    async fn with(&mut self, room: &RoomName, act: impl FnOnce(&mut Room<Caller, Ticket>) -> Effects) {
        if let Some(hall) = self.halls.get_mut(room) {
            let effects = act(&mut hall.room);
            self.carry_out(room, effects).await;
        }
    }

    async fn carry_out(&mut self, room: &RoomName, effects: Effects) {
        for effect in effects {
            let results = || (self.results.clone(), room.clone());
            match effect {
                Effect::Admit { client, ticket, entered } => {
                    // What is pending belongs to the answer, and must not follow it; nor must what is
                    // under way to a client that was here already.
                    self.reseat(room, |seats| seats.remove(client.id()));
                    self.write(room).await;
                    admit(room, ticket, entered);
                    self.around.events.joined();
                    self.reseat(room, |seats| seats.add(client));
                }
                Effect::Unseat(client) => self.reseat(room, |seats| seats.remove(client)),
                Effect::Refuse { ticket } => {
                    let why = "the cluster's memory cannot be reached; try again";
                    ticket.answer.refuse(Refusal::new(Code::Unavailable, why));
                    ticket.done.send(false).unwrap_or_default();
                }
                Effect::Deliver(message) => {
                    self.gather(room, |batch| batch.push(event::server::MESSAGE, Payload::Message(message)));
                }
                Effect::Resync(epoch) => {
                    self.around.events.resync();
                    let told = Resync { room: room.clone(), epoch };
                    self.gather(room, |batch| batch.push_new(event::server::RESYNC, &told));
                }
                Effect::Tell(told) => self.gather(room, |batch| tell(room, batch, told)),
                Effect::Typing { user, typing } => {
                    let told = TypingNews { room: room.clone(), user: user.clone(), typing };
                    if let Some(hall) = self.halls.get(room) {
                        let batch = Batch::volatile(event::server::TYPING, &told, user);
                        self.fanout.send(&hall.seats, batch).await;
                    }
                }
                Effect::Open => self.around.open(results()),
                Effect::Close { authors } => self.around.close(results(), authors),
                Effect::ReadAfter { entering, position } => {
                    self.around.read_after(results(), entering, position);
                }
                Effect::ReadNewest { entering } => self.around.read_newest(results(), entering),
                Effect::Heal(position) => self.around.heal(results(), position),
                Effect::Write(write) => self.around.write(results(), write),
                Effect::ReadPresence => self.around.read_presence(results()),
                Effect::Touch => self.around.touch(room.clone()),
                Effect::WakeAt(at) => self.alarms.push(Reverse((at, Alarm::Timer, room.clone()))),
                Effect::Drop => drop(self.halls.remove(room)),
            }
        }
        if let Some(hall) = self.halls.get_mut(room)
            && hall.state.0 != hall.room.state()
        {
            hall.state = (hall.room.state(), Instant::now());
        }
        self.write_if_due(room).await;
    }

    fn figures(&self, page: &Page, now: Instant) -> Vec<(Rank, Figures)> {
        let ranked = self.halls.iter().map(|(room, hall)| {
            let measure = match page.order {
                Order::Members => hall.seats.len() as u64,
                Order::Rate => hall.activity.rate(now),
                Order::Messages => hall.activity.total(),
            };
            ((Reverse(measure), room.as_str()), (room, hall))
        });
        let found = first(ranked, page.after.as_ref(), page.limit).into_iter();
        found
            .map(|((measure, name), (room, hall))| {
                ((measure, name.to_owned()), hall.figures(room.clone(), now))
            })
            .collect()
    }

    fn reseat(&mut self, room: &RoomName, act: impl FnOnce(&mut Seats)) {
        if let Some(hall) = self.halls.get_mut(room) {
            let before = hall.seats.len();
            act(&mut hall.seats);
            self.around.events.seated(before, hall.seats.len());
        }
    }

    fn gather(&mut self, room: &RoomName, add: impl FnOnce(&mut Batch)) {
        if let Some(hall) = self.halls.get_mut(room) {
            add(&mut hall.pending);
        }
    }

    /// A quiet room is written at once; a hot one when its last write is long enough ago.
    async fn write_if_due(&mut self, room: &RoomName) {
        let Some(hall) = self.halls.get_mut(room).filter(|hall| !hall.pending.is_empty()) else { return };
        let due = hall.written_at.map(|at| at + self.around.gather).filter(|due| *due > Instant::now());
        match due {
            None => self.write(room).await,
            Some(due) => {
                if !std::mem::replace(&mut hall.alarmed, true) {
                    self.alarms.push(Reverse((due, Alarm::Write, room.clone())));
                }
            }
        }
    }

    async fn write(&mut self, room: &RoomName) {
        let Some(hall) = self.halls.get_mut(room).filter(|hall| !hall.pending.is_empty()) else { return };
        let (batch, now) = (std::mem::take(&mut hall.pending), Instant::now());
        hall.written_at = Some(now);
        hall.activity.add(batch.messages() as u64, now);
        self.fanout.send(&hall.seats, batch).await;
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Answers a join and lets the client's own events go on.
fn admit(room: &RoomName, ticket: Ticket, entered: Entered) {
    let Online { count, users } = entered.online.clone();
    let snapshot = Snapshot { room: room.clone(), count, users };
    let joined = Joined {
        room: room.clone(),
        epoch: entered.position.epoch,
        offset: entered.position.offset,
        recovered: entered.recovered,
        messages: entered.messages.iter().map(|message: &Arc<Message>| &message.json).collect(),
        online: entered.online,
    };
    ticket.answer.give_with(&joined, event::server::ONLINE_USERS, &snapshot);
    ticket.done.send(true).unwrap_or_default();
}

fn tell(room: &RoomName, batch: &mut Batch, told: Told) {
    let room = room.clone();
    match told {
        Told::Differences { joined, left, count } => {
            batch.push_new(event::server::PRESENCE, &Presence { room, joined, left, count });
        }
        Told::Snapshot(Online { count, users }) => {
            batch.push_new(event::server::ONLINE_USERS, &Snapshot { room, count, users });
        }
    }
}
