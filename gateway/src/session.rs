//! What a client may do: pure decisions over what it asked for and which rooms it is in. Called by the
//! files of `socket/`, which carry the decisions out.

use std::collections::HashSet;

use roomcast_protocol::limits::{DEFAULT_PAGE, MAX_ID_CHARS, MAX_PAGE, MAX_ROOMS, MAX_TEXT_BYTES};
use roomcast_protocol::{Code, Refusal, RoomName, UserName, client};

/// One connection's standing.
#[derive(Debug)]
pub(crate) struct Session {
    user: UserName,
    rooms: HashSet<RoomName>,
}

/// A message that may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    pub(crate) room: RoomName,
    pub(crate) id: String,
    pub(crate) text: String,
}

impl Session {
    pub(crate) fn new(user: UserName) -> Self {
        Self { user, rooms: HashSet::new() }
    }

    pub(crate) fn user(&self) -> &UserName {
        &self.user
    }

    pub(crate) fn rooms(&self) -> impl Iterator<Item = &RoomName> {
        self.rooms.iter()
    }

    /// Whether one more room may be entered; the number of messages to begin with.
    pub(crate) fn may_join(&self, join: &client::Join) -> Result<usize, Refusal> {
        if self.rooms.len() >= MAX_ROOMS && !self.rooms.contains(&join.room) {
            let why = format!("a connection may be in {MAX_ROOMS} rooms at once");
            return Err(Refusal::new(Code::TooManyRooms, why));
        }
        page(join.limit, 0)
    }

    pub(crate) fn joined(&mut self, room: RoomName) {
        self.rooms.insert(room);
    }

    pub(crate) fn left(&mut self, room: &RoomName) -> Result<(), Refusal> {
        if self.rooms.remove(room) { Ok(()) } else { Err(not_joined(room)) }
    }

    pub(crate) fn must_be_in(&self, room: &RoomName) -> Result<(), Refusal> {
        if self.rooms.contains(room) { Ok(()) } else { Err(not_joined(room)) }
    }

    /// A message, checked, with an id of ours (`fresh`) where the client gave none.
    pub(crate) fn may_send(
        &self,
        message: client::SendMessage,
        fresh: impl FnOnce() -> String,
    ) -> Result<Sending, Refusal> {
        let client::SendMessage { room, text, id } = message;
        if text.trim().is_empty() {
            return Err(Refusal::new(Code::BadText, "the text is empty"));
        }
        if text.len() > MAX_TEXT_BYTES {
            let why = format!("the text is longer than {MAX_TEXT_BYTES} bytes");
            return Err(Refusal::new(Code::BadText, why));
        }
        let id = match id {
            Some(id) if id.is_empty() || id.chars().count() > MAX_ID_CHARS => {
                let why = format!("an id has 1 to {MAX_ID_CHARS} characters");
                return Err(Refusal::new(Code::BadId, why));
            }
            Some(id) => id,
            None => fresh(),
        };
        self.must_be_in(&room)?;
        Ok(Sending { room, id, text })
    }
}

/// The size of a page that a client asked for.
pub(crate) fn page(limit: Option<usize>, least: usize) -> Result<usize, Refusal> {
    match limit {
        None => Ok(DEFAULT_PAGE),
        Some(limit) if (least..=MAX_PAGE).contains(&limit) => Ok(limit),
        Some(_) => Err(Refusal::new(Code::BadRequest, format!("limit must be {least} to {MAX_PAGE}"))),
    }
}

fn not_joined(room: &RoomName) -> Refusal {
    Refusal::new(Code::NotJoined, format!("you have not joined {room}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).unwrap()
    }

    fn session() -> Session {
        let mut session = Session::new(UserName::parse("ann").unwrap());
        session.joined(room("r"));
        session
    }

    fn send(room_name: &str, text: &str, id: Option<&str>) -> Result<Sending, Code> {
        let message =
            client::SendMessage { room: room(room_name), text: text.into(), id: id.map(str::to_owned) };
        session().may_send(message, || "fresh".into()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_message_is_checked_and_always_has_an_id() {
        let sending = |id: &str| Sending { room: room("r"), id: id.into(), text: "hi".into() };
        assert_eq!(send("r", "hi", Some("a")), Ok(sending("a")));
        assert_eq!(send("r", "hi", None), Ok(sending("fresh")));
        assert_eq!(send("r", " \n", None), Err(Code::BadText));
        assert_eq!(send("r", &"x".repeat(MAX_TEXT_BYTES + 1), None), Err(Code::BadText));
        assert_eq!(send("r", "hi", Some("")), Err(Code::BadId));
        assert_eq!(send("r", "hi", Some(&"x".repeat(65))), Err(Code::BadId));
        assert_eq!(send("other", "hi", None), Err(Code::NotJoined));
    }

    #[test]
    fn rooms_are_bounded_but_one_may_be_entered_again() {
        let mut session = session();
        (1..MAX_ROOMS).for_each(|n| session.joined(room(&n.to_string())));
        let join = |name: &str, limit| client::Join { room: room(name), since: None, limit };
        assert_eq!(session.may_join(&join("r", None)).unwrap(), DEFAULT_PAGE);
        assert_eq!(session.may_join(&join("r", Some(0))).unwrap(), 0);
        assert_eq!(session.may_join(&join("r", Some(MAX_PAGE + 1))).unwrap_err().code, Code::BadRequest);
        assert_eq!(session.may_join(&join("new", None)).unwrap_err().code, Code::TooManyRooms);
        session.left(&room("r")).unwrap();
        assert_eq!(session.left(&room("r")).unwrap_err().code, Code::NotJoined);
        assert!(session.may_join(&join("new", None)).is_ok());
    }
}
