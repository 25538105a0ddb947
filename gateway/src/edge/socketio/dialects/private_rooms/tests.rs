//! Tests of the dialect: what is decoded, and what is encoded.

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
    assert_eq!(chat(ann(), &json!({ "event": "chat", "room": "den" })).unwrap(), ["send DEN Knock! Knock!"]);
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
    let image =
        json!({ "event": "image", "user": " bob ", "room": "den", "bimage": "data:image/png;base64,AA==" });
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
    let refused = PrivateRooms.decode(&standing, "chat", &Payload::NotKept(NotKept::TooLong)).unwrap_err();
    let told = ("chat".to_owned(), json!({ "type": "user", "message": "the image is too large" }));
    assert_eq!(replied(&PrivateRooms, Err(refused)), [told]);
}

#[test]
fn messages_and_announcements_have_the_fields_of_the_original() {
    let event = Event::Message(message("general", "ANN", "<hi>"));
    let expected = stamped(json!({ "type": "chat", "from": "ANN", "message": "<hi>", "room": "GENERAL" }));
    assert_eq!(encoded(&PrivateRooms, &event), [("chat".into(), expected)]);
    let body = r#"{"v":1,"id":"m-1","kind":"text","user":"bob","text":"<psst>"}"#;
    let json = compose_private(&name("ANN"), &Epoch::new("e"), 7, 9, body).unwrap();
    let event = Event::PrivateMessage(Arc::new(Message { offset: 7, ts: 9, json, trace: None }));
    let expected = stamped(json!({ "type": "chat", "from": "bob", "message": "<psst>", "to": "ANN" }));
    assert_eq!(encoded(&PrivateRooms, &event), [("chat".into(), expected)]);
    let image = r#"{"url":"/images/0f","width":1,"height":1,"type":"image/png","bytes":67}"#;
    let body = format!(r#"{{"v":1,"id":"m-1","kind":"image","user":"bob","image":{image},"alt":"a dot"}}"#);
    let json = compose_private(&name("ANN"), &Epoch::new("e"), 7, 9, &body).unwrap();
    let event = Event::PrivateMessage(Arc::new(Message { offset: 7, ts: 9, json, trace: None }));
    let expected = stamped(
        json!({ "type": "image", "from": "bob", "bimage": "/images/0f", "alt": "a dot", "to": "ANN" }),
    );
    assert_eq!(encoded(&PrivateRooms, &event), [("chat".into(), expected)]);
    let line =
        |r#type: &str, message: &str| ("chat".to_owned(), json!({ "type": r#type, "message": message }));
    assert_eq!(
        encoded(&PrivateRooms, &presence("DEN", &["<ANN>"], &["BOB"], &["<ANN>"])),
        [line("newuser", "New User &lt;ANN&gt; joined room DEN"), line("deluser", "User BOB left room DEN"),]
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
