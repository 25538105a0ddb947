//! Flags that control one WebSocket's stream from other tasks: set by `handle.rs` and `sessions.rs`, checked by
//! `stream.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::task::AtomicWaker;

use super::outbox::Outbox;

/// Controls a connection's stream from other tasks.
pub(crate) struct Control {
    pub(super) outbox: Arc<Outbox>,
    pub(super) aborted: AtomicBool,
    /// The client's event queue is above its high watermark: reading is paused.
    pub(super) paused: AtomicBool,
    /// Connect packets that were read and not yet answered: packets after them are held back.
    pub(super) connecting: AtomicUsize,
    pub(super) reader: AtomicWaker,
}

impl Control {
    pub(crate) fn new(outbox: Arc<Outbox>) -> Self {
        Self {
            outbox,
            aborted: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            connecting: AtomicUsize::new(0),
            reader: AtomicWaker::new(),
        }
    }

    /// Stops or resumes reading from the client.
    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.reader.wake();
    }

    /// A connect packet was read: packets after it are held back until [`Control::connect_answered`].
    pub(crate) fn connect_started(&self) {
        self.connecting.fetch_add(1, Ordering::AcqRel);
    }

    /// The connect packet was answered, with success or with an error: reading goes on.
    pub(crate) fn connect_answered(&self) {
        // Saturating: a client that repeats its connect packet is answered once.
        self.connecting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1))
            .unwrap_or_default();
        self.reader.wake();
    }

    /// Fails all further reads and writes of the stream.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.reader.wake();
    }
}
