//! The dialect `abidev`: `message broadcast` to everybody, as `message receive`. It has no rooms and no names: its
//! users share the room `general`, hear it without a name, and take one with their first message. Listed in the
//! table of `dialects/mod.rs`.

use roomcast_protocol::client::Join;
use roomcast_protocol::{Refusal, RoomName, UserName};
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::super::dialect::{Decoded, Dialect, EncodedReply, Standing, Step};
use super::super::packet::Payload;
use super::classic::{self, Fields, Picture, SHARED_ROOM, SYSTEM, Stamp};
use crate::chat::{Command, Reply};
use crate::hub::Event;

const RECEIVE: &str = "message receive";

pub(super) struct Abidev;

/// `message receive`. The original's server sent the text alone, where its page read these two fields.
#[derive(Serialize)]
struct ChatMessage<'a> {
    client: &'a UserName,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a Picture>,
    #[serde(flatten)]
    stamp: Stamp,
}

fn shared_room() -> Option<RoomName> {
    RoomName::parse(SHARED_ROOM).ok()
}

fn join(room: RoomName) -> Command {
    Command::Join(Join { room, since: None, limit: Some(0) })
}

fn system(message: &str) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&json!({ "client": SYSTEM, "message": message }))
}

impl Dialect for Abidev {
    fn name(&self) -> &'static str {
        "abidev"
    }

    fn on_connect(&self) -> Option<Command> {
        shared_room().map(join)
    }

    fn decode(
        &self,
        standing: &dyn Fn() -> Standing,
        event: &str,
        payload: &Payload,
    ) -> Result<Decoded, Refusal> {
        let ("message broadcast", Some(room)) = (event, shared_room()) else {
            return Err(classic::unknown_event(event));
        };
        let fields = Fields::of(payload)?;
        // The original's page sent `message`, where its server read `data`.
        let text = fields.required(&["message", "data"])?;
        let mut steps = Vec::new();
        if standing().user.is_none() {
            steps.push(match fields.text(&["client", "username"])? {
                Some(name) => Step::TakeName(classic::user(&name)?),
                None => Step::TakeGuestName,
            });
            // Again: without a name the connection is not in the room's presence.
            steps.push(Step::Execute(join(room.clone())));
        }
        steps.push(classic::send(room, text));
        Ok(Decoded::Steps(steps))
    }

    fn encode_reply(&self, reply: Result<Reply, Refusal>) -> serde_json::Result<EncodedReply> {
        let ack = classic::ack(&reply)?;
        let events = match &reply {
            Ok(_) => Vec::new(),
            Err(refusal) => vec![(RECEIVE, system(&refusal.message)?)],
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
                    let (client, message, image) = (&text.user, text.text.as_str(), text.image.as_ref());
                    let message = ChatMessage { client, message, image, stamp: text.stamp };
                    emit(RECEIVE, &to_raw_value(&message)?);
                }
            }
            Event::Resync(_) => emit(RECEIVE, &system(classic::LOST)?),
            Event::Welcome(_)
            | Event::PrivateMessage(_)
            | Event::Inbox(_)
            | Event::Presence { .. }
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
    fn a_connection_hears_the_room_from_the_start() {
        assert!(
            matches!(Abidev.on_connect(), Some(Command::Join(Join { room: joined, .. })) if joined.as_str() == "general")
        );
    }

    #[test]
    fn the_first_message_takes_a_name_and_both_spellings_are_read() {
        for text in ["message", "data"] {
            let unnamed = Standing { rooms: vec![room("general")], ..Standing::default() };
            let first = steps(&Abidev, unnamed, "message broadcast", &json!({ text: "hi" })).unwrap();
            assert_eq!(first, ["name guest", "join general 0", "send general hi"]);
            let next = steps(&Abidev, open("ann", &["general"]), "message broadcast", &json!({ text: "hi" }));
            assert_eq!(next.unwrap(), ["send general hi"]);
        }
        let named = json!({ "message": "hi", "client": "ann" });
        let first = steps(&Abidev, Standing::default(), "message broadcast", &named).unwrap();
        assert_eq!(first, ["name ann", "join general 0", "send general hi"]);
        let spoofed = steps(&Abidev, open("bob", &["general"]), "message broadcast", &named).unwrap();
        assert_eq!(spoofed, ["send general hi"]);
    }

    #[test]
    fn messages_have_the_fields_that_the_page_reads() {
        let event = Event::Message(message("general", "ann", "hi"));
        let expected = stamped(json!({ "client": "ann", "message": "hi" }));
        assert_eq!(encoded(&Abidev, &event), [("message receive".into(), expected)]);
        let url = "https://chat.example/images/0f";
        let image = json!({ "url": url, "width": 2, "height": 3 });
        let expected = stamped(json!({ "client": "ann", "message": url, "image": image }));
        let event = Event::Message(image_message("general", "ann", ""));
        assert_eq!(encoded(&Abidev, &event), [("message receive".into(), expected)]);
        assert!(encoded(&Abidev, &presence("general", &["ann"], &[], &["ann"])).is_empty());
    }

    #[test]
    fn bad_input_is_told_by_the_system() {
        for (event, payload, code) in [
            ("message broadcast", json!("hi"), Code::BadRequest),
            ("message broadcast", json!({}), Code::BadRequest),
            ("message broadcast", json!({ "message": ["hi"] }), Code::BadRequest),
            ("message broadcast", json!({ "message": "hi", "client": "@ann" }), Code::BadUsername),
            ("broadcast", json!({ "message": "hi" }), Code::UnknownEvent),
        ] {
            assert_eq!(self::code(&Abidev, Standing::default(), event, &payload), code, "{payload}");
        }
        let refused = replied(&Abidev, Err(Refusal::new(Code::BadText, "the text is empty")));
        let line = json!({ "client": "System", "message": "the text is empty" });
        assert_eq!(refused, [("message receive".into(), line)]);
    }
}
