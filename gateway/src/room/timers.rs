//! The timers of a worker's rooms: at most one of each kind for a room, so that their number follows the number of
//! rooms, however often a room changes its mind. Pure. Called by `worker.rs`.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use roomcast_protocol::RoomName;

/// What a room is woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// Its state machine has something to do.
    Room,
    /// Its pending events are to be sent.
    Flush,
}

#[derive(Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Instant, Timer, RoomName)>,
    set: HashMap<(RoomName, Timer), Instant>,
}

impl Timers {
    /// When the first one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, ..)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_set(&self, room: &RoomName, timer: Timer) -> bool {
        self.set.contains_key(&(room.clone(), timer))
    }

    /// Sets a timer, in place of the room's other one of that kind.
    pub(super) fn set(&mut self, room: &RoomName, timer: Timer, at: Instant) {
        if let Some(before) = self.set.insert((room.clone(), timer), at) {
            self.queue.remove(&(before, timer, room.clone()));
        }
        self.queue.insert((at, timer, room.clone()));
    }

    /// Removes the timers of a room that is dropped.
    pub(super) fn remove(&mut self, room: &RoomName) {
        for timer in [Timer::Room, Timer::Flush] {
            if let Some(at) = self.set.remove(&(room.clone(), timer)) {
                self.queue.remove(&(at, timer, room.clone()));
            }
        }
    }

    /// Takes the first timer, if it is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Timer, RoomName)> {
        self.next().filter(|at| *at <= now)?;
        let (_, timer, room) = self.queue.pop_first()?;
        self.set.remove(&(room.clone(), timer));
        Some((timer, room))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).unwrap()
    }

    #[test]
    fn a_room_has_one_timer_however_often_it_is_set() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        let far = now + Duration::from_secs(200_000);
        for n in 0..1_000 {
            // A room with members always has a far deadline, and now and then a near one.
            timers.set(&room("r"), Timer::Room, far);
            timers.set(&room("r"), Timer::Room, now + Duration::from_millis(n));
            assert_eq!(timers.pop(now + Duration::from_millis(n)), Some((Timer::Room, room("r"))));
            timers.set(&room("r"), Timer::Room, far);
            assert_eq!((timers.len(), timers.next()), (1, Some(far)));
        }
        timers.remove(&room("r"));
        assert_eq!((timers.len(), timers.next()), (0, None));
    }

    #[test]
    fn timers_are_taken_in_order_when_they_are_due() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        timers.set(&room("b"), Timer::Flush, at(5));
        timers.set(&room("a"), Timer::Room, at(9));
        timers.set(&room("b"), Timer::Room, at(7));
        assert!(timers.is_set(&room("b"), Timer::Flush) && !timers.is_set(&room("a"), Timer::Flush));
        assert_eq!(timers.pop(at(4)), None);
        assert_eq!(timers.pop(at(8)), Some((Timer::Flush, room("b"))));
        assert_eq!(timers.pop(at(8)), Some((Timer::Room, room("b"))));
        assert_eq!(timers.pop(at(8)), None);
        assert!(!timers.is_set(&room("b"), Timer::Flush));
        assert_eq!(timers.pop(at(9)), Some((Timer::Room, room("a"))));
    }
}
