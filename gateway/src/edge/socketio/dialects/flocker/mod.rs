//! The dialect `flocker`: `join` and `send_message`, answered by `message` and `online_users`. A connection is in one
//! room at a time, and its names begin with `#` on some pages only. Listed in the table of `dialects/mod.rs`.

use roomcast_protocol::limits::DEFAULT_PAGE;
use roomcast_protocol::{Refusal, RoomName, UserName};
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::super::dialect::{Decoded, Dialect, EncodedReply, Standing};
use super::super::packet::Payload;
use super::classic::{self, Fields, Picture, SYSTEM, Stamp};
use crate::chat::Reply;
use crate::hub::{Event, Message, Packet};

const MESSAGE: &str = "message";
const ONLINE_USERS: &str = "online_users";
const NAME: &str = "flocker";

/// The names of a message's text.
const TEXT: [&str; 2] = ["msg", "message"];

pub(super) struct Flocker;

/// `message`: the sender's own object, and the server's stamp.
#[derive(Serialize)]
struct ChatMessage<'a> {
    username: &'a UserName,
    msg: &'a str,
    room: &'a RoomName,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a Picture>,
    #[serde(flatten)]
    stamp: Stamp,
}

/// The room of an event. A leading `#` is no part of its name.
fn room(fields: &Fields) -> Result<RoomName, Refusal> {
    let room = fields.required(&["room"])?;
    let room = room.trim();
    RoomName::parse(room.strip_prefix('#').unwrap_or(room).trim())
}

fn encode_message(message: &Message) -> serde_json::Result<Option<Box<RawValue>>> {
    let Some(text) = classic::text(&message.json)? else { return Ok(None) };
    let (username, msg, room) = (&text.user, text.text.as_str(), &text.room);
    let (image, stamp) = (text.image.as_ref(), text.stamp.clone());
    text.encode(NAME, &ChatMessage { username, msg, room, image, stamp }).map(Some)
}

/// A line of the server, in one room.
fn system(room: &RoomName, msg: &str) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&json!({ "username": SYSTEM, "msg": msg, "room": room }))
}

/// The users of a room, of which large rooms have only the count.
fn online(room: &RoomName, count: usize, users: &[UserName]) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&json!({ "room": room, "count": count, "users": users }))
}

impl Dialect for Flocker {
    fn name(&self) -> &'static str {
        NAME
    }

    fn decode(
        &self,
        standing: &dyn Fn() -> Standing,
        event: &str,
        payload: &Payload,
    ) -> Result<Decoded, Refusal> {
        match event {
            "join" => {
                let fields = Fields::of(payload)?;
                let (user, room) = (fields.user(&["username"])?, room(&fields)?);
                let standing = standing();
                // Who is in the room already has its messages.
                let is_in = standing.user.as_ref() == Some(&user) && standing.rooms.contains(&room);
                let history = if is_in { 0 } else { DEFAULT_PAGE };
                classic::enter(&standing, user, room, history).map(Decoded::Steps)
            }
            "send_message" => {
                let fields = Fields::of(payload)?;
                let (room, text) = (room(&fields)?, fields.required(&TEXT)?);
                let standing = standing();
                let mut steps = Vec::new();
                // After a reconnect the page does not join again, so the first message does. The page has its history.
                if standing.rooms.is_empty() {
                    let user = match standing.user.clone() {
                        Some(user) => user,
                        None => fields.user(&["username"])?,
                    };
                    steps = classic::enter(&standing, user, room.clone(), 0)?;
                }
                let extra = fields.others(NAME, &["room"], &TEXT)?;
                steps.push(classic::send_with(room, text, extra));
                Ok(Decoded::Steps(steps))
            }
            "leave" => Ok(classic::single(classic::leave(room(&Fields::of(payload)?)?))),
            unknown => Err(classic::unknown_event(unknown)),
        }
    }

    fn encode_reply(&self, reply: Result<Reply, Refusal>) -> serde_json::Result<EncodedReply> {
        let ack = classic::ack(&reply)?;
        let mut events: Vec<Packet> = Vec::new();
        match &reply {
            Ok(Reply::Joined(joined)) => {
                for message in &joined.messages {
                    events.extend(encode_message(message)?.map(|payload| (MESSAGE, payload)));
                }
                let (count, users) = (joined.online.count, &joined.online.users);
                events.push((ONLINE_USERS, online(&joined.room, count, users)?));
            }
            Ok(_) => {}
            Err(refusal) => {
                let line = json!({ "username": SYSTEM, "msg": refusal.message, "error": refusal.code });
                events.push((MESSAGE, to_raw_value(&line)?));
            }
        }
        Ok(EncodedReply { ack, events })
    }

    fn encode_event(
        &self,
        event: &Event,
        emit: &mut dyn FnMut(&'static str, &RawValue),
    ) -> serde_json::Result<()> {
        match event {
            Event::Message(message) => {
                if let Some(payload) = encode_message(message)? {
                    emit(MESSAGE, &payload);
                }
            }
            Event::Presence { change, users } => {
                let room = &change.room;
                for user in &change.joined {
                    emit(MESSAGE, &system(room, &format!("{user} joined {room}."))?);
                }
                for user in &change.left {
                    emit(MESSAGE, &system(room, &format!("{user} left {room}."))?);
                }
                emit(ONLINE_USERS, &online(room, change.count, users)?);
            }
            Event::OnlineUsers(all) => emit(ONLINE_USERS, &online(&all.room, all.count, &all.users)?),
            Event::Resync(resync) => emit(MESSAGE, &system(&resync.room, classic::LOST)?),
            Event::Welcome(_)
            | Event::PrivateMessage(_)
            | Event::Inbox(_)
            | Event::Typing(_)
            | Event::Restarting(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use roomcast_protocol::Code;

    use super::super::classic::testing::*;
    use super::*;

    #[test]
    fn a_join_takes_the_name_and_leaves_the_former_room() {
        let join = json!({ "username": "ann", "room": "#general" });
        let first = steps(&Flocker, Standing::default(), "join", &join).unwrap();
        assert_eq!(first, ["name ann", "join general 50"]);
        let switch = steps(&Flocker, open("ann", &["help"]), "join", &join).unwrap();
        assert_eq!(switch, ["leave help", "join general 50"]);
        let again = steps(&Flocker, open("ann", &["general"]), "join", &join).unwrap();
        assert_eq!(again, ["join general 0"], "the page has the messages");
        let renamed = steps(&Flocker, open("bob", &["help"]), "join", &join).unwrap();
        assert_eq!(renamed, ["name ann", "join general 50"]);
        let spaced = json!({ "username": "ann", "room": " # general " });
        assert_eq!(
            steps(&Flocker, Standing::default(), "join", &spaced).unwrap(),
            ["name ann", "join general 50"]
        );
    }

    #[test]
    fn a_message_is_the_connections_own_whatever_it_says() {
        let send = |text: &str| json!({ "username": "eve", "room": "#general", text: "hi" });
        let sent = steps(&Flocker, open("ann", &["general"]), "send_message", &send("msg")).unwrap();
        assert_eq!(sent, ["send general hi"], "no name is taken");
        let sent = steps(&Flocker, open("ann", &["general"]), "send_message", &send("message")).unwrap();
        assert!(sent[0].starts_with("send general hi with "), "{sent:?}");
        let elsewhere = steps(&Flocker, open("ann", &["help"]), "send_message", &send("msg")).unwrap();
        assert_eq!(elsewhere, ["send general hi"], "the chat refuses it: not joined");
    }

    #[test]
    fn a_message_counts_as_the_join_of_a_connection_that_has_not_joined() {
        let send = json!({ "username": "ann", "room": "general", "msg": "hi" });
        let sent = steps(&Flocker, Standing::default(), "send_message", &send).unwrap();
        assert_eq!(sent, ["name ann", "join general 0", "send general hi"]);
        let proved = Standing { signed_in: true, ..open("bob", &[]) };
        assert_eq!(
            steps(&Flocker, proved, "send_message", &send).unwrap(),
            ["join general 0", "send general hi"]
        );
    }

    #[test]
    fn messages_have_the_fields_of_the_original_and_a_stamp() {
        let expected = stamped(json!({ "username": "ann", "msg": "<hi>", "room": "general" }));
        let event = Event::Message(message("general", "ann", "<hi>"));
        assert_eq!(encoded(&Flocker, &event), [("message".into(), expected.clone())]);
        let reply = joined("general", &["ann"], vec![message("general", "ann", "<hi>")]);
        let online = json!({ "room": "general", "count": 1, "users": ["ann"] });
        assert_eq!(
            replied(&Flocker, Ok(reply)),
            [("message".into(), expected), ("online_users".into(), online)]
        );
    }

    #[test]
    fn an_image_is_a_line_with_its_url_and_a_picture() {
        let url = "https://chat.example/images/0f";
        let image = json!({ "url": url, "width": 2, "height": 3, "alt": "<crab>" });
        let line = json!({ "username": "ann", "msg": format!("<crab>: {url}"), "room": "r", "image": image });
        let event = Event::Message(image_message("r", "ann", "<crab>"));
        assert_eq!(encoded(&Flocker, &event), [("message".into(), stamped(line))]);
    }

    #[test]
    fn other_fields_of_the_senders_object_are_passed_on_to_its_own_kind() {
        let send = json!({ "username": "eve", "room": "r", "message": "hi", "color": "red", "user_id": 7 });
        let sent = steps(&Flocker, open("ann", &["r"]), "send_message", &send).unwrap();
        let extra =
            json!({ "v": 1, "dialect": "flocker", "text_field": "message", "fields": { "color": "red" } });
        let passed_on = sent[0].strip_prefix("send r hi with ").unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(passed_on).unwrap(), extra);
        let named = stamped(json!({ "username": "ann", "msg": "hi", "room": "r" }));
        let mut expected = named.clone();
        expected["color"] = json!("red");
        expected["message"] = json!("hi");
        let event = Event::Message(message_with("r", "ann", "hi", &extra));
        assert_eq!(encoded(&Flocker, &event), [("message".into(), expected)]);
        for (member, value) in [("dialect", json!("ribbit")), ("v", json!(2))] {
            let mut other = extra.clone();
            other[member] = value;
            let event = Event::Message(message_with("r", "ann", "hi", &other));
            assert_eq!(encoded(&Flocker, &event), [("message".into(), named.clone())], "{member}");
        }
        let fields = json!({ "username": "eve", "id": 1, "room": "x" });
        let event = Event::Message(message_with(
            "r",
            "ann",
            "hi",
            &json!({ "v": 1, "dialect": "flocker", "fields": fields }),
        ));
        assert_eq!(encoded(&Flocker, &event), [("message".into(), named)], "the server's own fields count");
    }

    #[test]
    fn joins_and_leaves_are_announced_with_the_list() {
        let line =
            |msg: &str| ("message".to_owned(), json!({ "username": "System", "msg": msg, "room": "r" }));
        assert_eq!(
            encoded(&Flocker, &presence("r", &["ann"], &["bob"], &["ann"])),
            [
                line("ann joined r."),
                line("bob left r."),
                ("online_users".into(), json!({ "room": "r", "count": 1, "users": ["ann"] })),
            ]
        );
    }

    #[test]
    fn bad_input_is_told_by_the_system() {
        for (event, payload, code) in [
            ("join", json!("general"), Code::BadRequest),
            ("join", json!({ "username": "ann" }), Code::BadRequest),
            ("join", json!({ "username": "ann", "room": "#" }), Code::BadRoom),
            ("join", json!({ "username": "@ann", "room": "r" }), Code::BadUsername),
            ("send_message", json!({ "username": "ann", "room": "r" }), Code::BadRequest),
            ("send_message", json!({ "room": "r", "msg": "hi" }), Code::BadRequest),
            ("shout", json!({}), Code::UnknownEvent),
        ] {
            assert_eq!(self::code(&Flocker, Standing::default(), event, &payload), code, "{payload}");
        }
        let refused = replied(&Flocker, Err(Refusal::new(Code::UsernameTaken, "ann is online")));
        let line = json!({ "username": "System", "msg": "ann is online", "error": "username_taken" });
        assert_eq!(refused, [("message".into(), line)]);
    }
}
