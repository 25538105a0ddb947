//! Joins of clients that missed more than fits into one answer: it has the first part, and the rest is sent as events,
//! which `room/replay.rs` reads from the log as fast as the client takes them. Until the client has caught up with this
//! node, no event of the room is sent to it.

use std::sync::Arc;
use std::time::Instant;

use roomcast_protocol::limits::fitting;
use roomcast_protocol::{Epoch, Position};
use roomcast_store::Entry;

use super::super::effect::{Effect, JoinAttempt, JoinedRoom, ReplayEnd};
use super::super::follower::{Since, encode_entry};
use super::{Effects, Phase, Room};
use crate::hub::Message;

/// Up to so many messages are sent at once when the client has caught up; more are sent as the client takes them.
const LAST_MESSAGES: usize = 32;

impl<T> Room<T> {
    /// Answers a join with the first messages that were read, as many as fit, and begins to send the rest.
    pub(super) fn begin_replay(
        &mut self,
        attempt: JoinAttempt<T>,
        entries: Vec<Entry>,
        effects: &mut Effects<T>,
    ) {
        let places: Vec<(Epoch, u64)> =
            entries.iter().map(|entry| (entry.epoch.clone(), entry.offset)).collect();
        let mut messages: Vec<_> =
            entries.into_iter().filter_map(|entry| encode_entry(&self.name, entry).map(Arc::new)).collect();
        messages.truncate(fitting(messages.iter().map(|message| message.json.get().len())));
        let last = messages.last().map_or(u64::MAX, |message| message.offset);
        let Some((epoch, offset)) = places.into_iter().rev().find(|(_, offset)| *offset <= last) else {
            return;
        };
        self.answer_part(attempt, messages, Position { epoch, offset }, effects);
    }

    /// Adds a client that missed exactly these messages, which end at this node's position.
    pub(super) fn add_recovered(
        &mut self,
        attempt: JoinAttempt<T>,
        mut messages: Vec<Arc<Message>>,
        effects: &mut Effects<T>,
    ) {
        let Phase::Open(live) = &self.phase else { return };
        let fitting = fitting(messages.iter().map(|message| message.json.get().len()));
        if fitting == messages.len() {
            return self.add_member(attempt, true, messages, effects);
        }
        messages.truncate(fitting);
        let Some(offset) = messages.last().map(|message| message.offset) else { return };
        let epoch = live.follower.position().epoch.clone();
        self.answer_part(attempt, messages, Position { epoch, offset }, effects);
    }

    fn answer_part(
        &mut self,
        attempt: JoinAttempt<T>,
        messages: Vec<Arc<Message>>,
        position: Position,
        effects: &mut Effects<T>,
    ) {
        let Phase::Open(live) = &mut self.phase else { return };
        let before = self.members.insert(attempt.id, attempt.user.clone()).flatten();
        if let (None, Some(user)) = (before, &attempt.user) {
            live.roster.arrive(user, attempt.open_in);
        }
        let joined = JoinedRoom {
            room: self.name.clone(),
            position,
            recovered: true,
            messages,
            more: true,
            online: live.roster.list_for_member(),
        };
        effects.push(Effect::Replay { attempt, joined });
    }

    /// The result of [`Effect::Replay`] or [`Effect::ContinueReplay`].
    pub(crate) fn replayed(&mut self, attempt: JoinAttempt<T>, end: ReplayEnd, now: Instant) -> Effects<T> {
        let Phase::Open(live) = &mut self.phase else {
            return vec![Effect::RefuseJoin { pending: attempt.pending }];
        };
        let (messages, resync) = match end {
            ReplayEnd::Gone => (Vec::new(), None),
            ReplayEnd::Lost => (Vec::new(), Some(live.follower.position().epoch.clone())),
            ReplayEnd::Reached(position) => match live.follower.since(&position) {
                Since::Recent(messages) if messages.len() <= LAST_MESSAGES => (messages, None),
                // More messages arrived meanwhile; or this node has not received all that the client was sent, which it
                // would send again.
                Since::Recent(_) | Since::ReadLog | Since::Lost => {
                    return self.advance(now, vec![Effect::ContinueReplay { attempt, position }]);
                }
            },
        };
        let online = live.roster.list_for_member();
        let JoinAttempt { pending, .. } = attempt;
        self.advance(now, vec![Effect::EndReplay { pending, messages, resync, online }])
    }
}
