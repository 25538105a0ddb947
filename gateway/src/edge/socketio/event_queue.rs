//! The queue of one client's events, handled one after the other in the order of their arrival. A task runs only while
//! the queue is not empty. Called by `socket.rs`.

use std::collections::VecDeque;

use parking_lot::Mutex;
use roomcast_protocol::limits::MAX_QUEUED_EVENTS;

/// Queued events above which reading from the connection pauses, because it sends faster than the cluster handles.
/// Long-polling clients cannot be paused; their events are refused when the queue is full.
const HIGH_WATERMARK: usize = MAX_QUEUED_EVENTS / 4;

/// A bounded queue.
pub(super) struct EventQueue<T>(Mutex<State<T>>);

struct State<T> {
    waiting: VecDeque<T>,
    /// A task is taking items.
    running: bool,
    closed: bool,
    /// The queue exceeded [`HIGH_WATERMARK`] and has not yet shrunk to half of it.
    above_watermark: bool,
}

/// The result of a push.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PushResult<T> {
    /// Queued, and no task is running: the caller must start one.
    StartTask,
    /// Queued for the running task.
    Queued,
    /// The queue is full or closed.
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

    /// Adds an item; calls `pause` when the queue exceeds the high watermark.
    pub(super) fn push(&self, item: T, pause: impl FnOnce()) -> PushResult<T> {
        let mut state = self.0.lock();
        if state.closed || state.waiting.len() >= MAX_QUEUED_EVENTS {
            return PushResult::Refused(item);
        }
        if state.waiting.len() >= HIGH_WATERMARK && !std::mem::replace(&mut state.above_watermark, true) {
            // Under the lock, so that a resume cannot overtake it.
            pause();
        }
        state.add(item)
    }

    /// Adds the last item, even if the queue is full; later items are refused.
    pub(super) fn close(&self, last: T) -> PushResult<T> {
        let mut state = self.0.lock();
        if state.closed {
            return PushResult::Refused(last);
        }
        state.closed = true;
        state.add(last)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().waiting.is_empty()
    }

    /// Takes the next item; on none the caller's task must end. Calls `resume` when the queue has shrunk to half of the
    /// high watermark.
    pub(super) fn next(&self, resume: impl FnOnce()) -> Option<T> {
        let mut state = self.0.lock();
        let next = state.waiting.pop_front();
        if state.above_watermark && state.waiting.len() <= HIGH_WATERMARK / 2 {
            state.above_watermark = false;
            resume();
        }
        if next.is_none() {
            state.running = false;
            // Frees the capacity that a burst needed.
            state.waiting = VecDeque::new();
        }
        next
    }
}

impl<T> State<T> {
    fn add(&mut self, item: T) -> PushResult<T> {
        self.waiting.push_back(item);
        if std::mem::replace(&mut self.running, true) { PushResult::Queued } else { PushResult::StartTask }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn nothing() {}

    #[test]
    fn one_task_runs_at_a_time_and_nothing_follows_the_last_item() {
        let queue = EventQueue::new();
        let next = || queue.next(nothing);
        assert_eq!(queue.push(1, nothing), PushResult::StartTask);
        assert_eq!(queue.push(2, nothing), PushResult::Queued);
        assert_eq!((next(), next(), next()), (Some(1), Some(2), None));
        assert_eq!(queue.close(3), PushResult::StartTask);
        assert_eq!(queue.push(4, nothing), PushResult::Refused(4));
        assert_eq!(queue.close(5), PushResult::Refused(5));
        assert_eq!((next(), next()), (Some(3), None));
    }

    #[test]
    fn the_queue_is_bounded_except_for_the_last_item() {
        let queue = EventQueue::new();
        (0..MAX_QUEUED_EVENTS).for_each(|n| assert_ne!(queue.push(n, nothing), PushResult::Refused(n)));
        assert_eq!(queue.push(0, nothing), PushResult::Refused(0));
        assert_eq!(queue.close(1), PushResult::Queued);
    }

    #[test]
    fn a_long_queue_pauses_once_and_resumes_after_it_has_shrunk() {
        let (queue, paused) = (EventQueue::new(), Cell::new(0));
        let pause = || paused.set(paused.get() + 1);
        let resume = || paused.set(paused.get() - 1);
        (0..HIGH_WATERMARK).for_each(|n| assert_ne!(queue.push(n, pause), PushResult::Refused(n)));
        assert_eq!(paused.get(), 0);
        queue.push(0, pause);
        queue.push(0, pause);
        assert_eq!(paused.get(), 1);
        while queue.next(resume).is_some() {}
        assert_eq!(paused.get(), 0);
    }
}
