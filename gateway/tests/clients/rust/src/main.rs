//! One rust_socketio client: joins the room at each connect and does what is said there (see ../../run.mjs). Its bytes
//! are an event's only argument, and it asks for no acknowledgement with them.

use std::env::var;
use std::time::Duration;

use rust_socketio::{ClientBuilder, Event, Payload, RawClient, TransportType};
use serde_json::{Value, json};

const ACK_TIMEOUT: Duration = Duration::from_secs(10);

fn main() {
    let setting = |name: &str| var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (name, room) = (setting("NAME"), setting("ROOM"));
    let transport = match var("TRANSPORTS").as_deref() {
        Ok("polling") => TransportType::Polling,
        Ok("websocket") => TransportType::Websocket,
        _ => TransportType::Any,
    };
    let joins = room.clone();
    let built = ClientBuilder::new(setting("URL"))
        .transport_type(transport)
        .auth(json!({ "username": name, "resume": setting("RESUME") }))
        .reconnect(true)
        .reconnect_on_disconnect(true)
        .reconnect_delay(500, 2_000)
        .on(Event::Connect, move |_, client| {
            show(json!({ "event": "connect" }));
            ask(&client, "join", json!({ "room": joins }), json!({ "event": "joined" }));
        })
        .on(Event::Close, |why, _| show(json!({ "event": "disconnect", "why": format!("{why:?}") })))
        .on(Event::Error, |why, _| show(json!({ "event": "refused", "why": format!("{why:?}") })))
        .on("welcome", |said, _| show(json!({ "event": "welcome", "node": first(&said)["node"] })))
        .on("message", move |said, client| heard(&client, first(&said), &name, &room))
        .connect();
    let _client = match built {
        Ok(client) => client,
        Err(error) => return show(json!({ "event": "refused", "why": error.to_string() })),
    };
    loop {
        std::thread::park();
    }
}

fn heard(client: &RawClient, message: Value, name: &str, room: &str) {
    if message["user"] == name {
        return;
    }
    show(json!({ "event": "message", "text": message["text"] }));
    let text = message["text"].as_str().unwrap_or_default();
    if let Some(text) = text.strip_prefix("say ") {
        let payload = json!({ "room": room, "text": text });
        ask(client, "send_message", payload, json!({ "event": "acked", "text": text }));
    }
}

/// Emits an event and shows the status that it is acknowledged with, which this client puts into one list more.
fn ask(client: &RawClient, event: &str, payload: Value, mut line: Value) {
    let emitted = client.emit_with_ack(event, payload, ACK_TIMEOUT, move |ack, _| {
        let mut ack = first(&ack);
        while ack.is_array() {
            ack = ack[0].take();
        }
        line["status"] = ack["status"].take();
        show(line.take());
    });
    if let Err(error) = emitted {
        show(json!({ "event": "refused", "why": error.to_string() }));
    }
}

fn first(payload: &Payload) -> Value {
    match payload {
        Payload::Text(values) => values.first().cloned().unwrap_or_default(),
        _ => Value::Null,
    }
}

fn show(line: Value) {
    println!("{line}");
}
