//! One client's events, one after the other, in the order in which they came: a queue that costs a task
//! only while there is something in it. Called by `client.rs`.

use std::collections::VecDeque;

use parking_lot::Mutex;
use roomcast_protocol::limits::MAX_QUEUED_EVENTS;

/// Events that wait before no more are read from the connection: it sends faster than the cluster takes.
/// Those that poll cannot be held back and are refused at the bound.
const HIGH_WATERMARK: usize = MAX_QUEUED_EVENTS / 4;

/// What waits for its turn.
pub(super) struct EventQueue<T>(Mutex<State<T>>);

struct State<T> {
    waiting: VecDeque<T>,
    /// Somebody takes from it.
    running: bool,
    closed: bool,
    /// It grew past [`HIGH_WATERMARK`] and has not shrunk to half of that.
    above_watermark: bool,
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

impl<T> EventQueue<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            waiting: VecDeque::new(),
            running: false,
            closed: false,
            above_watermark: false,
        }))
    }

    /// Adds an event; calls `pause` when it passes the high watermark.
    pub(super) fn push(&self, item: T, pause: impl FnOnce()) -> Pushed<T> {
        let mut state = self.0.lock();
        if state.closed || state.waiting.len() >= MAX_QUEUED_EVENTS {
            return Pushed::Refused(item);
        }
        if state.waiting.len() >= HIGH_WATERMARK && !std::mem::replace(&mut state.above_watermark, true) {
            // Under the lock: a resumption cannot overtake it.
            pause();
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

    /// Whether anything waits for its turn.
    pub(super) fn waits(&self) -> bool {
        !self.0.lock().waiting.is_empty()
    }

    /// The next one; none ends the caller's turn. Calls `resume` when it has shrunk to half of the high watermark.
    pub(super) fn next(&self, resume: impl FnOnce()) -> Option<T> {
        let mut state = self.0.lock();
        let next = state.waiting.pop_front();
        if state.above_watermark && state.waiting.len() <= HIGH_WATERMARK / 2 {
            state.above_watermark = false;
            resume();
        }
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
    use std::cell::Cell;

    use super::*;

    fn nothing() {}

    #[test]
    fn one_taker_at_a_time_and_nothing_after_the_last() {
        let queue = EventQueue::new();
        let next = || queue.next(nothing);
        assert_eq!(queue.push(1, nothing), Pushed::Begin);
        assert_eq!(queue.push(2, nothing), Pushed::Waits);
        assert_eq!((next(), next(), next()), (Some(1), Some(2), None));
        assert_eq!(queue.close(3), Pushed::Begin);
        assert_eq!(queue.push(4, nothing), Pushed::Refused(4));
        assert_eq!(queue.close(5), Pushed::Refused(5));
        assert_eq!((next(), next()), (Some(3), None));
    }

    #[test]
    fn it_is_bounded_but_for_the_last() {
        let queue = EventQueue::new();
        (0..MAX_QUEUED_EVENTS).for_each(|n| assert_ne!(queue.push(n, nothing), Pushed::Refused(n)));
        assert_eq!(queue.push(0, nothing), Pushed::Refused(0));
        assert_eq!(queue.close(1), Pushed::Waits);
    }

    #[test]
    fn a_long_queue_pauses_once_and_resumes_once_it_has_shrunk() {
        let (queue, paused) = (EventQueue::new(), Cell::new(0));
        let pause = || paused.set(paused.get() + 1);
        let resume = || paused.set(paused.get() - 1);
        (0..HIGH_WATERMARK).for_each(|n| assert_ne!(queue.push(n, pause), Pushed::Refused(n)));
        assert_eq!(paused.get(), 0);
        queue.push(0, pause);
        queue.push(0, pause);
        assert_eq!(paused.get(), 1);
        while queue.next(resume).is_some() {}
        assert_eq!(paused.get(), 0);
    }
}
