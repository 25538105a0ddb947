//! Who gives a command. Made by [`super::Chat::sign_in`]; each command asks it what it may do.

use std::sync::Arc;

use roomcast_protocol::{Code, Refusal, RoomName, UserName};

use crate::hub::Connection;

/// A user at one of their devices, and what they may do: whatever members of a room may, in the rooms that this
/// device has joined. Every command asks here, so that rights of another kind are decided in this file.
pub(crate) struct Actor {
    device: Arc<Connection>,
}

impl Actor {
    pub(crate) fn new(device: Arc<Connection>) -> Self {
        Self { device }
    }

    pub(crate) fn user(&self) -> &UserName {
        self.device.user()
    }

    pub(crate) fn device(&self) -> &Arc<Connection> {
        &self.device
    }

    /// Whether the actor may send to a room, read it, or ask who is in it.
    ///
    /// # Errors
    /// The device has not joined the room.
    pub(super) fn must_be_in(&self, room: &RoomName) -> Result<(), Refusal> {
        if self.device.is_in(room) {
            return Ok(());
        }
        Err(Refusal::new(Code::NotJoined, format!("you have not joined {room}")))
    }
}
