//! What a worker keeps of one room: its state, its members, and the events that wait for the next fan-out. Called by
//! `worker.rs`.

use std::time::Instant;

use roomcast_protocol::RoomName;
use tokio::sync::oneshot;

use super::command::PendingJoin;
use super::figures::{Activity, Figures, milliseconds};
use super::follower::Follower;
use super::state::{Room, RoomTiming};
use crate::hub::{Batch, Members};

/// A room, its members, and the events that wait for the next fan-out.
pub(super) struct RoomEntry {
    pub(super) room: Room<PendingJoin>,
    pub(super) members: Members,
    /// Told once the room is open, which it is to stay.
    pub(super) opened: Vec<oneshot::Sender<()>>,
    /// Events since the last flush.
    pub(super) pending: Batch,
    pub(super) flushed_at: Option<Instant>,
    pub(super) activity: Activity,
    /// The room's state, and since when it is in it.
    pub(super) state: (&'static str, Instant),
}

impl RoomEntry {
    pub(super) fn new(room: RoomName, timing: RoomTiming, now: Instant) -> Self {
        Self {
            room: Room::new(room, timing),
            members: Members::default(),
            opened: Vec::new(),
            pending: Batch::default(),
            flushed_at: None,
            activity: Activity::new(now),
            state: ("opening", now),
        }
    }

    pub(super) fn figures(&self, room: RoomName, now: Instant) -> Figures {
        let follower = self.room.follower();
        let (state, since) = self.state;
        #[expect(clippy::cast_precision_loss, reason = "a room has fewer messages than that in a second")]
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
