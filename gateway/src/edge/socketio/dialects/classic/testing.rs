//! What the tests of the dialects share.

use std::sync::Arc;

use roomcast_protocol::ack::Online;
use roomcast_protocol::message::compose;
use roomcast_protocol::server::Presence;
use roomcast_protocol::{Body, Content, Epoch, Image, ImageType, Position};
use serde_json::json;

use super::super::super::dialect::{Dialect, EncodedReply};
use super::*;
use crate::chat::{BroadcastOrigin, Recipient};
use crate::hub::{Event, Message};
use crate::room::JoinedRoom;

pub(in super::super) fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

pub(in super::super) fn name(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

/// A connection with an open name in these rooms.
pub(in super::super) fn open(user: &str, rooms: &[&str]) -> Standing {
    let rooms = rooms.iter().map(|name| room(name)).collect();
    Standing { user: Some(name(user)), signed_in: false, rooms }
}

/// Decodes an event; shows the steps in short.
pub(in super::super) fn steps(
    dialect: &dyn Dialect,
    standing: Standing,
    event: &str,
    payload: &Value,
) -> Result<Vec<String>, Refusal> {
    let Standing { user, signed_in, rooms } = standing;
    let standing = || Standing { user: user.clone(), signed_in, rooms: rooms.clone() };
    let payload = Payload::Json(to_raw_value(payload).unwrap());
    let decoded = dialect.decode(&standing, event, &payload)?;
    let Decoded::Steps(steps) = decoded else { panic!("{decoded:?}") };
    Ok(steps.iter().map(show).collect())
}

/// The code of the refusal of an event.
pub(in super::super) fn code(
    dialect: &dyn Dialect,
    standing: Standing,
    event: &str,
    payload: &Value,
) -> Code {
    steps(dialect, standing, event, payload).unwrap_err().code
}

fn show(step: &Step) -> String {
    match step {
        Step::TakeName(user) => format!("name {user}"),
        Step::TakeGuestName => "name guest".into(),
        Step::Execute(Command::Join(Join { room, limit, .. })) => {
            format!("join {room} {}", limit.unwrap_or(999))
        }
        Step::Execute(Command::Leave(Leave { room })) => format!("leave {room}"),
        Step::Execute(Command::SendMessage(SendMessage { room, text, .. })) => {
            format!("send {room} {text}")
        }
        Step::Execute(Command::SendMessageWith(SendMessage { room, text, .. }, extra)) => {
            format!("send {room} {text} with {}", serde_json::to_string(extra).unwrap())
        }
        Step::Execute(Command::Broadcast(message, BroadcastOrigin::Classic)) => {
            format!("broadcast {}", message.text)
        }
        Step::Execute(Command::PrivateMessageTo { typed, room, text, .. }) => {
            format!("private {typed} in {room}: {text}")
        }
        Step::Execute(Command::SendImage(image)) => {
            let room = image.room.as_ref().map(ToString::to_string).unwrap_or_default();
            let to = match &image.to {
                Some(Recipient::Typed { name, room }) => format!("to {name} in {room}"),
                Some(Recipient::User(user)) => format!("to {user}"),
                None => room,
            };
            format!("image {to} of {} bytes", image.image.len())
        }
        Step::Execute(Command::OnlineUsers(online)) => format!("users {}", online.room),
        Step::Execute(other) => format!("{other:?}"),
    }
}

pub(in super::super) fn message(room_name: &str, user: &str, text: &str) -> Arc<Message> {
    let content = Content::Text { text: text.into() };
    let body = Body { id: "m-1".into(), user: name(user), verified: true, content, extra: None };
    stored(room_name, &body.encode().unwrap())
}

/// The same, with other fields of its sender's object.
pub(in super::super) fn message_with(room_name: &str, user: &str, text: &str, extra: &Value) -> Arc<Message> {
    let content = Content::Text { text: text.into() };
    let extra = Some(serde_json::from_value(extra.clone()).unwrap());
    let body = Body { id: "m-1".into(), user: name(user), verified: true, content, extra };
    stored(room_name, &body.encode().unwrap())
}

pub(in super::super) fn image_message(room_name: &str, user: &str, alt: &str) -> Arc<Message> {
    let url = "https://chat.example/images/0f".into();
    let image = Image { url, width: 2, height: 3, r#type: ImageType::Png, bytes: 67 };
    let content = Content::Image { image, alt: alt.into() };
    let body = Body { id: "m-1".into(), user: name(user), verified: true, content, extra: None };
    stored(room_name, &body.encode().unwrap())
}

pub(in super::super) fn stored(room_name: &str, body: &str) -> Arc<Message> {
    let room = RoomName::parse_stored(room_name).unwrap();
    let json = compose(&room, &Epoch::new("e"), 7, 9, body).unwrap();
    Arc::new(Message { offset: 7, ts: 9, json, trace: None })
}

/// The packets of an event.
pub(in super::super) fn encoded(dialect: &dyn Dialect, event: &Event) -> Vec<(String, Value)> {
    let mut packets = Vec::new();
    let mut emit = |event: &'static str, payload: &RawValue| {
        packets.push((event.to_owned(), serde_json::from_str(payload.get()).unwrap()));
    };
    dialect.encode_event(event, &mut emit).unwrap();
    packets
}

/// The events of a reply.
pub(in super::super) fn replied(
    dialect: &dyn Dialect,
    reply: Result<Reply, Refusal>,
) -> Vec<(String, Value)> {
    let EncodedReply { events, .. } = dialect.encode_reply(reply).unwrap();
    let decode = |(event, payload): (&str, Box<RawValue>)| {
        (event.to_owned(), serde_json::from_str(payload.get()).unwrap())
    };
    events.into_iter().map(decode).collect()
}

pub(in super::super) fn presence(room_name: &str, joined: &[&str], left: &[&str], users: &[&str]) -> Event {
    let names = |names: &[&str]| names.iter().map(|user| name(user)).collect::<Vec<_>>();
    let (joined, left, users) = (names(joined), names(left), names(users));
    Event::Presence {
        change: Presence { room: room(room_name), joined, left, count: users.len() },
        users: users.into(),
    }
}

pub(in super::super) fn joined(room_name: &str, users: &[&str], messages: Vec<Arc<Message>>) -> Reply {
    let users: Vec<_> = users.iter().map(|user| name(user)).collect();
    Reply::Joined(JoinedRoom {
        room: room(room_name),
        position: Position { epoch: Epoch::new("e"), offset: 7 },
        more: false,
        recovered: false,
        messages,
        online: Online { count: users.len(), users: users.into() },
    })
}

/// A message's fields besides those of the original.
pub(in super::super) fn stamped(mut fields: Value) -> Value {
    for (name, value) in [("id", json!("m-1")), ("offset", json!(7)), ("ts", json!(9))] {
        fields[name] = value;
    }
    fields
}
