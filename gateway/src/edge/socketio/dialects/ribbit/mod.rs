//! The dialect `ribbit`: threads with `chat` and `new_message`, for users who signed in. A connection may be in many
//! threads; a thread is the room of that name. Listed in the table of `dialects/mod.rs`.

use roomcast_protocol::client::Join;
use roomcast_protocol::{Code, Refusal, RoomName, UserName};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::super::dialect::{Decoded, Dialect, EncodedReply, Standing, Step};
use super::super::packet::Payload;
use super::super::threads::CHANGED;
use super::classic::{self, Fields, Picture, SYSTEM, Stamp};
use crate::chat::{Command, Reply, ThreadChange};
use crate::hub::Event;

const CHAT: &str = "chat";
const NEW_MESSAGE: &str = "new_message";
const NAME: &str = "ribbit";

/// The names of a thread's field.
const THREAD: [&str; 2] = ["threadId", "room"];
/// The names under which front ends send the text.
const TEXT: [&str; 5] = ["message", "content", "text", "msg", "body"];

pub(super) struct Ribbit;

/// `chat` and `new_message`. The original's object had the sender's own fields, whose names its documentation leaves
/// open: the text and the sender are repeated under the usual ones.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChatMessage<'a> {
    thread_id: Value,
    room: &'a RoomName,
    username: &'a UserName,
    user: &'a UserName,
    message: &'a str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a Picture>,
    #[serde(flatten)]
    stamp: Stamp,
}

/// A thread's id as the original has it: the number of a database row where it is one.
fn thread_id(room: &RoomName) -> Value {
    let number = room.as_str().parse::<u32>().ok().filter(|number| number.to_string() == room.as_str());
    number.map_or_else(|| json!(room), |number| json!(number))
}

/// A message as this dialect has it, from that of the native one; none if it is not a text.
///
/// # Errors
/// It is no message.
pub(crate) fn encode_message(message: &RawValue) -> serde_json::Result<Option<Box<RawValue>>> {
    let Some(text) = classic::text(message)? else { return Ok(None) };
    let named = ChatMessage {
        thread_id: thread_id(&text.room),
        room: &text.room,
        username: &text.user,
        user: &text.user,
        message: &text.text,
        content: &text.text,
        image: text.image.as_ref(),
        stamp: text.stamp.clone(),
    };
    text.encode(NAME, &named).map(Some)
}

fn system(thread: &Value, message: &str) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(
        &json!({ "threadId": thread, "username": SYSTEM, "user": SYSTEM, "message": message, "content": message }),
    )
}

impl Dialect for Ribbit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn decode(
        &self,
        standing: &dyn Fn() -> Standing,
        event: &str,
        payload: &Payload,
    ) -> Result<Decoded, Refusal> {
        if !["join", "join_room", "leave", "leave_room", CHAT].contains(&event) {
            return Err(classic::unknown_event(event));
        }
        if standing().user.is_none() {
            let why = "sign in first: connect with auth.username and auth.resume";
            return Err(Refusal::new(Code::BadUsername, why));
        }
        let fields = Fields::of(payload)?;
        let room = fields.room(&THREAD)?;
        Ok(match event {
            "join" | "join_room" => {
                let join = Join { room, since: None, limit: Some(0) };
                classic::single(Step::Execute(Command::Join(join)))
            }
            "leave" | "leave_room" => classic::single(classic::leave(room)),
            _ => {
                let (text, extra) = (fields.required(&TEXT)?, fields.others(NAME, &THREAD, &TEXT)?);
                classic::single(classic::send_with(room, text, extra))
            }
        })
    }

    fn outside(&self) -> &'static [&'static str] {
        &[NEW_MESSAGE]
    }

    fn encode_reply(&self, reply: Result<Reply, Refusal>) -> serde_json::Result<EncodedReply> {
        let ack = classic::ack(&reply)?;
        let events = match &reply {
            Ok(_) => Vec::new(),
            Err(refusal) => vec![(CHAT, system(&Value::Null, &refusal.message)?)],
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
                if let Some(payload) = encode_message(&message.json)? {
                    emit(CHAT, &payload);
                    emit(NEW_MESSAGE, &payload);
                } else if let Some(change) = ThreadChange::of_message(&message.json) {
                    emit(CHANGED, &to_raw_value(&change)?);
                }
            }
            Event::Resync(resync) => emit(CHAT, &system(&thread_id(&resync.room), classic::LOST)?),
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
    use super::super::classic::testing::*;
    use super::*;

    fn signed_in(rooms: &[&str]) -> Standing {
        Standing { signed_in: true, ..open("ann", rooms) }
    }

    #[test]
    fn threads_are_joined_and_left_under_both_names_and_in_parallel() {
        for (event, expected) in
            [("join", "join 7 0"), ("join_room", "join 7 0"), ("leave", "leave 7"), ("leave_room", "leave 7")]
        {
            for payload in [json!({ "threadId": 7 }), json!({ "threadId": "7" }), json!({ "room": "7" })] {
                let steps = steps(&Ribbit, signed_in(&["5", "7"]), event, &payload).unwrap();
                assert_eq!(steps, [expected], "the other thread is not left");
            }
        }
    }

    #[test]
    fn a_message_is_sent_under_any_name_of_its_text() {
        for text in TEXT {
            let payload = json!({ "threadId": 7, "username": "eve", text: "hi" });
            let sent = steps(&Ribbit, signed_in(&["7"]), "chat", &payload).unwrap();
            assert!(sent[0].starts_with("send 7 hi"), "{sent:?}");
        }
    }

    #[test]
    fn one_object_is_sent_as_chat_and_as_new_message() {
        for (room, thread) in [("7", json!(7)), ("07", json!("07")), ("general", json!("general"))] {
            let payload = stamped(json!({
                "threadId": thread, "room": room, "username": "ann", "user": "ann",
                "message": "hi", "content": "hi",
            }));
            let event = Event::Message(message(room, "ann", "hi"));
            let expected = [("chat".to_owned(), payload.clone()), ("new_message".to_owned(), payload)];
            assert_eq!(encoded(&Ribbit, &event), expected);
        }
        let packets = encoded(&Ribbit, &Event::Message(image_message("7", "ann", "")));
        for (_, payload) in &packets {
            let url = "https://chat.example/images/0f";
            assert_eq!(payload["image"], json!({ "url": url, "width": 2, "height": 3 }));
            assert_eq!(payload["message"], url);
        }
        assert_eq!(packets.len(), 2);
    }

    #[test]
    fn other_fields_of_the_senders_object_are_passed_on_to_its_own_kind() {
        let payload = json!({ "threadId": 7, "body": "hi", "userId": 9, "replyTo": { "id": 4 } });
        let sent = steps(&Ribbit, signed_in(&["7"]), "chat", &payload).unwrap();
        let extra = sent[0].strip_prefix("send 7 hi with ").unwrap();
        let extra: Value = serde_json::from_str(extra).unwrap();
        assert_eq!(extra["fields"], json!({ "replyTo": { "id": 4 } }), "nothing that names a user");
        let event = Event::Message(message_with("7", "ann", "hi", &extra));
        let [(_, chat), (_, new_message)] = &encoded(&Ribbit, &event)[..] else { panic!("two packets") };
        assert_eq!(
            (&chat["replyTo"], &chat["body"], &chat["user"]),
            (&json!({ "id": 4 }), &json!("hi"), &json!("ann"))
        );
        assert_eq!(chat, new_message);
    }

    #[test]
    fn bad_input_and_clients_that_did_not_sign_in_are_refused() {
        let join = json!({ "threadId": 7 });
        assert_eq!(code(&Ribbit, Standing::default(), "join", &join), Code::BadUsername);
        for (event, payload, code) in [
            ("chat", json!({ "message": "hi" }), Code::BadRequest),
            ("chat", json!({ "threadId": "", "message": "hi" }), Code::BadRoom),
            ("chat", json!({ "threadId": 7 }), Code::BadRequest),
            ("chat", json!("hi"), Code::BadRequest),
            ("send_message", json!({ "threadId": 7, "message": "hi" }), Code::UnknownEvent),
        ] {
            assert_eq!(self::code(&Ribbit, signed_in(&["7"]), event, &payload), code, "{payload}");
        }
        let refused = replied(&Ribbit, Err(Refusal::new(Code::NotJoined, "no")));
        assert_eq!(refused.len(), 1);
        assert_eq!((refused[0].0.as_str(), &refused[0].1["message"]), ("chat", &json!("no")));
    }
}
