//! Owns the rooms of one shard: takes commands in order, lets `state.rs` decide, and carries out the
//! effects: to members through the hub, at once where the room is quiet and in batches where it is busy;
//! to the store through `store_tasks.rs` in tasks whose results come back as commands. Never waits for either.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use roomcast_ops::trace;
use roomcast_protocol::ack::Online;
use roomcast_protocol::server::{Presence, Resync, Snapshot, TypingChanged};
use roomcast_protocol::{Code, Refusal, RoomName};
use tokio::sync::mpsc;

use super::command::{Command, Gap, PendingJoin};
use super::figures::{Activity, Figures, Order, Page, Rank, first, milliseconds};
use super::follower::Follower;
use super::roster::PresenceUpdate;
use super::state::{Effect, Room};
use super::store_tasks::RoomDeps;
use crate::hub::{Batch, Connection, Event, Fanout, Full, Members, Places};

/// How soon a batch that the fan-out had no place for is offered again.
const FANOUT_RETRY: Duration = Duration::from_millis(1);

type Effects = Vec<Effect<Arc<Connection>, PendingJoin>>;

/// A room, its members, and what is on its way to them.
struct RoomEntry {
    room: Room<Arc<Connection>, PendingJoin>,
    members: Members,
    /// Gathered since the last write.
    pending: Batch,
    written_at: Option<Instant>,
    activity: Activity,
    /// Where the room stands, and since when.
    state: (&'static str, Instant),
    /// An alarm will write what is pending.
    alarmed: bool,
}

impl RoomEntry {
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
            members: self.members.len(),
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
    deps: RoomDeps,
    rooms: HashMap<RoomName, RoomEntry>,
    /// A batch waits until the fan-out has a place for it.
    fanout_full: bool,
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
        deps: RoomDeps,
    ) -> Self {
        let (rooms, alarms) = (HashMap::new(), BinaryHeap::new());
        Self { commands, gap, results, fanout, deps, rooms, fanout_full: false, alarms, away_since: None }
    }

    /// Runs until every handle is gone.
    pub(super) async fn run(mut self) {
        loop {
            let alarm = self.alarms.peek().map(|Reverse((at, ..))| *at);
            let gap = Arc::clone(&self.gap);
            tokio::select! {
                // While the fan-out has no place, news waits in the queue, whose overflow is a gap that heals.
                command = self.commands.recv(), if !self.fanout_full => match command {
                    Some(command) => match command.trace() {
                        None => self.take(command),
                        Some(trace) => Box::pin(trace::within(trace, async { self.take(command) })).await,
                    },
                    None => return,
                },
                () = gap.wake.notified() => {}
                () = until(alarm) => self.fire_alarms(),
            }
            if self.gap.noted.swap(false, Ordering::AcqRel) {
                self.deps.telemetry.rooms.gap();
                self.each_room(Room::gap);
            }
        }
    }

    fn take(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Join { room, attempt } => {
                let (timing, away_since) = (self.deps.timing, self.away_since);
                let entry = self.rooms.entry(room.clone()).or_insert_with(|| RoomEntry {
                    room: Room::new(room.clone(), timing, away_since),
                    members: Members::default(),
                    pending: Batch::default(),
                    written_at: None,
                    activity: Activity::new(now),
                    state: ("opening", now),
                    alarmed: false,
                });
                let effects = entry.room.enter(attempt, now);
                self.apply_effects(&room, effects);
            }
            Command::Leave { room, connection, how, done } => {
                self.with(&room, |room| room.leave(connection, how, now));
                // Nobody waits where the connection's own task was ended.
                done.send(()).unwrap_or_default();
            }
            Command::Online { room, reply } => {
                let online = self.rooms.get_mut(&room).and_then(|entry| entry.room.online());
                reply.send(online).unwrap_or_default();
            }
            Command::BusEvent { room, event } => self.with(&room, |room| room.on_bus_event(event, now)),
            Command::Figures { page, reply } => reply.send(self.figures(&page, now)).unwrap_or_default(),
            Command::Rewrite => self.each_room(Room::rewrite),
            Command::Away(since) => {
                self.away_since = since;
                match since {
                    Some(since) => self.each_room(|room, now| room.pause(since, now)),
                    None => self.each_room(Room::resume),
                }
            }
            Command::Opened { room, opened, .. } => self.with(&room, |room| room.opened(opened, now)),
            Command::Closed { room } => self.with(&room, Room::closed),
            Command::LogRead { room, attempt, read } => {
                self.with(&room, |room| room.log_read(attempt, read, now));
            }
            Command::Healed { room, healed } => self.with(&room, |room| room.healed(healed, now)),
            Command::Wrote { room, outcome } => self.with(&room, |room| room.wrote(outcome, now)),
            Command::Presence { room, state } => self.with(&room, |room| room.presence(state, now)),
        }
    }

    fn fire_alarms(&mut self) {
        let now = Instant::now();
        // No more than there are now: what these set again, however soon, comes after the commands that wait.
        for _ in 0..self.alarms.len() {
            if self.alarms.peek().is_none_or(|Reverse((at, ..))| *at > now) {
                return;
            }
            let Some(Reverse((_, alarm, room))) = self.alarms.pop() else { return };
            match alarm {
                Alarm::Timer => self.with(&room, |room| room.timer(now)),
                Alarm::Write => {
                    if let Some(entry) = self.rooms.get_mut(&room) {
                        entry.alarmed = false;
                    }
                    self.flush(&room, Places::Open);
                }
            }
        }
    }

    fn each_room(&mut self, act: impl Fn(&mut Room<Arc<Connection>, PendingJoin>, Instant) -> Effects) {
        let now = Instant::now();
        let rooms: Vec<RoomName> = self.rooms.keys().cloned().collect();
        for room in rooms {
            self.with(&room, |room| act(room, now));
        }
    }

    fn with(
        &mut self,
        room: &RoomName,
        act: impl FnOnce(&mut Room<Arc<Connection>, PendingJoin>) -> Effects,
    ) {
        if let Some(entry) = self.rooms.get_mut(room) {
            let effects = act(&mut entry.room);
            self.apply_effects(room, effects);
        }
    }

    fn apply_effects(&mut self, room: &RoomName, effects: Effects) {
        for effect in effects {
            let results = || (self.results.clone(), room.clone());
            match effect {
                Effect::AddMember { client, pending, joined } => {
                    // What is pending belongs to the answer, and must not follow it; nor must what is under way
                    // to a connection that was a member already.
                    self.change_members(room, |members| members.remove(client.id()));
                    self.flush(room, Places::Reserved);
                    (pending.respond)(Ok(joined));
                    self.deps.telemetry.rooms.joined();
                    self.change_members(room, |members| members.add(room, &client));
                }
                Effect::RemoveMember(client) => self.change_members(room, |members| members.remove(client)),
                Effect::RefuseJoin { pending } => {
                    let why = "the cluster's memory cannot be reached; try again";
                    (pending.respond)(Err(Refusal::new(Code::Unavailable, why)));
                }
                Effect::Deliver(message) => self.push(room, Event::Message(message)),
                Effect::Resync(epoch) => {
                    self.deps.telemetry.rooms.resync();
                    self.push(room, Event::Resync(Resync { room: room.clone(), epoch }));
                }
                Effect::SendPresence(told) => self.push(room, presence_event(room, told)),
                Effect::Typing { user, typing } => {
                    let told = TypingChanged { room: room.clone(), user: user.clone(), typing };
                    if let Some(entry) = self.rooms.get(room) {
                        let batch = Batch::volatile(Event::Typing(told), user);
                        // Where the fan-out is full, nobody misses it.
                        self.fanout.send(&entry.members, batch, Places::Open).unwrap_or_default();
                    }
                }
                Effect::Open => self.deps.open(results()),
                Effect::Close { authors } => self.deps.close(results(), authors),
                Effect::ReadAfter { attempt, position } => {
                    self.deps.read_after(results(), attempt, position);
                }
                Effect::ReadNewest { attempt } => self.deps.read_newest(results(), attempt),
                Effect::Heal(position) => self.deps.heal(results(), position),
                Effect::Write(write) => self.deps.write(results(), write),
                Effect::ReadPresence => self.deps.read_presence(results()),
                Effect::Touch => self.deps.touch(room.clone()),
                Effect::WakeAt(at) => self.alarms.push(Reverse((at, Alarm::Timer, room.clone()))),
                Effect::Drop => drop(self.rooms.remove(room)),
            }
        }
        if let Some(entry) = self.rooms.get_mut(room)
            && entry.state.0 != entry.room.state()
        {
            entry.state = (entry.room.state(), Instant::now());
        }
        self.flush_if_due(room);
    }

    fn figures(&self, page: &Page, now: Instant) -> Vec<(Rank, Figures)> {
        let ranked = self.rooms.iter().map(|(room, entry)| {
            let measure = match page.order {
                Order::Members => entry.members.len() as u64,
                Order::Rate => entry.activity.rate(now),
                Order::Messages => entry.activity.total(),
            };
            ((Reverse(measure), room.as_str()), (room, entry))
        });
        let found = first(ranked, page.after.as_ref(), page.limit).into_iter();
        found
            .map(|((measure, name), (room, entry))| {
                ((measure, name.to_owned()), entry.figures(room.clone(), now))
            })
            .collect()
    }

    fn change_members(&mut self, room: &RoomName, change: impl FnOnce(&mut Members)) {
        if let Some(entry) = self.rooms.get_mut(room) {
            let before = entry.members.len();
            change(&mut entry.members);
            self.deps.telemetry.rooms.members_changed(before, entry.members.len());
        }
    }

    fn push(&mut self, room: &RoomName, event: Event) {
        if let Some(entry) = self.rooms.get_mut(room) {
            entry.pending.push(event);
        }
    }

    /// A quiet room is written at once; a hot one when its last write is long enough ago.
    fn flush_if_due(&mut self, room: &RoomName) {
        let Some(entry) = self.rooms.get_mut(room).filter(|entry| !entry.pending.is_empty()) else { return };
        let due = entry.written_at.map(|at| at + self.deps.gather).filter(|due| *due > Instant::now());
        match due {
            None => self.flush(room, Places::Open),
            Some(due) => self.alarm_write(room, due),
        }
    }

    /// Hands what is pending over to the fan-out.
    fn flush(&mut self, room: &RoomName, places: Places) {
        let Some(entry) = self.rooms.get_mut(room).filter(|entry| !entry.pending.is_empty()) else { return };
        let (batch, now) = (std::mem::take(&mut entry.pending), Instant::now());
        let messages = batch.messages() as u64;
        match self.fanout.send(&entry.members, batch, places) {
            Ok(()) => {
                entry.written_at = Some(now);
                entry.activity.add(messages, now);
                self.fanout_full = false;
            }
            Err(Full(batch)) => {
                entry.pending = *batch;
                self.fanout_full = true;
                self.alarm_write(room, now + FANOUT_RETRY);
            }
        }
    }

    fn alarm_write(&mut self, room: &RoomName, at: Instant) {
        if let Some(entry) = self.rooms.get_mut(room)
            && !std::mem::replace(&mut entry.alarmed, true)
        {
            self.alarms.push(Reverse((at, Alarm::Write, room.clone())));
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn presence_event(room: &RoomName, told: PresenceUpdate) -> Event {
    let room = room.clone();
    match told {
        PresenceUpdate::Differences { joined, left, count } => {
            Event::Presence(Presence { room, joined, left, count })
        }
        PresenceUpdate::Snapshot(Online { count, users }) => {
            Event::OnlineUsers(Snapshot { room, count, users })
        }
    }
}
