//! A person: a name together with the secret that it is held by. Used by inboxes, and by images, which they refer to.

use roomcast_protocol::UserName;

use crate::names::Secret;

/// The owner of an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Person {
    /// The name.
    pub user: UserName,
    /// The secret that the name is held by.
    pub secret: Secret,
}
