//! Where the messages are that may refer to an image: in a room's log, or in the inboxes of two users. Used by both
//! implementations of images. Pure.

use std::sync::OnceLock;

use roomcast_protocol::{RoomName, UserName};

use crate::names::Secret;
use crate::person::Person;

/// What an image is stored for.
#[derive(Debug, Clone, Copy)]
pub enum ImageOwner<'a> {
    /// A message of this room.
    Room(&'a RoomName),
    /// A private message of this person.
    Sender(&'a Person),
}

/// Whose messages may refer to an image.
#[derive(Debug)]
pub(crate) enum Holder {
    /// One of a room's log.
    Room(RoomName),
    /// The two copies of a private message.
    Inboxes {
        /// Who sent it.
        from: Person,
        /// Whom it was sent to; empty until both copies are stored.
        to: OnceLock<Person>,
    },
}

/// What stands before the persons; no room has such a name.
const INBOXES: &str = "@inboxes";

impl From<ImageOwner<'_>> for Holder {
    fn from(owner: ImageOwner<'_>) -> Self {
        match owner {
            ImageOwner::Room(room) => Self::Room(room.clone()),
            ImageOwner::Sender(person) => Self::Inboxes { from: person.clone(), to: OnceLock::new() },
        }
    }
}

impl Holder {
    pub(crate) fn of_both(from: &Person, to: &Person) -> Self {
        Self::Inboxes { from: from.clone(), to: OnceLock::from(to.clone()) }
    }

    /// Whether everything is stored that may refer to the image.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Room(_) => true,
            Self::Inboxes { to, .. } => to.get().is_some(),
        }
    }

    /// As it stands in Redis: the room, or a line for each person.
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Room(room) => room.to_string(),
            Self::Inboxes { from, to } => {
                let line = |Person { user, secret }: &Person| format!("\n{} {user}", secret.to_hex());
                [INBOXES.to_owned()].into_iter().chain([from].into_iter().chain(to.get()).map(line)).collect()
            }
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Some(persons) = text.strip_prefix(INBOXES) else {
            return RoomName::parse(text).ok().map(Self::Room);
        };
        let mut persons = persons.lines().skip(1).map(person);
        let from = persons.next()??;
        let to = match persons.next() {
            Some(to) => OnceLock::from(to?),
            None => OnceLock::new(),
        };
        Some(Self::Inboxes { from, to })
    }
}

/// Whether the name is proved is not recorded: no key depends on it.
fn person(line: &str) -> Option<Person> {
    let (secret, user) = line.split_once(' ')?;
    Some(Person { user: UserName::parse(user).ok()?, secret: Secret::from_hex(secret, true)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_reads_back() {
        let person =
            |name: &str| Person { user: UserName::parse(name).unwrap(), secret: Secret::proved(name) };
        let (ann, bob) = (person("Ann B."), person("bob"));
        let room = RoomName::parse("crabs & co").unwrap();
        let sent = Holder::from(ImageOwner::Sender(&ann));
        assert_eq!(sent.encode(), format!("@inboxes\n{} Ann B.", ann.secret.to_hex()));
        for holder in [Holder::from(ImageOwner::Room(&room)), sent, Holder::of_both(&ann, &bob)] {
            let read = Holder::parse(&holder.encode()).unwrap();
            assert_eq!(read.encode(), holder.encode());
        }
        for bad in ["", "@inboxes", "@inboxes\n", "@inboxes\nx Ann", "@inboxes\n0f @x", "@all"] {
            assert!(Holder::parse(bad).is_none(), "{bad:?}");
        }
    }
}
