//! Transports under socketioxide: the stream that carries every byte of a WebSocket (`stream.rs`), what is known
//! of sessions that poll (`sessions.rs`), and a handle to act on either: to resume it after a connect packet was
//! answered, and to close it. Called by the other files of `edge/socketio`.

pub(crate) mod frame;
mod gate;
mod outbox;
mod sessions;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::task::AtomicWaker;
use socketioxide::extract::SocketRef;

pub(crate) use gate::is_connect;
pub(crate) use outbox::{Bounds, Outbox};
pub(crate) use sessions::Sessions;
pub(crate) use stream::Conn;

/// What can be done to a connection's stream from outside.
pub(crate) struct Control {
    outbox: Arc<Outbox>,
    cut: AtomicBool,
    /// The client's events pile up: no more are read.
    paused: AtomicBool,
    /// Connects that were read and not yet answered: what follows them waits.
    connecting: AtomicUsize,
    reader: AtomicWaker,
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

/// The way to act on one client's transport, whatever it is.
#[derive(Clone)]
pub(crate) struct TransportHandle {
    control: Option<Arc<Control>>,
    sessions: Sessions,
}

impl TransportHandle {
    /// Of the socket's connection.
    pub(crate) fn of(socket: &SocketRef, sessions: &Sessions) -> Self {
        let control = socket.req_parts().extensions.get::<Arc<Control>>().cloned();
        Self { control, sessions: sessions.clone() }
    }

    /// The way past socketioxide, for connections that have been WebSockets from the beginning. Those
    /// that poll, or upgraded, take socketioxide's own path to the end, so that their order holds.
    pub(crate) fn outbox(&self) -> Option<Arc<Outbox>> {
        self.control.as_ref().map(|control| Arc::clone(&control.outbox))
    }

    /// Stops or resumes reading from the client, where that can be done.
    pub(crate) fn pause(&self, paused: bool) {
        if let Some(control) = &self.control {
            control.pause(paused);
        }
    }

    /// The client is connected to a namespace, or was refused: what it sent behind may come.
    pub(crate) fn connect_answered(&self, socket: &SocketRef) {
        match &self.control {
            Some(control) => control.connect_answered(),
            None => self.sessions.connect_answered(socket.id.as_str()),
        }
    }

    /// Closes the transport. A namespace disconnect would keep stock clients from coming back.
    pub(crate) fn close(&self, socket: &SocketRef) {
        match &self.control {
            Some(control) => control.cut(),
            None => self.sessions.cut(socket.id.as_str()),
        }
    }
}
