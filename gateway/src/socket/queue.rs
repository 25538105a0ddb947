//! One client's events, one after the other, in the order in which they came: a queue that costs a task
//! only while there is something in it. Called by `connect.rs`.

use std::collections::VecDeque;

use parking_lot::Mutex;
use roomcast_protocol::limits::MAX_QUEUED_EVENTS;

/// What waits for its turn.
pub(super) struct Queue<T>(Mutex<State<T>>);

struct State<T> {
    waiting: VecDeque<T>,
    /// Somebody takes from it.
    running: bool,
    closed: bool,
}

/// What a push came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed<T> {
    /// Nobody takes from the queue: the caller must begin to.
    Begin,
    /// Whoever does will come to it.
    Waits,
    /// The queue is full, or closed.
    Refused(T),
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { waiting: VecDeque::new(), running: false, closed: false }))
    }

    /// Adds an event.
    pub(super) fn push(&self, item: T) -> Pushed<T> {
        let mut state = self.0.lock();
        if state.closed || state.waiting.len() >= MAX_QUEUED_EVENTS {
            return Pushed::Refused(item);
        }
        state.add(item)
    }

    /// Adds the last item, which is never refused; nothing is taken in after it.
    pub(super) fn close(&self, last: T) -> Pushed<T> {
        let mut state = self.0.lock();
        if state.closed {
            return Pushed::Refused(last);
        }
        state.closed = true;
        state.add(last)
    }

    /// The next one; none ends the caller's turn.
    pub(super) fn next(&self) -> Option<T> {
        let mut state = self.0.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.running = false;
            // An idle client keeps no memory for what a busy moment needed.
            state.waiting = VecDeque::new();
        }
        next
    }
}

impl<T> State<T> {
    fn add(&mut self, item: T) -> Pushed<T> {
        self.waiting.push_back(item);
        if std::mem::replace(&mut self.running, true) { Pushed::Waits } else { Pushed::Begin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_taker_at_a_time_and_nothing_after_the_last() {
        let queue = Queue::new();
        assert_eq!(queue.push(1), Pushed::Begin);
        assert_eq!(queue.push(2), Pushed::Waits);
        assert_eq!((queue.next(), queue.next(), queue.next()), (Some(1), Some(2), None));
        assert_eq!(queue.close(3), Pushed::Begin);
        assert_eq!(queue.push(4), Pushed::Refused(4));
        assert_eq!(queue.close(5), Pushed::Refused(5));
        assert_eq!((queue.next(), queue.next()), (Some(3), None));
    }

    #[test]
    fn it_is_bounded_but_for_the_last() {
        let queue = Queue::new();
        (0..MAX_QUEUED_EVENTS).for_each(|n| assert_ne!(queue.push(n), Pushed::Refused(n)));
        assert_eq!(queue.push(0), Pushed::Refused(0));
        assert_eq!(queue.close(1), Pushed::Waits);
    }
}
