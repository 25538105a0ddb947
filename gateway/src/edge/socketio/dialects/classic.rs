//! What the dialects of the classic chats have in common: reading fields that had several names, and entering a room;
//! `messages.rs` has what their encoders share. Their front ends put names and rooms into each payload, send no
//! acknowledgement ids, and show errors only as one of their own events. Pure. Called by the folders beside this file.

use roomcast_protocol::ack::{Answer, Done};
use roomcast_protocol::client::{Join, Leave, SendMessage};
use roomcast_protocol::limits::{MAX_EXTRA_BYTES, MAX_EXTRA_FIELDS};
use roomcast_protocol::{Code, EXTRA_VERSION, Extra, Refusal, RoomName, UserName};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::super::dialect::{Decoded, Standing, Step};
use super::super::packet::Payload;
pub(super) use super::messages::{Picture, PrivateImage, PrivateText, Stamp, escape, image, private, text};
use crate::chat::{Command, Reply};

/// The sender of messages of the server itself. No user can have that name.
pub(super) const SYSTEM: &str = "System";

/// The room that users of a chat without rooms share.
pub(super) const SHARED_ROOM: &str = "general";

/// What members are told where messages were lost.
pub(super) const LOST: &str = "Some messages were lost and cannot be shown.";

/// Fields that are never passed on: the server sets them, a front end could take them for who the sender is, or a page
/// that merges objects would change those of all its scripts.
const RESERVED: [&str; 25] = [
    "__proto__",
    "constructor",
    "prototype",
    "nick",
    "id",
    "offset",
    "ts",
    "error",
    "verified",
    "extra",
    "username",
    "user",
    "userName",
    "user_name",
    "userId",
    "user_id",
    "sender",
    "senderId",
    "sender_id",
    "from",
    "author",
    "client",
    "name",
    "nickname",
    "sid",
];

/// The payload of a classic event.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// # Errors
    /// The payload is not an object.
    pub(super) fn of(payload: &Payload) -> Result<Self, Refusal> {
        payload.decode().map(Self)
    }

    /// Of an object that was decoded already.
    pub(super) fn new(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// A field as it is.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The first of these fields that is present and not null: a string, or a number as its digits.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn text(&self, names: &[&str]) -> Result<Option<String>, Refusal> {
        let present = names.iter().find_map(|name| Some((name, self.0.get(*name).filter(|v| !v.is_null())?)));
        match present {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text.clone())),
            Some((_, Value::Number(number))) => Ok(Some(number.to_string())),
            Some((name, _)) => Err(Refusal::new(Code::BadRequest, format!("{name} is not a string"))),
        }
    }

    /// Like [`Fields::text`], for fields of which one must be present.
    pub(super) fn required(&self, names: &[&str]) -> Result<String, Refusal> {
        let name = names.first().copied().unwrap_or_default();
        self.text(names)?.ok_or_else(|| Refusal::new(Code::BadRequest, format!("{name} is missing")))
    }

    /// What is passed on of the sender's object besides its named fields, to clients of the same dialect. `text` are the
    /// names of its text, of which the first is the usual one.
    ///
    /// # Errors
    /// It is more than a message may have.
    pub(super) fn others(
        &self,
        dialect: &str,
        named: &[&str],
        text: &[&str],
    ) -> Result<Option<Box<Extra>>, Refusal> {
        let found = text.iter().position(|name| self.0.get(*name).is_some_and(|value| !value.is_null()));
        let text_field =
            found.filter(|at| *at > 0).and_then(|at| text.get(at)).map(|name| (*name).to_owned());
        let is_named =
            |name: &String| [named, text, &RESERVED].iter().any(|names| names.contains(&name.as_str()));
        // The server's own messages with an image have one of that form.
        let is_image = |name: &str, value: &Value| name == "image" && value.is_object();
        let others = self.0.iter().filter(|(name, value)| !is_named(name) && !is_image(name, value));
        let fields: Map<_, _> = others.map(|(name, value)| (name.clone(), value.clone())).collect();
        if fields.is_empty() && text_field.is_none() {
            return Ok(None);
        }
        let bytes = serde_json::to_string(&fields).map_or(usize::MAX, |json| json.len());
        if fields.len() > MAX_EXTRA_FIELDS || bytes > MAX_EXTRA_BYTES {
            let why = format!(
                "a message may have {MAX_EXTRA_FIELDS} fields of its own, in {MAX_EXTRA_BYTES} bytes of JSON"
            );
            return Err(Refusal::new(Code::BadRequest, why));
        }
        Ok(Some(Box::new(Extra { v: EXTRA_VERSION, dialect: dialect.to_owned(), text_field, fields })))
    }

    /// The name of a user.
    pub(super) fn user(&self, names: &[&str]) -> Result<UserName, Refusal> {
        user(&self.required(names)?)
    }

    /// The name of a room.
    pub(super) fn room(&self, names: &[&str]) -> Result<RoomName, Refusal> {
        RoomName::parse(self.required(names)?.trim())
    }
}

/// Parses the name of a user of a classic chat, whose front ends send white space around it as it was typed.
pub(super) fn user(name: &str) -> Result<UserName, Refusal> {
    UserName::parse(name.trim())
}

/// The steps by which a connection enters a room under a name, and leaves the rooms that it was in.
///
/// # Errors
/// The connection signed in with another name.
pub(super) fn enter(
    standing: &Standing,
    user: UserName,
    room: RoomName,
    history: usize,
) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    match &standing.user {
        Some(own) if *own == user => {
            let former = standing.rooms.iter().filter(|former| **former != room);
            steps.extend(former.map(|former| leave(former.clone())));
        }
        Some(own) if standing.signed_in => {
            return Err(Refusal::new(Code::BadUsername, format!("you are signed in as {own}")));
        }
        // Taking another name leaves the rooms.
        _ => steps.push(Step::TakeName(user)),
    }
    steps.push(Step::Execute(Command::Join(Join { room, since: None, limit: Some(history) })));
    Ok(steps)
}

pub(super) fn leave(room: RoomName) -> Step {
    Step::Execute(Command::Leave(Leave { room }))
}

pub(super) fn send(room: RoomName, text: String) -> Step {
    Step::Execute(Command::SendMessage(SendMessage { room, text, id: None }))
}

/// A message with other fields of its sender's object, if there are some.
pub(super) fn send_with(room: RoomName, text: String, extra: Option<Box<Extra>>) -> Step {
    match extra {
        None => send(room, text),
        Some(extra) => Step::Execute(Command::SendMessageWith(SendMessage { room, text, id: None }, extra)),
    }
}

/// One step.
pub(super) fn single(step: Step) -> Decoded {
    Decoded::Steps(vec![step])
}

pub(super) fn unknown_event(event: &str) -> Refusal {
    let name: String = event.chars().take(64).collect();
    Refusal::new(Code::UnknownEvent, format!("there is no event {name:?}"))
}

/// The acknowledgement, for clients that ask for one: the originals did not.
pub(super) fn ack(reply: &Result<Reply, Refusal>) -> serde_json::Result<Box<RawValue>> {
    match reply {
        Ok(Reply::Sent(sent)) => to_raw_value(&Answer::Ok(sent)),
        Ok(Reply::SentPrivately(sent)) => to_raw_value(&Answer::Ok(sent)),
        Ok(Reply::ImageSent(sent)) => to_raw_value(&Answer::Ok(sent)),
        Ok(_) => to_raw_value(&Answer::Ok(Done {})),
        Err(refusal) => to_raw_value(&Answer::<()>::Error(refusal.clone().into())),
    }
}

#[cfg(test)]
pub(super) mod testing;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::*;
    use super::*;

    fn fields(value: Value) -> Fields {
        let Value::Object(object) = value else { panic!("{value}") };
        Fields::new(object)
    }

    #[test]
    fn fields_are_found_under_every_spelling() {
        let both = fields(json!({ "data": null, "message": "hi", "room": 7, "bad": {} }));
        assert_eq!(both.text(&["data", "message"]).unwrap().unwrap(), "hi");
        assert_eq!(both.room(&["room"]).unwrap(), room("7"));
        assert_eq!(both.text(&["absent"]).unwrap(), None);
        assert_eq!(both.required(&["absent"]).unwrap_err().message, "absent is missing");
        assert_eq!(both.text(&["bad"]).unwrap_err().message, "bad is not a string");
    }

    #[test]
    fn what_is_passed_on_is_bounded_and_names_nobody() {
        let others = |value: Value| fields(value).others("flocker", &["room"], &["msg", "message"]);
        assert!(
            others(json!({ "room": "r", "msg": "hi", "from": "eve", "id": 7, "sid": "x", "nick": "eve", "__proto__": { "a": 1 }, "constructor": 1 }))
                .unwrap()
                .is_none()
        );
        assert!(
            others(json!({ "msg": "hi", "image": { "url": "https://eve.example/0" } })).unwrap().is_none()
        );
        assert!(others(json!({ "msg": "hi", "image": "frog.png" })).unwrap().is_some());
        let extra = others(json!({ "message": "hi", "color": "red", "tags": [1] })).unwrap().unwrap();
        assert_eq!(extra.text_field.as_deref(), Some("message"));
        assert_eq!(json!(extra.fields), json!({ "color": "red", "tags": [1] }));
        let many: Map<_, _> = (0..=MAX_EXTRA_FIELDS).map(|n| (format!("f{n}"), json!(n))).collect();
        for too_much in [Value::Object(many), json!({ "f": "x".repeat(MAX_EXTRA_BYTES) })] {
            assert_eq!(others(too_much).unwrap_err().code, Code::BadRequest);
        }
    }

    #[test]
    fn names_are_trimmed() {
        assert_eq!(user(" ann ").unwrap(), name("ann"));
        for bad in ["", " ", "@ann"] {
            assert_eq!(user(bad).unwrap_err().code, Code::BadUsername, "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_was_signed_in_with_cannot_be_changed() {
        let proved = || Standing { signed_in: true, ..open("ann", &["a"]) };
        assert_eq!(enter(&proved(), name("ann"), room("b"), 0).unwrap().len(), 2);
        assert_eq!(enter(&proved(), name("bob"), room("b"), 0).unwrap_err().code, Code::BadUsername);
    }
}
