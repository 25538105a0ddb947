//! Who gives a command. Made by the edge for somebody who signed in; each command asks it what it may do.

use std::sync::Arc;

use roomcast_protocol::{Code, Refusal, RoomName, UserName};

use crate::hub::Connection;

/// What an actor may do beyond what every user may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Send to and read rooms that the actor's device has not joined.
    pub(crate) any_room: bool,
}

/// A user, their rights, and the device that they act from. Every command asks here, so that rights of another kind
/// are decided in this file.
pub(crate) struct Actor {
    user: UserName,
    rights: Rights,
    /// Where they are sent what happens in the rooms that they join; none for those who only act.
    device: Option<Arc<Connection>>,
}

impl Actor {
    pub(crate) fn new(user: UserName, rights: Rights, device: Option<Arc<Connection>>) -> Self {
        Self { user, rights, device }
    }

    pub(crate) fn user(&self) -> &UserName {
        &self.user
    }

    pub(crate) fn device(&self) -> Option<&Arc<Connection>> {
        self.device.as_ref()
    }

    /// Whether the actor may send to a room, read it, or ask who is in it.
    ///
    /// # Errors
    /// Their device has not joined the room, and their rights do not make up for it.
    pub(super) fn must_reach(&self, room: &RoomName) -> Result<(), Refusal> {
        if self.rights.any_room { Ok(()) } else { self.must_be_in(room).map(drop) }
    }

    /// The device, where it has joined a room.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn must_be_in(&self, room: &RoomName) -> Result<&Arc<Connection>, Refusal> {
        let joined = self.device().filter(|device| device.is_in(room));
        joined.ok_or_else(|| Refusal::new(Code::NotJoined, format!("you have not joined {room}")))
    }

    /// The device.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn must_have_device(&self) -> Result<&Arc<Connection>, Refusal> {
        self.device().ok_or_else(|| Refusal::new(Code::BadRequest, "only a connection can join a room"))
    }
}
