//! Owns the rooms of one shard: receives commands in order, passes them to `state.rs`, and carries out the effects.
//! Events go to members through the hub, at once in a quiet room and in batches in a busy one; calls to the store run
//! in tasks (`store_tasks.rs`) whose results arrive as commands. It never waits for either.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use roomcast_ops::{sleep_until, trace};
use roomcast_protocol::ack::Online;
use roomcast_protocol::server::{Presence, Resync, Snapshot, TypingChanged};
use roomcast_protocol::{Code, Refusal, RoomName};
use tokio::sync::mpsc;

use super::command::{Command, Gap, PendingJoin};
use super::effect::{Effect, JoinedRoom};
use super::entry::RoomEntry;
use super::figures::{Figures, Order, Page, Rank, first};
use super::roster::PresenceUpdate;
use super::state::Room;
use super::store_tasks::RoomDeps;
use super::timers::{Timer, Timers};
use super::turns::BroadcastTurns;
use crate::hub::{Batch, Event, Fanout, Full, Members, UserList};

/// How soon a batch is sent again after the fan-out's queue was full.
const FANOUT_RETRY: Duration = Duration::from_millis(1);

type Effects = Vec<Effect<PendingJoin>>;

pub(super) struct Worker {
    commands: mpsc::Receiver<Command>,
    gap: Arc<Gap>,
    results: mpsc::WeakSender<Command>,
    fanout: Fanout,
    deps: RoomDeps,
    /// The room whose events go to all connections, and who sent messages there.
    everyone: RoomName,
    turns: BroadcastTurns,
    rooms: HashMap<RoomName, RoomEntry>,
    timers: Timers,
    /// Since when the store is unreachable.
    unreachable_since: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        commands: mpsc::Receiver<Command>,
        gap: Arc<Gap>,
        results: mpsc::WeakSender<Command>,
        fanout: Fanout,
        (deps, turns): (RoomDeps, BroadcastTurns),
    ) -> Self {
        let (rooms, timers, everyone) = (HashMap::new(), Timers::default(), RoomName::everyone());
        Self { commands, gap, results, fanout, deps, everyone, turns, rooms, timers, unreachable_since: None }
    }

    /// Runs until every [`super::Rooms`] handle is dropped.
    pub(super) async fn run(mut self) {
        loop {
            // While the fan-out's queue is full, commands wait in this worker's own queue; its overflow is a gap, which
            // is healed later.
            let accepts = self.fanout.has_places();
            let timer = self.timers.next();
            let gap = Arc::clone(&self.gap);
            tokio::select! {
                command = self.commands.recv(), if accepts => match command {
                    Some(command) => match command.trace() {
                        None => self.handle(command),
                        Some(trace) => Box::pin(trace::within(trace, async { self.handle(command) })).await,
                    },
                    None => return,
                },
                () = gap.wake.notified(), if accepts => {}
                () = sleep_until(timer) => self.fire_timers(),
                () = tokio::time::sleep(FANOUT_RETRY), if !accepts => {}
            }
            if accepts && self.gap.noted.swap(false, Ordering::AcqRel) {
                self.deps.telemetry.rooms.gap();
                self.each_room(Room::gap);
            }
        }
    }

    fn handle(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Join { room, attempt } => {
                let effects = self.entry(&room, now).room.enter(attempt, now);
                self.apply_effects(&room, effects);
            }
            Command::KeepOpen { room, opened } => {
                let entry = self.entry(&room, now);
                entry.opened.push(opened);
                let effects = entry.room.keep_open();
                self.apply_effects(&room, effects);
            }
            Command::Leave { room, connection, how, done } => {
                self.with(&room, |room| room.leave(connection, how, now));
                // The receiver is dropped where the connection's task was ended.
                done.send(()).unwrap_or_default();
            }
            Command::Online { room, reply } => {
                let online = self.rooms.get_mut(&room).and_then(|entry| entry.room.online());
                reply.send(online).unwrap_or_default();
            }
            Command::BusEvent { room, event } => self.with(&room, |room| room.on_bus_event(event, now)),
            Command::Figures { page, reply } => reply.send(self.figures(&page, now)).unwrap_or_default(),
            Command::Rewrite => self.each_room(Room::rewrite),
            Command::StoreUnreachable(since) => {
                self.unreachable_since = since;
                match since {
                    Some(since) => self.each_room(|room, now| room.pause(since, now)),
                    None => self.each_room(Room::resume),
                }
            }
            Command::Opened { room, opened, .. } => {
                let unreachable_since = self.unreachable_since;
                self.with(&room, |room| room.opened(opened, unreachable_since, now));
                // Where that failed the room is gone, and whoever waits is told by that.
                let waiting = self.rooms.get_mut(&room).map(|entry| std::mem::take(&mut entry.opened));
                waiting.into_iter().flatten().for_each(|opened| opened.send(()).unwrap_or_default());
            }
            Command::Closed { room } => self.with(&room, Room::closed),
            Command::LogRead { room, attempt, read } => {
                self.with(&room, |room| room.log_read(attempt, read, now));
            }
            Command::Replayed { room, attempt, end } => {
                self.with(&room, |room| room.replayed(attempt, end, now));
            }
            Command::Healed { room, healed } => self.with(&room, |room| room.healed(healed, now)),
            Command::Wrote { room, outcome } => self.with(&room, |room| room.wrote(outcome, now)),
            Command::Presence { room, state } => self.with(&room, |room| room.presence(state, now)),
        }
    }

    fn entry(&mut self, room: &RoomName, now: Instant) -> &mut RoomEntry {
        let timing = self.deps.timing;
        self.rooms.entry(room.clone()).or_insert_with(|| RoomEntry::new(room.clone(), timing, now))
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        // At most as many as there are now: timers set meanwhile run after the commands that wait.
        for _ in 0..self.timers.len() {
            match self.timers.pop(now) {
                Some((Timer::Room, room)) => self.with(&room, |room| room.timer(now)),
                Some((Timer::Flush, room)) => self.flush(&room),
                None => return,
            }
        }
    }

    fn each_room(&mut self, act: impl Fn(&mut Room<PendingJoin>, Instant) -> Effects) {
        let now = Instant::now();
        let rooms: Vec<RoomName> = self.rooms.keys().cloned().collect();
        for room in rooms {
            self.with(&room, |room| act(room, now));
        }
    }

    fn with(&mut self, room: &RoomName, act: impl FnOnce(&mut Room<PendingJoin>) -> Effects) {
        if let Some(entry) = self.rooms.get_mut(room) {
            let effects = act(&mut entry.room);
            self.apply_effects(room, effects);
        }
    }

    fn apply_effects(&mut self, room: &RoomName, effects: Effects) {
        for effect in effects {
            let results = || (self.results.clone(), room.clone());
            match effect {
                Effect::AddMember { pending, joined } => self.add_member(room, pending, joined),
                Effect::Replay { mut attempt, joined } => {
                    let position = joined.position.clone();
                    let results = results();
                    self.change_members(room, |members| members.remove(attempt.pending.connection.id()));
                    attempt.pending.answer(Ok(joined));
                    self.deps.telemetry.rooms.joined();
                    self.deps.replay(results, attempt, position);
                }
                Effect::ContinueReplay { attempt, position } => {
                    self.deps.replay(results(), attempt, position);
                }
                Effect::EndReplay { pending, messages, resync, online } => {
                    // Not to this client: its messages include what is pending.
                    self.flush(room);
                    let PendingJoin { connection, done, .. } = pending;
                    let resync = resync.map(|epoch| Event::Resync(Resync { room: room.clone(), epoch }));
                    let present = Event::OnlineUsers(Snapshot {
                        room: room.clone(),
                        count: online.count,
                        users: online.users,
                    });
                    let events = messages.into_iter().map(Event::Message).chain(resync).chain([present]);
                    events.for_each(|event| connection.send_own(&event));
                    self.change_members(room, |members| members.add(room, &connection));
                    done.send(true).unwrap_or_default();
                }
                Effect::RemoveMember(id) => self.change_members(room, |members| members.remove(id)),
                Effect::RefuseJoin { mut pending } => {
                    let why = "the cluster's memory cannot be reached; try again";
                    pending.answer(Err(Refusal::new(Code::Unavailable, why)));
                    pending.done.send(false).unwrap_or_default();
                }
                Effect::Deliver(message) => {
                    if *room == self.everyone
                        && let Some((user, id)) = message.sender_and_id()
                    {
                        self.turns.note(user, id, Instant::now());
                    }
                    self.push(room, Event::Message(message));
                }
                // Nobody reads the rooms of the server itself.
                Effect::Resync(_) if room.is_reserved() => {}
                Effect::Resync(epoch) => {
                    self.deps.telemetry.rooms.resync();
                    self.push(room, Event::Resync(Resync { room: room.clone(), epoch }));
                }
                Effect::SendPresence(update) => {
                    let users = self.rooms.get_mut(room).map(|entry| entry.room.listed()).unwrap_or_default();
                    self.push(room, presence_event(room, update, users));
                }
                Effect::Typing { user, typing } => {
                    let update = TypingChanged { room: room.clone(), user: user.clone(), typing };
                    if let Some(entry) = self.rooms.get(room) {
                        let batch = Batch::volatile(Event::Typing(update), user);
                        // Dropped where the fan-out's queue is full: typing is volatile.
                        self.fanout.send(&entry.members, batch).unwrap_or_default();
                    }
                }
                Effect::Open => self.deps.open(results()),
                Effect::Close { writers } => self.deps.close(results(), writers),
                Effect::ReadAfter { attempt, position } => {
                    self.deps.read_after(results(), attempt, position);
                }
                Effect::ReadNewest { attempt } => self.deps.read_newest(results(), attempt),
                Effect::Heal(position) => self.deps.heal(results(), position),
                Effect::Write(write) => self.deps.write(results(), write),
                Effect::ReadPresence => self.deps.read_presence(results()),
                Effect::Touch => self.deps.touch(room.clone()),
                Effect::WakeAt(at) => self.timers.set(room, Timer::Room, at),
                Effect::Drop => {
                    self.rooms.remove(room);
                    self.timers.remove(room);
                }
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

    /// Answers a join and makes the connection a member. Whatever of the room it receives before the answer is at or below
    /// the position of the answer, whatever it receives after that is above it.
    fn add_member(&mut self, room: &RoomName, mut pending: PendingJoin, joined: JoinedRoom) {
        let connection = Arc::clone(&pending.connection);
        if pending.observes {
            pending.answer(Ok(joined));
            self.change_members(room, |members| members.observe(room, &connection));
            // The connection's task may have ended.
            pending.done.send(true).unwrap_or_default();
            return;
        }
        self.deps.telemetry.rooms.joined();
        // An answer with messages includes what is pending, so that must not be sent to this client as well, also where
        // the connection was a member already.
        if joined.recovered || !joined.messages.is_empty() {
            self.change_members(room, |members| members.remove(connection.id()));
        }
        let before = self.rooms.get(room).and_then(|entry| entry.members.get(connection.id()));
        // A command is accepted only while the fan-out's queue has places for this and for the answer.
        self.flush(room);
        debug_assert!(self.rooms.get(room).is_none_or(|entry| entry.pending.is_empty()));
        let Some(membership) = before else {
            pending.answer(Ok(joined));
            self.change_members(room, |members| members.add(room, &connection));
            pending.done.send(true).unwrap_or_default();
            return;
        };
        // It asked for no messages and gets what was sent to it before: its answer comes after that.
        let answer = Box::new(move || {
            membership.join();
            pending.answer(Ok(joined));
            pending.done.send(true).unwrap_or_default();
        });
        if let Some(entry) = self.rooms.get(room) {
            self.fanout.call_after(&entry.members, answer);
        }
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

    /// Flushes a quiet room at once, and a busy one when the batch window since its last flush has passed.
    fn flush_if_due(&mut self, room: &RoomName) {
        let Some(entry) = self.rooms.get_mut(room).filter(|entry| !entry.pending.is_empty()) else { return };
        let due = entry.flushed_at.map(|at| at + self.deps.batch_window).filter(|due| *due > Instant::now());
        match due {
            None => self.flush(room),
            Some(due) if !self.timers.is_set(room, Timer::Flush) => self.timers.set(room, Timer::Flush, due),
            Some(_) => {}
        }
    }

    /// Passes the pending batch to the fan-out.
    fn flush(&mut self, room: &RoomName) {
        let Some(entry) = self.rooms.get_mut(room).filter(|entry| !entry.pending.is_empty()) else { return };
        let (batch, now) = (std::mem::take(&mut entry.pending), Instant::now());
        let messages = batch.messages() as u64;
        let sent = if *room == self.everyone {
            self.fanout.send_to(self.deps.registry.all(), &entry.members, batch)
        } else {
            self.fanout.send(&entry.members, batch)
        };
        match sent {
            Ok(()) => {
                entry.flushed_at = Some(now);
                entry.activity.add(messages, now);
            }
            Err(Full(batch)) => {
                entry.pending = *batch;
                self.timers.set(room, Timer::Flush, now + FANOUT_RETRY);
            }
        }
    }
}

/// `users` are the room's users after the update.
fn presence_event(room: &RoomName, update: PresenceUpdate, users: UserList) -> Event {
    let room = room.clone();
    match update {
        PresenceUpdate::Differences { joined, left, count } => {
            Event::Presence { change: Presence { room, joined, left, count }, users }
        }
        PresenceUpdate::Snapshot(Online { count, users }) => {
            Event::OnlineUsers(Snapshot { room, count, users })
        }
    }
}
