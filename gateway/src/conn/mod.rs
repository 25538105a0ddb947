//! A connection beneath Socket.IO: the stream that carries every byte of a WebSocket (`stream.rs`), what
//! is known of sessions that poll (`sessions.rs`), and the ways to act on either from above: to let it
//! go on, and to cut it.

mod gate;
mod sessions;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::task::AtomicWaker;
use socketioxide::extract::SocketRef;

pub(crate) use gate::is_connect;
pub(crate) use sessions::Sessions;
pub(crate) use stream::Conn;

/// What can be done to a connection's stream from outside.
#[derive(Default)]
pub(crate) struct Control {
    cut: AtomicBool,
    /// Connects that were read and not yet answered: what follows them waits.
    connecting: AtomicUsize,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Control {
    /// The client is connected to a namespace, or was refused: what follows may be read.
    pub(crate) fn let_through(&self) {
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
        self.writer.wake();
    }
}

/// The way to act on one client's transport, whatever it is.
#[derive(Clone)]
pub(crate) struct Transport {
    control: Option<Arc<Control>>,
    sessions: Sessions,
}

impl Transport {
    /// Of the socket's connection.
    pub(crate) fn of(socket: &SocketRef, sessions: &Sessions) -> Self {
        let control = socket.req_parts().extensions.get::<Arc<Control>>().cloned();
        Self { control, sessions: sessions.clone() }
    }

    /// The client is connected to a namespace, or was refused: what it sent behind may come.
    pub(crate) fn let_through(&self, socket: &SocketRef) {
        match &self.control {
            Some(control) => control.let_through(),
            None => self.sessions.let_through(socket.id.as_str()),
        }
    }

    /// Closes the transport. A namespace disconnect would keep stock clients from coming back.
    pub(crate) fn cut(&self, socket: &SocketRef) {
        match &self.control {
            Some(control) => control.cut(),
            None => self.sessions.cut(socket.id.as_str()),
        }
    }
}
