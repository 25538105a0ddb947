//! Golden frames: what official clients and this server put on the wire, byte for byte. Reads
//! `fixtures/frames.json`, calls the table of events; `gateway/tests/e2e/frames.test.mjs` holds the
//! official JavaScript parser to the same file.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use roomcast_protocol::Code;
use roomcast_protocol::event::{Event, NATIVE_NAMESPACE, Side, client, connection, server};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Fixtures {
    frames: Vec<Frame>,
    refused: Vec<Refused>,
}

/// `event` names what it carries, or `ack` the event that it answers.
#[derive(Deserialize)]
struct Frame {
    name: String,
    direction: String,
    event: Option<String>,
    ack: Option<String>,
    frame: String,
    payload: Value,
}

/// A client's frame whose payload must not decode.
#[derive(Deserialize)]
struct Refused {
    name: String,
    event: String,
    frame: String,
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("../../fixtures/frames.json")).unwrap()
}

fn find(from: Side, name: &str) -> &'static Event {
    let mut table = [connection::ALL, client::ALL, server::ALL].into_iter().flatten();
    table.find(|event| event.from == from && event.name == name).unwrap_or_else(|| panic!("no event {name}"))
}

impl Frame {
    fn from(&self) -> Side {
        if self.direction == "client" { Side::Client } else { Side::Server }
    }

    fn recode(&self, json: &str) -> serde_json::Result<String> {
        match (&self.event, &self.ack) {
            (Some(event), None) => (find(self.from(), event).payload.recode)(json),
            (None, Some(event)) => (find(Side::Client, event).answer.unwrap().recode)(json),
            _ => panic!("{}: either event or ack", self.name),
        }
    }
}

/// The JSON of a frame's payload, after checking all that stands around it.
fn payload(frame: &str, event: Option<&str>) -> Box<RawValue> {
    let (packet, rest) = frame.split_at(2);
    let rest = rest.strip_prefix(NATIVE_NAMESPACE).unwrap().strip_prefix(',').unwrap();
    let body = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let list = || serde_json::from_str::<Vec<Box<RawValue>>>(body).unwrap().into_iter();
    match (packet, event) {
        ("40", Some("connect" | "connected")) | ("44", Some("connect_error")) => {
            serde_json::from_str(body).unwrap()
        }
        ("42", Some(event)) => {
            let mut list = list();
            assert_eq!(list.next().unwrap().get(), format!("{event:?}"), "{frame}");
            list.next().unwrap()
        }
        ("43", None) => list().next().unwrap(),
        _ => panic!("{frame}: not of this kind"),
    }
}

#[test]
fn every_golden_frame_decodes_and_ours_encode_to_the_same_bytes() {
    for frame in fixtures().frames {
        let json = payload(&frame.frame, frame.event.as_deref());
        assert_eq!(serde_json::from_str::<Value>(json.get()).unwrap(), frame.payload, "{}", frame.frame);
        let again = frame.recode(json.get()).unwrap_or_else(|error| panic!("{}: {error}", frame.frame));
        if frame.from() == Side::Server {
            assert_eq!(again, json.get(), "{}", frame.frame);
        }
    }
}

#[test]
fn what_lacks_a_field_or_mistypes_one_is_refused() {
    for Refused { name, event, frame } in fixtures().refused {
        let json = payload(&frame, Some(&event));
        assert!((find(Side::Client, &event).payload.recode)(json.get()).is_err(), "{name}: {frame}");
    }
}

#[test]
fn every_event_answer_and_code_has_a_golden_frame() {
    let Fixtures { frames, refused } = fixtures();
    for event in [connection::ALL, client::ALL, server::ALL].into_iter().flatten() {
        let sent = |frame: &Frame| frame.from() == event.from && frame.event.as_deref() == Some(event.name);
        assert!(frames.iter().any(sent), "{event:?}");
        if event.from == Side::Client {
            assert!(refused.iter().any(|bad| bad.event == event.name), "bad payload of {event:?}");
        }
        for status in ["ok", "error"].iter().filter(|_| event.answer.is_some()) {
            let answered = |frame: &Frame| {
                frame.ack.as_deref() == Some(event.name) && frame.payload["status"] == **status
            };
            assert!(frames.iter().any(answered), "{status} of {event:?}");
        }
    }
    for code in Code::ALL {
        let told = |frame: &Frame| {
            let place = if frame.event.as_deref() == Some("connect_error") { "message" } else { "code" };
            frame.payload[place] == code.name()
        };
        assert!(frames.iter().any(told), "{}", code.name());
    }
}

#[test]
fn errors_carry_the_number_and_delay_of_the_table() {
    for frame in fixtures().frames.iter().filter(|frame| frame.payload["status"] == "error") {
        let code: Code = serde_json::from_value(frame.payload["code"].clone()).unwrap();
        assert_eq!(frame.payload["number"], code.number(), "{}", frame.frame);
        let wait = frame.payload.get("retry_after_ms").and_then(Value::as_u64);
        assert_eq!(wait, code.retry_after_ms().map(u64::from), "{}", frame.frame);
    }
}
