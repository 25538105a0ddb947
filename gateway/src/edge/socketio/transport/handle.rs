//! Acting on one client's transport, whatever it is. Made by `connect.rs`, kept by `outbound.rs`.

use std::sync::Arc;

use socketioxide::extract::SocketRef;

use super::control::Control;
use super::outbox::Outbox;
use super::sessions::Sessions;

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
