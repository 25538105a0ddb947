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
use super::classic::{self, Fields, PrivateImage, PrivateText, SHARED_ROOM, Stamp, escape};
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
    /// What it shows, if its sender said that.
    #[serde(skip_serializing_if = "str::is_empty")]
    alt: &'a str,
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
                    let (from, bimage, alt) = (&image.user, image.image.url.as_str(), image.alt.as_str());
                    let (room, to) = (Some(image.room.as_str().to_uppercase()), None);
                    let image =
                        ChatImage { r#type: "image", from, bimage, alt, room, to, stamp: image.stamp };
                    emit(CHAT, &to_raw_value(&image)?);
                } else if let Some(text) = classic::text(&message.json)? {
                    let (from, message) = (&text.user, text.text.as_str());
                    let (room, to) = (Some(text.room.as_str().to_uppercase()), None);
                    let message = ChatMessage { r#type: "chat", from, message, room, to, stamp: text.stamp };
                    emit(CHAT, &to_raw_value(&message)?);
                }
            }
            Event::PrivateMessage(message) => {
                if let Some(image) = classic::private::<PrivateImage>(&message.json, "image")? {
                    let (from, bimage, alt) = (&image.user, image.image.url.as_str(), image.alt.as_str());
                    let (room, to) = (None, Some(&image.to));
                    let image =
                        ChatImage { r#type: "image", from, bimage, alt, room, to, stamp: image.stamp };
                    emit(CHAT, &to_raw_value(&image)?);
                } else if let Some(text) = classic::private::<PrivateText>(&message.json, "text")? {
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
mod tests;
