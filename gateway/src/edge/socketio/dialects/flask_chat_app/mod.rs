//! The dialect `flask-chat-app`: `join_room`, `send_message` and `leave_room`, answered by `receive_message` and two
//! announcements. Its pages insert what they receive as HTML, so every name and text is escaped here. A connection is
//! in one room at a time. Listed in the table of `dialects/mod.rs`.

use roomcast_protocol::{Refusal, RoomName, UserName};
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::super::dialect::{Decoded, Dialect, EncodedReply, Standing};
use super::super::packet::Payload;
use super::classic::{self, Fields, Picture, SYSTEM, Stamp, escape};
use crate::chat::Reply;
use crate::hub::Event;

const RECEIVE: &str = "receive_message";

pub(super) struct FlaskChatApp;

/// `receive_message`: the sender's own object, and the server's stamp.
#[derive(Serialize)]
struct ChatMessage {
    username: String,
    room: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Picture>,
    #[serde(flatten)]
    stamp: Stamp,
}

/// `join_room_announcement` and `leave_room_announcement`.
fn announcement(user: &UserName, room: &RoomName) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&json!({ "username": escape(user.as_str()), "room": escape(room.as_str()) }))
}

fn system(room: &str, message: &str) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&json!({ "username": SYSTEM, "room": escape(room), "message": escape(message) }))
}

impl Dialect for FlaskChatApp {
    fn name(&self) -> &'static str {
        "flask-chat-app"
    }

    fn decode(
        &self,
        standing: &dyn Fn() -> Standing,
        event: &str,
        payload: &Payload,
    ) -> Result<Decoded, Refusal> {
        match event {
            "join_room" => {
                let fields = Fields::of(payload)?;
                let (user, room) = (fields.user(&["username"])?, fields.room(&["room"])?);
                classic::enter(&standing(), user, room, 0).map(Decoded::Steps)
            }
            "send_message" => {
                let fields = Fields::of(payload)?;
                let text = fields.required(&["message", "msg"])?;
                Ok(classic::single(classic::send(fields.room(&["room"])?, text)))
            }
            "leave_room" => Ok(classic::single(classic::leave(Fields::of(payload)?.room(&["room"])?))),
            unknown => Err(classic::unknown_event(unknown)),
        }
    }

    fn encode_reply(&self, reply: Result<Reply, Refusal>) -> serde_json::Result<EncodedReply> {
        let ack = classic::ack(&reply)?;
        let events = match &reply {
            Ok(_) => Vec::new(),
            Err(refusal) => vec![(RECEIVE, system("", &refusal.message)?)],
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
                if let Some(text) = classic::text(&message.json)? {
                    let [username, room, message] =
                        [text.user.as_str(), text.room.as_str(), text.text.as_str()].map(escape);
                    let image = text.image.map(|image| Picture {
                        url: escape(&image.url),
                        alt: escape(&image.alt),
                        ..image
                    });
                    let message = ChatMessage { username, room, message, image, stamp: text.stamp };
                    emit(RECEIVE, &to_raw_value(&message)?);
                }
            }
            Event::Presence { change, .. } => {
                for user in &change.joined {
                    emit("join_room_announcement", &announcement(user, &change.room)?);
                }
                for user in &change.left {
                    emit("leave_room_announcement", &announcement(user, &change.room)?);
                }
            }
            Event::Resync(resync) => emit(RECEIVE, &system(resync.room.as_str(), classic::LOST)?),
            Event::Welcome(_)
            | Event::PrivateMessage(_)
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
    use roomcast_protocol::Code;

    use super::super::classic::testing::*;
    use super::*;

    #[test]
    fn every_connect_joins_again_and_another_room_is_left() {
        let join = json!({ "username": "ann", "room": "r" });
        let first = steps(&FlaskChatApp, Standing::default(), "join_room", &join).unwrap();
        assert_eq!(first, ["name ann", "join r 0"]);
        let again = steps(&FlaskChatApp, open("ann", &["r"]), "join_room", &join).unwrap();
        assert_eq!(again, ["join r 0"]);
        let moved = steps(&FlaskChatApp, open("ann", &["other"]), "join_room", &join).unwrap();
        assert_eq!(moved, ["leave other", "join r 0"]);
    }

    #[test]
    fn messages_and_leaves_are_the_connections_own() {
        let send = json!({ "username": "eve", "room": "r", "message": "hi" });
        let sent = steps(&FlaskChatApp, open("ann", &["r"]), "send_message", &send).unwrap();
        assert_eq!(sent, ["send r hi"]);
        let leave = json!({ "username": "eve", "room": "r" });
        assert_eq!(steps(&FlaskChatApp, open("ann", &["r"]), "leave_room", &leave).unwrap(), ["leave r"]);
    }

    #[test]
    fn what_pages_insert_as_html_is_escaped() {
        let event = Event::Message(message("<r>", "<b>ann</b>", "<img src=x onerror='alert(\"1\")'>&"));
        let expected = stamped(json!({
            "username": "&lt;b&gt;ann&lt;/b&gt;",
            "room": "&lt;r&gt;",
            "message": "&lt;img src=x onerror=&#39;alert(&#34;1&#34;)&#39;&gt;&amp;",
        }));
        assert_eq!(encoded(&FlaskChatApp, &event), [("receive_message".into(), expected)]);
        let event = Event::Message(image_message("r", "ann", "<crab>"));
        let [(_, shown)] = &encoded(&FlaskChatApp, &event)[..] else { panic!("one packet") };
        assert_eq!(shown["message"], "&lt;crab&gt;: https://chat.example/images/0f");
        let url = "https://chat.example/images/0f";
        assert_eq!(shown["image"], json!({ "url": url, "width": 2, "height": 3, "alt": "&lt;crab&gt;" }));
        let announced =
            |event: &str, user: &str| (event.to_owned(), json!({ "username": user, "room": "r&amp;d" }));
        assert_eq!(
            encoded(&FlaskChatApp, &presence("r&d", &["<ann>"], &["b'b"], &["<ann>"])),
            [
                announced("join_room_announcement", "&lt;ann&gt;"),
                announced("leave_room_announcement", "b&#39;b"),
            ]
        );
        let refused = replied(&FlaskChatApp, Err(Refusal::new(Code::NotJoined, "you have not joined <r>")));
        let line = json!({ "username": "System", "room": "", "message": "you have not joined &lt;r&gt;" });
        assert_eq!(refused, [("receive_message".into(), line)]);
    }

    #[test]
    fn bad_input_is_refused() {
        for (event, payload, code) in [
            ("join_room", json!(["ann", "r"]), Code::BadRequest),
            ("join_room", json!({ "username": "ann" }), Code::BadRequest),
            ("join_room", json!({ "username": " ", "room": "r" }), Code::BadUsername),
            ("send_message", json!({ "room": "r" }), Code::BadRequest),
            ("send_message", json!({ "message": "hi" }), Code::BadRequest),
            ("leave_room", json!(null), Code::BadRequest),
            ("join", json!({ "username": "ann", "room": "r" }), Code::UnknownEvent),
        ] {
            assert_eq!(self::code(&FlaskChatApp, open("ann", &["r"]), event, &payload), code, "{payload}");
        }
    }
}
