//! The state machine of one room on this node, from the first join to the last leave: opening, live, lingering,
//! closing. Pure: commands and events in, [`Effect`]s out, in the order in which they must be carried out. Called by
//! `room/worker.rs`; it knows connections by their ids alone, and is generic over what the caller needs to answer a join
//! (`T`), so that tests need no connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast_protocol::ack::Online;
use roomcast_protocol::limits::MAX_REPLAY;
use roomcast_protocol::{RoomName, UserName};
use roomcast_store::{BusEvent, Incarnation, Opened, Replay, RoomState};

use super::effect::{Effect, JoinAttempt, JoinedRoom, LogRead};
use super::follower::{Follower, Healed, Since, newest_fitting};
use super::roster::{Roster, WriteOutcome};
use crate::hub::{ConnectionId, Message, UserList};
use crate::users::stay::{Departure, Stays};

/// How long a room stays subscribed after its last user left: the next join often follows soon.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// Bus events stashed while a room is being opened. Where there are more, a gap is healed once it is open.
const STASH: usize = 1_024;

mod replay;

type Effects<T> = Vec<Effect<T>>;

enum Phase<T> {
    Opening { waiting: Vec<JoinAttempt<T>>, open_requested: bool, stash: Vec<BusEvent>, overflowed: bool },
    Open(Box<Live>),
    Closing { waiting: Vec<JoinAttempt<T>> },
}

struct Live {
    follower: Follower,
    roster: Roster,
    idle_since: Option<Instant>,
    touched_at: Instant,
}

/// Durations of a room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoomTiming {
    /// How long a user stays online after a connection was lost without a leave.
    pub(crate) grace: Duration,
    /// How often the expiry of a room with members is postponed.
    pub(crate) touch: Duration,
}

/// One room on this node.
pub(crate) struct Room<T> {
    name: RoomName,
    timing: RoomTiming,
    phase: Phase<T>,
    /// Their users; none for a connection without a name.
    members: HashMap<ConnectionId, Option<UserName>>,
    /// It stays open without members.
    kept_open: bool,
    woken_at: Option<Instant>,
}

impl<T> Room<T> {
    pub(crate) fn new(name: RoomName, timing: RoomTiming) -> Self {
        let phase = Phase::Opening {
            waiting: Vec::new(),
            open_requested: false,
            stash: Vec::new(),
            overflowed: false,
        };
        Self { name, timing, phase, members: HashMap::new(), kept_open: false, woken_at: None }
    }

    /// The state, as operators see it.
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

    /// The follower of its log, where the room is open.
    pub(crate) fn follower(&self) -> Option<&Follower> {
        match &self.phase {
            Phase::Open(live) => Some(&live.follower),
            _ => None,
        }
    }

    /// Who is online, for one member; none where the room is not open.
    pub(crate) fn online(&mut self) -> Option<Online<UserList>> {
        match &mut self.phase {
            Phase::Open(live) => Some(live.roster.list_for_member()),
            _ => None,
        }
    }

    /// Who is online now, as the last presence update says; empty where there are too many to list.
    pub(crate) fn listed(&mut self) -> UserList {
        match &mut self.phase {
            Phase::Open(live) => live.roster.listed(),
            _ => UserList::default(),
        }
    }

    /// The room is to be opened, and to stay open without members.
    pub(crate) fn keep_open(&mut self) -> Effects<T> {
        self.kept_open = true;
        let Phase::Opening { open_requested, .. } = &mut self.phase else { return Vec::new() };
        if std::mem::replace(open_requested, true) { Vec::new() } else { vec![Effect::Open] }
    }

    /// A client joins. The answer is an effect: of this call, or of a later one where the store must be read first.
    pub(crate) fn enter(&mut self, attempt: JoinAttempt<T>, now: Instant) -> Effects<T> {
        let mut effects = Vec::new();
        match &mut self.phase {
            Phase::Opening { waiting, open_requested, .. } => {
                // Only once, also where earlier joins were withdrawn before the room was open.
                if !std::mem::replace(open_requested, true) {
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
    pub(crate) fn leave(&mut self, id: ConnectionId, how: Departure, now: Instant) -> Effects<T> {
        if let Phase::Opening { waiting, .. } | Phase::Closing { waiting } = &mut self.phase {
            waiting.retain(|attempt| attempt.id != id);
        }
        let mut effects = Vec::new();
        if let Some(user) = self.members.remove(&id) {
            effects.push(Effect::RemoveMember(id));
            if let (Phase::Open(live), Some(user)) = (&mut self.phase, user) {
                live.roster.depart(&user, how, now);
            }
        }
        self.advance(now, effects)
    }

    /// The room is subscribed and indexed by this incarnation; log and presence were read after that. None where that
    /// failed. `unreachable_since` is set where the store has become unreachable again.
    pub(crate) fn opened(
        &mut self,
        opened: Option<(Opened, RoomState, Option<Incarnation>)>,
        unreachable_since: Option<Instant>,
        now: Instant,
    ) -> Effects<T> {
        let Phase::Opening { waiting, stash, overflowed, .. } = &mut self.phase else { return Vec::new() };
        let (waiting, stash) = (std::mem::take(waiting), std::mem::take(stash));
        let overflowed = *overflowed;
        let Some((opened, presence, indexed)) = opened else {
            let refusals = waiting.into_iter().map(|attempt| Effect::RefuseJoin { pending: attempt.pending });
            return refusals.chain([Effect::Drop]).collect();
        };
        let follower = Follower::begin(self.name.clone(), opened);
        let stays = Stays::new(self.timing.grace, unreachable_since);
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
    pub(crate) fn closed(&mut self) -> Effects<T> {
        let Phase::Closing { waiting } = &mut self.phase else { return Vec::new() };
        if waiting.is_empty() {
            return vec![Effect::Drop];
        }
        let waiting = std::mem::take(waiting);
        self.phase = Phase::Opening { waiting, open_requested: true, stash: Vec::new(), overflowed: false };
        vec![Effect::Open]
    }

    /// An event from the bus.
    pub(crate) fn on_bus_event(&mut self, event: BusEvent, now: Instant) -> Effects<T> {
        let mut effects = Vec::new();
        self.handle_bus_event(event, &mut effects);
        self.advance(now, effects)
    }

    /// Bus events may have been missed.
    pub(crate) fn gap(&mut self, now: Instant) -> Effects<T> {
        let mut effects = Vec::new();
        self.note_gap(&mut effects);
        self.advance(now, effects)
    }

    /// The result of [`Effect::Heal`].
    pub(crate) fn healed(&mut self, healed: Healed, now: Instant) -> Effects<T> {
        let mut effects = Vec::new();
        if let Phase::Open(live) = &mut self.phase {
            let mut steps = Vec::new();
            live.follower.healed(healed, &mut steps);
            effects.extend(steps.into_iter().map(Effect::from));
        }
        self.advance(now, effects)
    }

    /// The result of [`Effect::ReadAfter`] or [`Effect::ReadNewest`].
    pub(crate) fn log_read(&mut self, attempt: JoinAttempt<T>, read: LogRead, now: Instant) -> Effects<T> {
        let mut effects = Vec::new();
        let Phase::Open(live) = &self.phase else {
            return vec![Effect::RefuseJoin { pending: attempt.pending }];
        };
        let result = match read {
            LogRead::Failed => return vec![Effect::RefuseJoin { pending: attempt.pending }],
            LogRead::After(Replay::Whole(opened)) => {
                let from = attempt.since.as_ref().map_or(0, |since| since.offset);
                Ok(live.follower.continue_to_head(opened.newest, from))
            }
            LogRead::After(Replay::Part(entries)) => {
                self.begin_replay(attempt, entries, &mut effects);
                return self.advance(now, effects);
            }
            LogRead::After(Replay::Lost(_)) => Err(live.follower.newest(attempt.limit)),
            LogRead::Newest(entries) => {
                let from = entries.last().map_or(live.follower.position().offset, |entry| entry.offset);
                Err(live.follower.continue_to_head(entries, from))
            }
        };
        match (result, attempt.since.clone()) {
            (Ok(Some(messages)), _) => self.add_recovered(attempt, messages, &mut effects),
            (Err(Some(messages)), _) => {
                self.add_member(attempt, false, newest_fitting(messages), &mut effects)
            }
            // While the log was read, more messages arrived than this node keeps: read again.
            (Ok(None), Some(position)) => effects.push(Effect::ReadAfter { attempt, position }),
            (Ok(None) | Err(None), _) => effects.push(Effect::ReadNewest { attempt }),
        }
        self.advance(now, effects)
    }

    /// The outcome of [`Effect::Write`].
    pub(crate) fn wrote(&mut self, outcome: WriteOutcome, now: Instant) -> Effects<T> {
        if let Phase::Open(live) = &mut self.phase {
            live.roster.wrote(outcome, now);
        }
        self.advance(now, Vec::new())
    }

    /// The result of [`Effect::ReadPresence`].
    pub(crate) fn presence(&mut self, state: Option<RoomState>, now: Instant) -> Effects<T> {
        let mut effects = Vec::new();
        if let Phase::Open(live) = &mut self.phase {
            effects.extend(live.roster.read(state, now).map(Effect::SendPresence));
        }
        self.advance(now, effects)
    }

    /// The store may have lost presence of this node, or keep presence that is out of date.
    pub(crate) fn rewrite(&mut self, now: Instant) -> Effects<T> {
        if let Phase::Open(live) = &mut self.phase
            && !self.name.is_reserved()
        {
            live.roster.rewrite();
        }
        self.advance(now, Vec::new())
    }

    /// The store is unreachable and last answered at `since`.
    pub(crate) fn pause(&mut self, since: Instant, now: Instant) -> Effects<T> {
        if let Phase::Open(live) = &mut self.phase {
            live.roster.pause(since);
        }
        self.advance(now, Vec::new())
    }

    /// The store is reachable again.
    pub(crate) fn resume(&mut self, now: Instant) -> Effects<T> {
        if let Phase::Open(live) = &mut self.phase {
            live.roster.resume(now);
        }
        self.advance(now, Vec::new())
    }

    /// The time of [`Effect::WakeAt`] has come.
    pub(crate) fn timer(&mut self, now: Instant) -> Effects<T> {
        self.woken_at = None;
        self.advance(now, Vec::new())
    }

    fn handle_bus_event(&mut self, event: BusEvent, effects: &mut Effects<T>) {
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
                    effects.extend(steps.into_iter().map(Effect::from));
                }
                BusEvent::Presence { version, count, joined, left } => {
                    live.roster.on_event(version, count, joined, left);
                }
                BusEvent::Returned { node, users } => live.roster.returned(&node, &users),
                BusEvent::Replaced { node, users } => live.roster.replaced(&node, &users),
                BusEvent::Typing { user, typing } => effects.push(Effect::Typing { user, typing }),
            },
            Phase::Closing { .. } => {}
        }
    }

    fn note_gap(&mut self, effects: &mut Effects<T>) {
        match &mut self.phase {
            Phase::Opening { overflowed, .. } => *overflowed = true,
            Phase::Open(live) => {
                let mut steps = Vec::new();
                live.follower.gap(&mut steps);
                live.roster.gap();
                effects.extend(steps.into_iter().map(Effect::from));
            }
            Phase::Closing { .. } => {}
        }
    }

    /// Makes a client a member where this node keeps the messages it needs, or reads them from the log first.
    fn admit(&mut self, attempt: JoinAttempt<T>, effects: &mut Effects<T>) {
        let Phase::Open(live) = &self.phase else { return };
        let (recovered, messages) = match &attempt.since {
            Some(position) => match live.follower.since(position) {
                Since::Recent(messages) if messages.len() <= MAX_REPLAY => (true, Some(messages)),
                Since::ReadLog => {
                    let position = position.clone();
                    effects.push(Effect::ReadAfter { attempt, position });
                    return;
                }
                Since::Recent(_) | Since::Lost => (false, live.follower.newest(attempt.limit)),
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
        attempt: JoinAttempt<T>,
        recovered: bool,
        messages: Vec<Arc<Message>>,
        effects: &mut Effects<T>,
    ) {
        let Phase::Open(live) = &mut self.phase else { return };
        let JoinAttempt { id, user, open_in, pending, .. } = attempt;
        // A member without a name that has taken one joins again, and only then is present.
        let before = self.members.insert(id, user.clone()).flatten();
        if let (None, Some(user)) = (before, user) {
            live.roster.arrive(&user, open_in);
        }
        let joined = JoinedRoom {
            room: self.name.clone(),
            position: live.follower.position().clone(),
            recovered,
            messages,
            more: false,
            online: live.roster.list_for_member(),
        };
        effects.push(Effect::AddMember { pending, joined });
    }

    /// Adds the effects that are due in this state, whatever caused the call: a write, a read, a presence update,
    /// closing.
    fn advance(&mut self, now: Instant, mut effects: Effects<T>) -> Effects<T> {
        let Phase::Open(live) = &mut self.phase else { return effects };
        live.roster.expire(now);
        effects.extend(live.roster.next_write(now).map(Effect::Write));
        if live.roster.wants_read(now) {
            effects.push(Effect::ReadPresence);
        }
        effects.extend(live.roster.next_update(now).map(Effect::SendPresence));

        let in_use = self.kept_open || !self.members.is_empty();
        let clear = !in_use && live.roster.is_idle();
        live.idle_since = clear.then(|| live.idle_since.unwrap_or(now));
        let close_at = live.idle_since.map(|since| since + LINGER);
        if close_at.is_some_and(|at| at <= now) {
            let writers = live.roster.writers();
            self.phase = Phase::Closing { waiting: Vec::new() };
            effects.push(Effect::Close { writers });
            return effects;
        }
        let mut touch_at = in_use.then(|| live.touched_at + self.timing.touch);
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

#[cfg(test)]
mod tests;
