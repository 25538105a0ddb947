//! The dialect `private-rooms`: one event `chat` in both directions, with `event` or `type` in its object. Names of
//! users and rooms are upper-case, a connection is in one room at a time, and its page shows its own messages by
//! itself. Listed in the table of `dialects/mod.rs`.

use bytes::Bytes;
use roomcast_protocol::client::{Broadcast, ConnectAuth, OnlineUsers};
use roomcast_protocol::image::ImageData;
use roomcast_protocol::limits::MAX_PAGE;
use roomcast_protocol::server::Inbox;
use roomcast_protocol::{Code, Refusal, RoomName, UserName};
use serde::{Deserialize as _, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::super::dialect::{Decoded, Dialect, EncodedReply, Standing, Step};
use super::super::image_data::image_bytes;
use super::super::packet::{Payload, decode_optional_auth};
use super::classic::{self, Fields, SHARED_ROOM, Stamp, escape};
use crate::chat::{BroadcastOrigin, Command, Recipient, Reply, SendImage};
use crate::hub::{Event, Packet};

const CHAT: &str = "chat";

/// The message of the refusal of a string that is not JSON, which has its own error.
const NOT_JSON: &str = "JSON Parse failed";
const JOIN_AGAIN: &str = "Join again: enter your name and a room";

pub(super) struct PrivateRooms;

/// `chat` of type `chat`.
#[derive(Serialize)]
struct ChatMessage<'a> {
    r#type: &'static str,
    from: &'a UserName,
    message: &'a str,
    /// The room, or whom a private message was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a UserName>,
    #[serde(flatten)]
    stamp: Stamp,
}

/// `chat` of type `image`: the URL stands where the original sent a data URL, and works as one in an `<img>`.
#[derive(Serialize)]
struct ChatImage<'a> {
    r#type: &'static str,
    from: &'a UserName,
    bimage: &'a str,
    /// The room, or whom a private image was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a UserName>,
    #[serde(flatten)]
    stamp: Stamp,
}

/// `chat` of another type, with one line of text in which names are escaped.
fn line(r#type: &str, message: &str) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&json!({ "type": r#type, "message": message }))
}

/// The fields of an event: an object, or the JSON of one in a string.
fn fields(payload: &Payload) -> Result<Fields, Refusal> {
    if let Payload::Json(json) = payload
        && let Ok(text) = serde_json::from_str::<String>(json.get())
    {
        let object = serde_json::from_str(&text).map_err(|_| Refusal::new(Code::BadRequest, NOT_JSON))?;
        return Ok(Fields::new(object));
    }
    payload.decode_with_bytes().map(Fields::new)
}

/// The image of an event: a data URL, as the original's page sends it, or bytes.
fn image(payload: &Payload, fields: &Fields) -> Result<Bytes, Refusal> {
    let missing = || Refusal::new(Code::BadRequest, "bimage is no image: a data URL is expected");
    let image = fields.get("bimage").ok_or_else(missing)?;
    image_bytes(payload, &ImageData::deserialize(image).map_err(|_| missing())?)
}

/// A room is upper-case, except the one that users of a chat without rooms share: `GENERAL` is that room.
fn room(name: &str) -> Result<RoomName, Refusal> {
    let name = name.trim().to_uppercase();
    RoomName::parse(if name == SHARED_ROOM.to_uppercase() { SHARED_ROOM } else { &name })
}

fn user(name: &str) -> Result<UserName, Refusal> {
    classic::user(&name.to_uppercase())
}

/// The room of an event: as it says, or the one that the connection is in.
fn room_of(fields: &Fields, standing: &Standing) -> Result<RoomName, Refusal> {
    let named = fields.text(&["room"])?.filter(|name| !name.trim().is_empty());
    match (named, standing.rooms.first()) {
        (Some(name), Some(_)) => room(&name),
        (None, Some(joined)) => Ok(joined.clone()),
        (_, None) => Err(Refusal::new(Code::NotJoined, JOIN_AGAIN)),
    }
}

/// Whether a message is for everyone: it names no room, and its sender has a name and is in none.
fn is_for_everyone(fields: &Fields, standing: &Standing) -> Result<bool, Refusal> {
    let names_room = fields.text(&["room"])?.is_some_and(|name| !name.trim().is_empty());
    Ok(!names_room && standing.user.is_some() && standing.rooms.is_empty())
}

impl Dialect for PrivateRooms {
    fn name(&self) -> &'static str {
        "private-rooms"
    }

    fn sign_in(&self, mut auth: Value) -> Result<Option<ConnectAuth>, Refusal> {
        if let Some(Value::String(name)) = auth.get_mut("username") {
            *name = name.to_uppercase();
        }
        decode_optional_auth(auth)
    }

    fn omits_own_messages(&self) -> bool {
        true
    }

    /// An image is one of the events of this name.
    fn may_be_long(&self, event: &str) -> bool {
        event == CHAT
    }

    fn decode(
        &self,
        standing: &dyn Fn() -> Standing,
        event: &str,
        payload: &Payload,
    ) -> Result<Decoded, Refusal> {
        if event != CHAT {
            return Err(classic::unknown_event(event));
        }
        let (fields, standing) = (fields(payload)?, standing());
        match fields.text(&["event"])?.as_deref().unwrap_or("users") {
            "join" => {
                let user = user(fields.text(&["user"])?.as_deref().unwrap_or("JDOE"))?;
                let room = room(fields.text(&["room"])?.as_deref().unwrap_or("PARKED"))?;
                classic::enter(&standing, user, room, 0).map(Decoded::Steps)
            }
            "leave" => Ok(classic::single(classic::leave(room_of(&fields, &standing)?))),
            "users" => {
                let room = room_of(&fields, &standing)?;
                let command = OnlineUsers { room, cursor: None, limit: Some(MAX_PAGE) };
                Ok(classic::single(Step::Execute(Command::OnlineUsers(command))))
            }
            "chat" => {
                let to = fields.text(&["user"])?.filter(|name| !name.trim().is_empty());
                let text = fields.text(&["text", "message"])?.unwrap_or_else(|| "Knock! Knock!".into());
                if to.is_none() && is_for_everyone(&fields, &standing)? {
                    let broadcast =
                        Command::Broadcast(Broadcast { text, id: None }, BroadcastOrigin::Classic);
                    return Ok(classic::single(Step::Execute(broadcast)));
                }
                let room = room_of(&fields, &standing)?;
                Ok(classic::single(match to {
                    Some(to) => Step::Execute(Command::PrivateMessageTo {
                        typed: to.trim().to_owned(),
                        room,
                        text,
                        id: None,
                    }),
                    None => classic::send(room, text),
                }))
            }
            "image" => {
                let to = fields.text(&["user"])?.filter(|name| !name.trim().is_empty());
                let room = room_of(&fields, &standing)?;
                let image = image(payload, &fields)?;
                let (room, to) = match to {
                    Some(to) => (None, Some(Recipient::Typed { name: to.trim().to_owned(), room })),
                    None => (Some(room), None),
                };
                let image = SendImage { room, to, image, alt: None, id: None };
                Ok(classic::single(Step::Execute(Command::SendImage(image))))
            }
            unknown => Err(classic::unknown_event(unknown)),
        }
    }

    fn encode_reply(&self, reply: Result<Reply, Refusal>) -> serde_json::Result<EncodedReply> {
        let ack = classic::ack(&reply)?;
        let events: Vec<Packet> = match &reply {
            Ok(Reply::OnlineUsers(page)) => {
                let listed: Vec<_> =
                    page.users.iter().map(|user| format!("'{}'", escape(user.as_str()))).collect();
                let more = page.count.saturating_sub(listed.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                vec![(CHAT, line("users", &format!("Users in room: [{}]{more}", listed.join(", ")))?)]
            }
            Ok(_) => Vec::new(),
            // The argument of the original's `message` is a string that holds JSON.
            Err(refusal) if refusal.message == NOT_JSON => {
                vec![("message", to_raw_value(&json!({ "code": 99, "message": NOT_JSON }).to_string())?)]
            }
            Err(refusal) => vec![(CHAT, line("user", &escape(&refusal.message))?)],
        };
        Ok(EncodedReply { ack, events })
    }

    fn encode_event(
        &self,
        event: &Event,
        emit: &mut dyn FnMut(&'static str, &RawValue),
    ) -> serde_json::Result<()> {
        match event {
            Event::Message(message) => {
                if let Some(image) = classic::image(&message.json)? {
                    let (from, bimage) = (&image.user, image.image.url.as_str());
                    let (room, to) = (Some(image.room.as_str().to_uppercase()), None);
                    let image = ChatImage { r#type: "image", from, bimage, room, to, stamp: image.stamp };
                    emit(CHAT, &to_raw_value(&image)?);
                } else if let Some(text) = classic::text(&message.json)? {
                    let (from, message) = (&text.user, text.text.as_str());
                    let (room, to) = (Some(text.room.as_str().to_uppercase()), None);
                    let message = ChatMessage { r#type: "chat", from, message, room, to, stamp: text.stamp };
                    emit(CHAT, &to_raw_value(&message)?);
                }
            }
            Event::PrivateMessage(message) => {
                if let Some(image) = classic::private_image(&message.json)? {
                    let (from, bimage) = (&image.user, image.image.url.as_str());
                    let (room, to) = (None, Some(&image.to));
                    let image = ChatImage { r#type: "image", from, bimage, room, to, stamp: image.stamp };
                    emit(CHAT, &to_raw_value(&image)?);
                } else if let Some(text) = classic::private_text(&message.json)? {
                    let (from, message) = (&text.user, text.text.as_str());
                    let (room, to) = (None, Some(&text.to));
                    let message = ChatMessage { r#type: "chat", from, message, room, to, stamp: text.stamp };
                    emit(CHAT, &to_raw_value(&message)?);
                }
            }
            Event::Presence { change, .. } => {
                let room = escape(&change.room.as_str().to_uppercase());
                for user in &change.joined {
                    let user = escape(user.as_str());
                    emit(CHAT, &line("newuser", &format!("New User {user} joined room {room}"))?);
                }
                for user in &change.left {
                    let user = escape(user.as_str());
                    emit(CHAT, &line("deluser", &format!("User {user} left room {room}"))?);
                }
            }
            Event::Resync(_) | Event::Inbox(Inbox { recovered: false, .. }) => {
                emit(CHAT, &line("user", classic::LOST)?);
            }
            Event::Welcome(_)
            | Event::Inbox(_)
            | Event::OnlineUsers(_)
            | Event::Typing(_)
            | Event::Restarting(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roomcast_protocol::Epoch;
    use roomcast_protocol::ack::UsersPage;
    use roomcast_protocol::message::compose_private;

    use super::super::super::packet::NotKept;
    use super::super::classic::testing::*;
    use super::*;
    use crate::hub::Message;

    fn chat(standing: Standing, payload: &Value) -> Result<Vec<String>, Refusal> {
        steps(&PrivateRooms, standing, "chat", payload)
    }

    #[test]
    fn users_and_rooms_are_upper_case_and_have_defaults() {
        let join = json!({ "event": "join", "user": "ann", "room": "den" });
        assert_eq!(chat(Standing::default(), &join).unwrap(), ["name ANN", "join DEN 0"]);
        assert_eq!(
            chat(Standing::default(), &json!({ "event": "join" })).unwrap(),
            ["name JDOE", "join PARKED 0"]
        );
        assert_eq!(chat(open("ANN", &["LAIR"]), &join).unwrap(), ["leave LAIR", "join DEN 0"]);
        assert_eq!(chat(open("BOB", &["LAIR"]), &join).unwrap(), ["name ANN", "join DEN 0"]);
        let shared = json!({ "event": "join", "user": "ann", "room": "General" });
        assert_eq!(chat(open("ANN", &[]), &shared).unwrap(), ["join general 0"]);
        let auth = PrivateRooms.sign_in(json!({ "username": "ann" })).unwrap().unwrap();
        assert_eq!(auth.username, name("ANN"));
    }

    #[test]
    fn what_is_missing_is_taken_from_the_connection() {
        let ann = || open("ANN", &["DEN"]);
        assert_eq!(
            chat(ann(), &json!({ "event": "leave", "user": "ann", "room": "den" })).unwrap(),
            ["leave DEN"]
        );
        assert_eq!(chat(ann(), &json!({ "event": "leave" })).unwrap(), ["leave DEN"]);
        assert_eq!(chat(ann(), &json!({ "room": "den" })).unwrap(), ["users DEN"], "without an event");
        for text in ["text", "message"] {
            assert_eq!(chat(ann(), &json!({ "event": "chat", text: "hi" })).unwrap(), ["send DEN hi"]);
        }
        assert_eq!(
            chat(ann(), &json!({ "event": "chat", "room": "den" })).unwrap(),
            ["send DEN Knock! Knock!"]
        );
        for event in ["chat", "users", "leave"] {
            let refusal = chat(Standing::default(), &json!({ "event": event })).unwrap_err();
            assert_eq!(refusal.code, Code::NotJoined);
            assert!(refusal.message.starts_with("Join again: "));
        }
    }

    #[test]
    fn a_message_without_a_room_is_for_everyone_if_its_sender_is_in_none() {
        let chat_text = |more: Value| {
            let mut payload = json!({ "event": "chat", "text": "hi" });
            payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            payload
        };
        let in_no_room = || open("ANN", &[]);
        assert_eq!(chat(in_no_room(), &chat_text(json!({}))).unwrap(), ["broadcast hi"]);
        assert_eq!(chat(in_no_room(), &chat_text(json!({ "room": " " }))).unwrap(), ["broadcast hi"]);
        assert_eq!(chat(in_no_room(), &json!({ "event": "chat" })).unwrap(), ["broadcast Knock! Knock!"]);
        assert_eq!(chat(open("ANN", &["DEN"]), &chat_text(json!({}))).unwrap(), ["send DEN hi"]);
        for (standing, more) in [
            (in_no_room(), json!({ "room": "den" })),
            (in_no_room(), json!({ "user": "bob" })),
            (Standing::default(), json!({})),
        ] {
            let refusal = chat(standing, &chat_text(more)).unwrap_err();
            assert_eq!(refusal.code, Code::NotJoined);
        }
    }

    #[test]
    fn a_string_is_parsed_as_json() {
        let join = json!(r#"{"event":"join","user":"ann","room":"den"}"#);
        assert_eq!(chat(Standing::default(), &join).unwrap(), ["name ANN", "join DEN 0"]);
        for bad in ["hello", "", "[1]", "7"] {
            let refusal = chat(Standing::default(), &json!(bad)).unwrap_err();
            let [(event, payload)] = &replied(&PrivateRooms, Err(refusal))[..] else { panic!("{bad}") };
            assert_eq!(event, "message");
            let payload: Value = serde_json::from_str(payload.as_str().unwrap()).unwrap();
            assert_eq!(payload, json!({ "code": 99, "message": "JSON Parse failed" }));
        }
    }

    #[test]
    fn a_message_to_one_user_never_becomes_one_to_the_room() {
        let private = json!({ "event": "chat", "user": " Bob ", "room": "den", "text": "psst" });
        assert_eq!(chat(open("ANN", &["DEN"]), &private).unwrap(), ["private Bob in DEN: psst"]);
        let image = json!({ "event": "image", "user": " bob ", "room": "den", "bimage": "data:image/png;base64,AA==" });
        assert_eq!(chat(open("ANN", &["DEN"]), &image).unwrap(), ["image to bob in DEN of 1 bytes"]);
        assert_eq!(chat(open("ANN", &[]), &image).unwrap_err().code, Code::NotJoined);
    }

    #[test]
    fn an_image_is_sent_as_a_data_url_or_bytes_and_received_as_a_url() {
        let image = json!({ "event": "image", "room": "den", "bimage": "data:image/png;base64,AAEC" });
        assert_eq!(chat(open("ANN", &["DEN"]), &image).unwrap(), ["image DEN of 3 bytes"]);
        let bytes = json!({ "event": "image", "bimage": { "_placeholder": true, "num": 0 } });
        let payload = Payload::WithBytes(to_raw_value(&bytes).unwrap(), vec![Bytes::from_static(b"ab")]);
        let decoded = PrivateRooms.decode(&|| open("ANN", &["DEN"]), "chat", &payload).unwrap();
        let Decoded::Steps(steps) = decoded else { panic!("{decoded:?}") };
        let [Step::Execute(Command::SendImage(sent))] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!(sent.image, b"ab".as_slice());
        for bad in [json!(7), json!(null), json!("crab.png"), json!({ "_placeholder": true, "num": 0 })] {
            let image = json!({ "event": "image", "bimage": bad });
            let code = chat(open("ANN", &["DEN"]), &image).unwrap_err().code;
            assert!(matches!(code, Code::BadRequest | Code::BadImage), "{bad}");
        }
        let event = Event::Message(image_message("general", "ANN", ""));
        let url = "https://chat.example/images/0f";
        let expected = stamped(json!({ "type": "image", "from": "ANN", "bimage": url, "room": "GENERAL" }));
        assert_eq!(encoded(&PrivateRooms, &event), [("chat".into(), expected)]);
    }

    #[test]
    fn a_packet_that_was_not_kept_is_told_as_type_user() {
        let standing = || open("ANN", &["DEN"]);
        let refused =
            PrivateRooms.decode(&standing, "chat", &Payload::NotKept(NotKept::TooLong)).unwrap_err();
        let told = ("chat".to_owned(), json!({ "type": "user", "message": "the image is too large" }));
        assert_eq!(replied(&PrivateRooms, Err(refused)), [told]);
    }

    #[test]
    fn messages_and_announcements_have_the_fields_of_the_original() {
        let event = Event::Message(message("general", "ANN", "<hi>"));
        let expected =
            stamped(json!({ "type": "chat", "from": "ANN", "message": "<hi>", "room": "GENERAL" }));
        assert_eq!(encoded(&PrivateRooms, &event), [("chat".into(), expected)]);
        let body = r#"{"v":1,"id":"m-1","kind":"text","user":"bob","text":"<psst>"}"#;
        let json = compose_private(&name("ANN"), &Epoch::new("e"), 7, 9, body).unwrap();
        let event = Event::PrivateMessage(Arc::new(Message { offset: 7, ts: 9, json, trace: None }));
        let expected = stamped(json!({ "type": "chat", "from": "bob", "message": "<psst>", "to": "ANN" }));
        assert_eq!(encoded(&PrivateRooms, &event), [("chat".into(), expected)]);
        let image = r#"{"url":"/images/0f","width":1,"height":1,"type":"image/png","bytes":67}"#;
        let body =
            format!(r#"{{"v":1,"id":"m-1","kind":"image","user":"bob","image":{image},"alt":"a dot"}}"#);
        let json = compose_private(&name("ANN"), &Epoch::new("e"), 7, 9, &body).unwrap();
        let event = Event::PrivateMessage(Arc::new(Message { offset: 7, ts: 9, json, trace: None }));
        let expected =
            stamped(json!({ "type": "image", "from": "bob", "bimage": "/images/0f", "to": "ANN" }));
        assert_eq!(encoded(&PrivateRooms, &event), [("chat".into(), expected)]);
        let line =
            |r#type: &str, message: &str| ("chat".to_owned(), json!({ "type": r#type, "message": message }));
        assert_eq!(
            encoded(&PrivateRooms, &presence("DEN", &["<ANN>"], &["BOB"], &["<ANN>"])),
            [
                line("newuser", "New User &lt;ANN&gt; joined room DEN"),
                line("deluser", "User BOB left room DEN"),
            ]
        );
        let page = |count| UsersPage { count, users: vec![name("A"), name("B'")], cursor: None };
        let listed = "Users in room: ['A', 'B&#39;']";
        assert_eq!(replied(&PrivateRooms, Ok(Reply::OnlineUsers(page(2)))), [line("users", listed)]);
        let more = format!("{listed} and 3 more");
        assert_eq!(replied(&PrivateRooms, Ok(Reply::OnlineUsers(page(5)))), [line("users", &more)]);
    }

    #[test]
    fn bad_input_is_told_as_type_user() {
        for (payload, code) in [
            (json!(7), Code::BadRequest),
            (json!({ "event": {} }), Code::BadRequest),
            (json!({ "event": "join", "user": "@x", "room": "r" }), Code::BadUsername),
            (json!({ "event": "join", "user": "x", "room": "" }), Code::BadRoom),
            (json!({ "event": "dance" }), Code::UnknownEvent),
        ] {
            assert_eq!(self::code(&PrivateRooms, open("ANN", &["DEN"]), "chat", &payload), code, "{payload}");
        }
        let refused = replied(&PrivateRooms, Err(Refusal::new(Code::UsernameTaken, "<ANN> is online")));
        assert_eq!(refused, [("chat".into(), json!({ "type": "user", "message": "&lt;ANN&gt; is online" }))]);
    }
}
