//! The actor of a command. Created by the edge for a connection that has signed in, or that has no name yet; every
//! command checks its permissions here.

use std::sync::Arc;
use std::time::Duration;

use roomcast_protocol::{Code, Refusal, RoomName, UserName};
use roomcast_store::Person;

use crate::hub::Connection;

/// What an actor may do beyond what every user may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// May send to and read rooms that the actor's device has not joined.
    pub(crate) any_room: bool,
}

/// A user, their rights, and the device that they act from. All permission checks are methods of this type.
pub(crate) struct Actor {
    /// None for a device without a name: it may receive the events of rooms and take a name, nothing else.
    user: Option<UserName>,
    /// The dialect in which a classic front end took the name with nothing to prove it; none for a proved name.
    open_in: Option<&'static str>,
    /// Whose private messages the user sends and reads; none for an actor that has no secret.
    person: Option<Person>,
    rights: Rights,
    /// The connection that receives the events of joined rooms; none for an actor that only sends commands.
    device: Option<Arc<Connection>>,
}

impl Actor {
    /// A user whose name is proved.
    pub(crate) fn new(user: UserName, rights: Rights, device: Option<Arc<Connection>>) -> Self {
        Self { user: Some(user), open_in: None, person: None, rights, device }
    }

    /// A user whose name is open: taken in this dialect.
    pub(crate) fn open(user: UserName, dialect: &'static str, device: Arc<Connection>) -> Self {
        Self {
            user: Some(user),
            open_in: Some(dialect),
            person: None,
            rights: Rights::default(),
            device: Some(device),
        }
    }

    /// A device without a name.
    pub(crate) fn unnamed(device: Arc<Connection>) -> Self {
        Self { user: None, open_in: None, person: None, rights: Rights::default(), device: Some(device) }
    }

    /// With the user's inbox.
    pub(crate) fn with_inbox(self, person: Person) -> Self {
        Self { person: Some(person), ..self }
    }

    pub(crate) fn user(&self) -> Option<&UserName> {
        self.user.as_ref()
    }

    /// Whether the name is proved.
    pub(crate) fn verified(&self) -> bool {
        self.user.is_some() && self.open_in.is_none()
    }

    /// The dialect in which the name was taken, if it is open.
    pub(super) fn open_in(&self) -> Option<&'static str> {
        self.open_in
    }

    pub(crate) fn device(&self) -> Option<&Arc<Connection>> {
        self.device.as_ref()
    }

    /// The user, who must have a name.
    ///
    /// # Errors
    /// The device has taken no name.
    pub(super) fn named(&self) -> Result<&UserName, Refusal> {
        self.user().ok_or_else(|| Refusal::new(Code::NotJoined, "join a room with a name first"))
    }

    /// The owner of the user's inbox.
    ///
    /// # Errors
    /// The device has taken no name, or the actor has no inbox.
    pub(super) fn person(&self) -> Result<&Person, Refusal> {
        self.named()?;
        let none = || Refusal::new(Code::BadRequest, "only a connection has private messages");
        self.person.as_ref().ok_or_else(none)
    }

    /// Checks that the actor may send to a room, read it, or list its users.
    ///
    /// # Errors
    /// The device has taken no name or has not joined the room, and the actor's rights do not cover other rooms.
    pub(super) fn check_access(&self, room: &RoomName) -> Result<(), Refusal> {
        self.named()?;
        if self.rights.any_room { Ok(()) } else { self.joined_device(room).map(drop) }
    }

    /// The device, which must have joined a room.
    ///
    /// # Errors
    /// It has not joined the room, or there is no device.
    pub(super) fn joined_device(&self, room: &RoomName) -> Result<&Arc<Connection>, Refusal> {
        let joined = self.device().filter(|device| device.is_in(room));
        joined.ok_or_else(|| Refusal::new(Code::NotJoined, format!("you have not joined {room}")))
    }

    /// Whether the device connected within the last `time`.
    pub(super) fn connected_within(&self, time: Duration) -> bool {
        self.device().is_some_and(|device| device.connected_at().elapsed() <= time)
    }

    /// The device, which must exist.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn required_device(&self) -> Result<&Arc<Connection>, Refusal> {
        self.device().ok_or_else(|| Refusal::new(Code::BadRequest, "only a connection can join a room"))
    }
}
