//! Log lines of what users do, as one-process chats wrote them, with `--log-chat`: who, where and what, and which
//! session by a hash; never a text. Called by the edge for each client.

use std::sync::atomic::{AtomicBool, Ordering};

use roomcast_protocol::{RoomName, UserName};
use sha2::{Digest as _, Sha256};

/// What a user did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Connected,
    Joined,
    Sent,
    SentPrivately,
    Left,
    Disconnected,
}

impl Deed {
    const fn event(self) -> &'static str {
        match self {
            Self::Connected => "connect",
            Self::Joined => "join",
            Self::Sent => "message",
            Self::SentPrivately => "private_message",
            Self::Left => "leave",
            Self::Disconnected => "disconnect",
        }
    }
}

/// Disabled until [`ChatLog::enable`].
#[derive(Default)]
pub(crate) struct ChatLog(AtomicBool);

impl ChatLog {
    pub(crate) fn enable(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A user did something; `session` is the id of the Socket.IO session, of which only a hash is logged.
    pub(crate) fn log(&self, deed: Deed, user: Option<&UserName>, room: Option<&RoomName>, session: &str) {
        if !self.is_enabled() {
            return;
        }
        let (event, session) = (deed.event(), short_hash(session));
        let (user, room) = (user.map(UserName::as_str), room.map(RoomName::as_str));
        match deed {
            Deed::Connected => tracing::info!(event, user, session, "client connected"),
            Deed::Joined => tracing::info!(event, user, room, session, "joined the room"),
            Deed::Sent => tracing::info!(event, user, room, session, "sent a message to the room"),
            Deed::SentPrivately => tracing::info!(event, user, session, "sent a private message"),
            Deed::Left => tracing::info!(event, user, room, session, "left the room"),
            Deed::Disconnected => tracing::info!(event, user, session, "client disconnected"),
        }
    }
}

/// Enough of a hash to tell the sessions of one log from each other.
fn short_hash(session: &str) -> String {
    Sha256::digest(session.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_shown_by_a_hash() {
        assert_eq!(short_hash("abc"), "ba7816bf8f01");
        assert_ne!(short_hash("abd"), short_hash("abc"));
    }
}
