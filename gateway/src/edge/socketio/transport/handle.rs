//! Controls one client's transport, WebSocket or long-polling. Created by `connect.rs`, kept by `outbound.rs`.

use std::sync::Arc;

use socketioxide::extract::SocketRef;

use super::control::Control;
use super::outbox::Outbox;
use super::sessions::Sessions;

/// Controls one client's transport, WebSocket or long-polling.
#[derive(Clone)]
pub(crate) struct TransportHandle {
    control: Option<Arc<Control>>,
    sessions: Sessions,
}

impl TransportHandle {
    /// The handle of a socket's transport.
    pub(crate) fn of(socket: &SocketRef, sessions: &Sessions) -> Self {
        let control = socket.req_parts().extensions.get::<Arc<Control>>().cloned();
        Self { control, sessions: sessions.clone() }
    }

    /// The outbox of a connection that was opened as a WebSocket. None if it polls or has upgraded: those are written
    /// to by socketioxide to the end, so that order is kept.
    pub(crate) fn outbox(&self) -> Option<Arc<Outbox>> {
        self.control.as_ref().map(|control| Arc::clone(&control.outbox))
    }

    /// Stops or resumes reading from the client; does nothing for long-polling.
    pub(crate) fn pause(&self, paused: bool) {
        if let Some(control) = &self.control {
            control.pause(paused);
        }
    }

    /// The connect packet was answered, with success or with an error: packets after it are let through.
    pub(crate) fn connect_answered(&self, socket: &SocketRef) {
        match &self.control {
            Some(control) => control.connect_answered(),
            None => self.sessions.connect_answered(socket.id.as_str()),
        }
    }

    /// Closes the transport. After a namespace disconnect official clients would not reconnect.
    pub(crate) fn close(&self, socket: &SocketRef) {
        match &self.control {
            Some(control) => control.abort(),
            None => self.sessions.close(socket.id.as_str()),
        }
    }
}
