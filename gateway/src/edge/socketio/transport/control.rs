//! Acting on one WebSocket's stream from outside. Shared by `stream.rs`, which obeys, and by those who decide:
//! `handle.rs` and `sessions.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::task::AtomicWaker;

use super::outbox::Outbox;

/// What can be done to a connection's stream from outside.
pub(crate) struct Control {
    pub(super) outbox: Arc<Outbox>,
    pub(super) cut: AtomicBool,
    /// The client's events pile up: no more are read.
    pub(super) paused: AtomicBool,
    /// Connects that were read and not yet answered: what follows them waits.
    pub(super) connecting: AtomicUsize,
    pub(super) reader: AtomicWaker,
}

impl Control {
    pub(crate) fn new(outbox: Arc<Outbox>) -> Self {
        Self {
            outbox,
            cut: AtomicBool::new(false),
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

    /// A client is being connected: what it sends waits until [`Control::connect_answered`].
    pub(crate) fn connect_read(&self) {
        self.connecting.fetch_add(1, Ordering::AcqRel);
    }

    /// The client is connected to a namespace, or was refused: what follows may be read.
    pub(crate) fn connect_answered(&self) {
        // Saturating: a client that repeats its connect packet is answered once.
        self.connecting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1))
            .unwrap_or_default();
        self.reader.wake();
    }

    /// Ends the stream, both ways, with an error.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.reader.wake();
    }
}
