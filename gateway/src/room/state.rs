//! One room on this node, from the first join to the last leave: absent, subscribing, live, lingering,
//! unsubscribing. Pure: what happens in, [`Effect`]s out, in the order they must be carried out. Called
//! by `room/worker.rs`; generic over clients (`C`) and pending answers (`T`) so that tests need neither.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast_protocol::ack::Online;
use roomcast_protocol::limits::MAX_REPLAY;
use roomcast_protocol::{Epoch, Position, RoomName, UserName};
use roomcast_store::{BusEvent, Incarnation, Opened, Replay, RoomState};

use super::follower::{Follower, Healed, Since, Step};
use super::roster::{PresenceUpdate, Roster, Write, WriteOutcome};
use crate::hub::{ConnectionId, Message};
use crate::users::stay::{Departure, Stays};

/// How long a room stays subscribed after its last user went: joins come in flocks.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// News that may wait while a room is being opened; more are a gap, healed once it is.
const STASH: usize = 1_024;

/// A client that wants to enter.
#[derive(Debug)]
pub(crate) struct JoinAttempt<C, T> {
    pub(crate) id: ConnectionId,
    pub(crate) client: C,
    pub(crate) user: UserName,
    pub(crate) since: Option<Position>,
    pub(crate) limit: usize,
    /// Where the answer goes.
    pub(crate) pending: T,
}

/// The answer to a join.
#[derive(Debug)]
pub(crate) struct JoinedRoom {
    pub(crate) room: RoomName,
    pub(crate) position: Position,
    pub(crate) recovered: bool,
    pub(crate) messages: Vec<Arc<Message>>,
    pub(crate) online: Online,
}

/// A read of the log on behalf of a join.
#[derive(Debug)]
pub(crate) enum LogRead {
    After(Replay),
    Newest(Vec<roomcast_store::Entry>),
    Failed,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Effect<C, T> {
    /// Subscribe, then read log and presence; answer with [`Room::opened`].
    Open,
    /// Unsubscribe, and close the room in the store under these incarnations; answer with [`Room::closed`].
    Close { authors: Vec<Incarnation> },
    /// Answer a join: before anything else of this room reaches the client.
    AddMember { client: C, pending: T, joined: JoinedRoom },
    /// The client is no member any more.
    RemoveMember(ConnectionId),
    /// Refuse a join: the store cannot be reached.
    RefuseJoin { pending: T },
    /// Read what a join needs; answer with [`Room::log_read`].
    ReadAfter { attempt: JoinAttempt<C, T>, position: Position },
    /// The same, without a position: the newest messages.
    ReadNewest { attempt: JoinAttempt<C, T> },
    /// Read what came after; answer with [`Room::healed`].
    Heal(Position),
    /// Give a message to every member.
    Deliver(Arc<Message>),
    /// Tell every member to read the room anew.
    Resync(Epoch),
    /// Tell every member who is here.
    SendPresence(PresenceUpdate),
    /// Tell every member but the user's own.
    Typing { user: UserName, typing: bool },
    /// Write this node's facts; answer with [`Room::wrote`].
    Write(Write),
    /// Read the room's presence; answer with [`Room::presence`].
    ReadPresence,
    /// Put off the expiry of the room's log.
    Touch,
    /// Call [`Room::timer`] then.
    WakeAt(Instant),
    /// Forget the room.
    Drop,
}

type Effects<C, T> = Vec<Effect<C, T>>;

enum Phase<C, T> {
    Opening { waiting: Vec<JoinAttempt<C, T>>, asked: bool, stash: Vec<BusEvent>, overflowed: bool },
    Open(Box<Live>),
    Closing { waiting: Vec<JoinAttempt<C, T>> },
}

struct Live {
    follower: Follower,
    roster: Roster,
    idle_since: Option<Instant>,
    touched_at: Instant,
}

/// How a room behaves in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoomTiming {
    /// How long a user whose transport went stays.
    pub(crate) grace: Duration,
    /// How often the expiry of a room with members is put off.
    pub(crate) touch: Duration,
}

/// The room.
pub(crate) struct Room<C, T> {
    name: RoomName,
    timing: RoomTiming,
    phase: Phase<C, T>,
    members: HashMap<ConnectionId, UserName>,
    woken_at: Option<Instant>,
    /// Since when the store is away.
    away_since: Option<Instant>,
}

impl<C, T> Room<C, T> {
    /// `away_since` is since when the store is away, where it is.
    pub(crate) fn new(name: RoomName, timing: RoomTiming, away_since: Option<Instant>) -> Self {
        let phase =
            Phase::Opening { waiting: Vec::new(), asked: false, stash: Vec::new(), overflowed: false };
        Self { name, timing, phase, members: HashMap::new(), woken_at: None, away_since }
    }

    /// Where it stands in its life.
    pub(crate) fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Opening { .. } => "opening",
            Phase::Open(live) if live.idle_since.is_some() => "lingering",
            Phase::Open(_) => "live",
            Phase::Closing { .. } => "closing",
        }
    }

    /// Joins that wait until the room is open.
    pub(crate) fn waiting(&self) -> usize {
        match &self.phase {
            Phase::Opening { waiting, .. } | Phase::Closing { waiting } => waiting.len(),
            Phase::Open(_) => 0,
        }
    }

    /// What it follows, where it is open.
    pub(crate) fn follower(&self) -> Option<&Follower> {
        match &self.phase {
            Phase::Open(live) => Some(&live.follower),
            _ => None,
        }
    }

    /// Who is here, where the room is open: for one who asks.
    pub(crate) fn online(&mut self) -> Option<Online> {
        match &mut self.phase {
            Phase::Open(live) => Some(live.roster.give_list()),
            _ => None,
        }
    }

    /// A client enters. Its answer is an effect, now or after what has to be read first.
    pub(crate) fn enter(&mut self, attempt: JoinAttempt<C, T>, now: Instant) -> Effects<C, T> {
        let mut effects = Vec::new();
        match &mut self.phase {
            Phase::Opening { waiting, asked, .. } => {
                // Once, also where those who waited left before it was open.
                if !std::mem::replace(asked, true) {
                    effects.push(Effect::Open);
                }
                waiting.push(attempt);
            }
            Phase::Closing { waiting } => waiting.push(attempt),
            Phase::Open(_) => self.admit(attempt, &mut effects),
        }
        self.advance(now, effects)
    }

    /// A client leaves.
    pub(crate) fn leave(&mut self, id: ConnectionId, how: Departure, now: Instant) -> Effects<C, T> {
        if let Phase::Opening { waiting, .. } | Phase::Closing { waiting } = &mut self.phase {
            waiting.retain(|attempt| attempt.id != id);
        }
        let mut effects = Vec::new();
        if let Some(user) = self.members.remove(&id) {
            effects.push(Effect::RemoveMember(id));
            if let Phase::Open(live) = &mut self.phase {
                live.roster.depart(&user, how, now);
            }
        }
        self.advance(now, effects)
    }

    /// The room is subscribed and indexed by this incarnation, and this is how it stood after that. None: it
    /// could not be.
    pub(crate) fn opened(
        &mut self,
        opened: Option<(Opened, RoomState, Option<Incarnation>)>,
        now: Instant,
    ) -> Effects<C, T> {
        let Phase::Opening { waiting, stash, overflowed, .. } = &mut self.phase else { return Vec::new() };
        let (waiting, stash) = (std::mem::take(waiting), std::mem::take(stash));
        let overflowed = *overflowed;
        let Some((opened, presence, indexed)) = opened else {
            let refusals = waiting.into_iter().map(|attempt| Effect::RefuseJoin { pending: attempt.pending });
            return refusals.chain([Effect::Drop]).collect();
        };
        let follower = Follower::begin(self.name.clone(), opened);
        let stays = Stays::new(self.timing.grace, self.away_since);
        let roster = Roster::begin(stays, presence, indexed);
        self.phase = Phase::Open(Box::new(Live { follower, roster, idle_since: None, touched_at: now }));
        let mut effects = Vec::new();
        for event in stash {
            self.handle_bus_event(event, &mut effects);
        }
        if overflowed {
            self.note_gap(&mut effects);
        }
        for attempt in waiting {
            self.admit(attempt, &mut effects);
        }
        self.advance(now, effects)
    }

    /// The room is unsubscribed.
    pub(crate) fn closed(&mut self) -> Effects<C, T> {
        let Phase::Closing { waiting } = &mut self.phase else { return Vec::new() };
        if waiting.is_empty() {
            return vec![Effect::Drop];
        }
        let waiting = std::mem::take(waiting);
        self.phase = Phase::Opening { waiting, asked: true, stash: Vec::new(), overflowed: false };
        vec![Effect::Open]
    }

    /// News from the bus.
    pub(crate) fn on_bus_event(&mut self, event: BusEvent, now: Instant) -> Effects<C, T> {
        let mut effects = Vec::new();
        self.handle_bus_event(event, &mut effects);
        self.advance(now, effects)
    }

    /// News may have been missed.
    pub(crate) fn gap(&mut self, now: Instant) -> Effects<C, T> {
        let mut effects = Vec::new();
        self.note_gap(&mut effects);
        self.advance(now, effects)
    }

    /// What [`Effect::Heal`] read.
    pub(crate) fn healed(&mut self, healed: Healed, now: Instant) -> Effects<C, T> {
        let mut effects = Vec::new();
        if let Phase::Open(live) = &mut self.phase {
            let mut steps = Vec::new();
            live.follower.healed(healed, &mut steps);
            carry(steps, &mut effects);
        }
        self.advance(now, effects)
    }

    /// What a join needed from the log.
    pub(crate) fn log_read(
        &mut self,
        attempt: JoinAttempt<C, T>,
        read: LogRead,
        now: Instant,
    ) -> Effects<C, T> {
        let mut effects = Vec::new();
        let Phase::Open(live) = &self.phase else {
            return vec![Effect::RefuseJoin { pending: attempt.pending }];
        };
        let judged = match read {
            LogRead::Failed => return vec![Effect::RefuseJoin { pending: attempt.pending }],
            LogRead::After(Replay::Whole(opened)) => {
                let from = attempt.since.as_ref().map_or(0, |since| since.offset);
                Ok(live.follower.join_on(opened.newest, from))
            }
            LogRead::After(Replay::Lost(_)) => Err(live.follower.newest(attempt.limit)),
            LogRead::Newest(entries) => {
                let from = entries.last().map_or(live.follower.position().offset, |entry| entry.offset);
                Err(live.follower.join_on(entries, from))
            }
        };
        match (judged, attempt.since.clone()) {
            (Ok(Some(messages)), _) => self.add_member(attempt, true, messages, &mut effects),
            (Err(Some(messages)), _) => self.add_member(attempt, false, messages, &mut effects),
            // The room went on by more than this node remembers while the log was read: read again.
            (Ok(None), Some(position)) => effects.push(Effect::ReadAfter { attempt, position }),
            (Ok(None) | Err(None), _) => effects.push(Effect::ReadNewest { attempt }),
        }
        self.advance(now, effects)
    }

    /// What became of [`Effect::Write`].
    pub(crate) fn wrote(&mut self, outcome: WriteOutcome, now: Instant) -> Effects<C, T> {
        if let Phase::Open(live) = &mut self.phase {
            live.roster.wrote(outcome, now);
        }
        self.advance(now, Vec::new())
    }

    /// What [`Effect::ReadPresence`] read.
    pub(crate) fn presence(&mut self, state: Option<RoomState>, now: Instant) -> Effects<C, T> {
        let mut effects = Vec::new();
        if let Phase::Open(live) = &mut self.phase {
            effects.extend(live.roster.read(state, now).map(Effect::SendPresence));
        }
        self.advance(now, effects)
    }

    /// The store may know something else of this node than is true.
    pub(crate) fn rewrite(&mut self, now: Instant) -> Effects<C, T> {
        if let Phase::Open(live) = &mut self.phase {
            live.roster.rewrite();
        }
        self.advance(now, Vec::new())
    }

    /// The store is away, and was last heard of then.
    pub(crate) fn pause(&mut self, since: Instant, now: Instant) -> Effects<C, T> {
        self.away_since = Some(since);
        if let Phase::Open(live) = &mut self.phase {
            live.roster.pause(since);
        }
        self.advance(now, Vec::new())
    }

    /// It is back.
    pub(crate) fn resume(&mut self, now: Instant) -> Effects<C, T> {
        self.away_since = None;
        if let Phase::Open(live) = &mut self.phase {
            live.roster.resume(now);
        }
        self.advance(now, Vec::new())
    }

    /// The time asked for with [`Effect::WakeAt`] has come.
    pub(crate) fn timer(&mut self, now: Instant) -> Effects<C, T> {
        self.woken_at = None;
        self.advance(now, Vec::new())
    }

    fn handle_bus_event(&mut self, event: BusEvent, effects: &mut Effects<C, T>) {
        match &mut self.phase {
            Phase::Opening { stash, overflowed, .. } => {
                if stash.len() < STASH {
                    stash.push(event);
                } else {
                    *overflowed = true;
                }
            }
            Phase::Open(live) => match event {
                BusEvent::Message(entry) => {
                    let mut steps = Vec::new();
                    live.follower.entry(entry, &mut steps);
                    carry(steps, effects);
                }
                BusEvent::Presence { version, count, joined, left } => {
                    live.roster.on_event(version, count, joined, left);
                }
                BusEvent::Returned { node, users } => live.roster.returned(&node, &users),
                BusEvent::Typing { user, typing } => effects.push(Effect::Typing { user, typing }),
            },
            Phase::Closing { .. } => {}
        }
    }

    fn note_gap(&mut self, effects: &mut Effects<C, T>) {
        match &mut self.phase {
            Phase::Opening { overflowed, .. } => *overflowed = true,
            Phase::Open(live) => {
                let mut steps = Vec::new();
                live.follower.gap(&mut steps);
                live.roster.gap();
                carry(steps, effects);
            }
            Phase::Closing { .. } => {}
        }
    }

    /// Lets a client in where this node remembers enough, or asks for what it needs.
    fn admit(&mut self, attempt: JoinAttempt<C, T>, effects: &mut Effects<C, T>) {
        let Phase::Open(live) = &self.phase else { return };
        let (recovered, messages) = match &attempt.since {
            Some(position) => match live.follower.since(position) {
                Since::Here(messages) if messages.len() <= MAX_REPLAY => (true, Some(messages)),
                Since::AskTheLog => {
                    let position = position.clone();
                    effects.push(Effect::ReadAfter { attempt, position });
                    return;
                }
                Since::Here(_) | Since::Lost => (false, live.follower.newest(attempt.limit)),
            },
            None => (false, live.follower.newest(attempt.limit)),
        };
        match messages {
            Some(messages) => self.add_member(attempt, recovered, messages, effects),
            None => effects.push(Effect::ReadNewest { attempt }),
        }
    }

    fn add_member(
        &mut self,
        attempt: JoinAttempt<C, T>,
        recovered: bool,
        messages: Vec<Arc<Message>>,
        effects: &mut Effects<C, T>,
    ) {
        let Phase::Open(live) = &mut self.phase else { return };
        let JoinAttempt { id, client, user, pending, .. } = attempt;
        if self.members.insert(id, user.clone()).is_none() {
            live.roster.arrive(&user);
        }
        let joined = JoinedRoom {
            room: self.name.clone(),
            position: live.follower.position().clone(),
            recovered,
            messages,
            online: live.roster.give_list(),
        };
        effects.push(Effect::AddMember { client, pending, joined });
    }

    /// What follows from the state, whatever happened: writes, reads, news that are due, closing.
    fn advance(&mut self, now: Instant, mut effects: Effects<C, T>) -> Effects<C, T> {
        let Phase::Open(live) = &mut self.phase else { return effects };
        live.roster.expire(now);
        effects.extend(live.roster.next_write(now).map(Effect::Write));
        if live.roster.wants_read(now) {
            effects.push(Effect::ReadPresence);
        }
        effects.extend(live.roster.tell(now).map(Effect::SendPresence));

        let clear = self.members.is_empty() && live.roster.is_clear();
        live.idle_since = clear.then(|| live.idle_since.unwrap_or(now));
        let close_at = live.idle_since.map(|since| since + LINGER);
        if close_at.is_some_and(|at| at <= now) {
            let authors = live.roster.authors();
            self.phase = Phase::Closing { waiting: Vec::new() };
            effects.push(Effect::Close { authors });
            return effects;
        }
        let mut touch_at = (!self.members.is_empty()).then(|| live.touched_at + self.timing.touch);
        if touch_at.is_some_and(|at| at <= now) {
            live.touched_at = now;
            touch_at = Some(now + self.timing.touch);
            effects.push(Effect::Touch);
        }
        let due = [close_at, touch_at, live.roster.deadline()].into_iter().flatten().min();
        if let Some(due) = due
            && self.woken_at.is_none_or(|at| at > due)
        {
            self.woken_at = Some(due);
            effects.push(Effect::WakeAt(due));
        }
        effects
    }
}

fn carry<C, T>(steps: Vec<Step>, effects: &mut Effects<C, T>) {
    effects.extend(steps.into_iter().map(|step| match step {
        Step::Deliver(message) => Effect::Deliver(message),
        Step::Heal(position) => Effect::Heal(position),
        Step::Resync(epoch) => Effect::Resync(epoch),
    }));
}

#[cfg(test)]
mod tests;
