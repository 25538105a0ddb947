//! Generates the descriptions of the wire protocol outside Rust: `docs/asyncapi.json`, the web client's `protocol.ts`
//! and the tables of `docs/PROTOCOL.md`. Called by `make generate`; iterates over the tables of events,
//! codes and limits, so that additions to them appear everywhere.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use roomcast_protocol::Code;
use roomcast_protocol::event::{self, Event, Side, client, connection, server};
use roomcast_protocol::limits;
use roomcast_protocol::shape::{Shape, typescript::Declarations};
use schemars::Schema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::RecursiveTransform;
use serde_json::{Map, Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Prefix of references into the document's own schemas.
const SCHEMAS: &str = "#/components/schemas/";

fn main() -> Outcome<()> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let codes = codes()?;

    fs::write(root.join("docs/asyncapi.json"), format!("{:#}\n", asyncapi(&codes)?))?;
    fs::write(root.join("gateway/ui/src/protocol.ts"), typescript()?)?;

    let page = root.join("docs/PROTOCOL.md");
    let mut text = fs::read_to_string(&page)?;
    for (name, table) in
        [("events", event_table()?), ("codes", code_table(&codes)?), ("limits", limit_table()?)]
    {
        text = replace(&text, name, &table)?;
    }
    Ok(fs::write(page, text)?)
}

fn events() -> impl Iterator<Item = &'static Event> {
    [connection::ALL, client::ALL, server::ALL].into_iter().flatten()
}

/// Draft 7, the default of AsyncAPI.
fn schemas() -> SchemaGenerator {
    let place = SCHEMAS.trim_start_matches('#').into();
    let settings = SchemaSettings::draft07().with(|settings| settings.definitions_path = place);
    settings.with_transform(RecursiveTransform(absent_rather_than_null)).into_generator()
}

/// Optional members are absent, never `null`: `null` is accepted from clients but not part of the schema.
fn absent_rather_than_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            schema.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(mut any)) = schema.remove("anyOf") {
        any.retain(|one| *one != json!({ "type": "null" }));
        schema.insert(if any.len() == 1 { "allOf" } else { "anyOf" }.to_owned(), any.into());
    }
}

/// All codes with their meaning, the comment of the variant.
fn codes() -> Outcome<Vec<(Code, String)>> {
    let schema = schemars::schema_for!(Code).to_value();
    let variants = schema.get("oneOf").and_then(Value::as_array).ok_or("codes have no comments")?;
    if variants.len() != Code::ALL.len() {
        return Err("Code::ALL is not all codes".into());
    }
    let meaning = |code: Code| {
        let variant = variants.iter().find(|variant| variant.get("const") == Some(&code.name().into()));
        let meaning = variant.and_then(|variant| variant.get("description")).and_then(Value::as_str);
        meaning
            .map(|meaning| (code, meaning.to_owned()))
            .ok_or_else(|| format!("{} has no comment", code.name()).into())
    };
    Code::ALL.into_iter().map(meaning).collect()
}

// ---- AsyncAPI

/// The document, from the server's perspective: it receives client events and replies to them.
fn asyncapi(codes: &[(Code, String)]) -> Outcome<Value> {
    let mut schemas = schemas();
    let (mut messages, mut operations) = (Map::new(), Map::new());
    let mut message = |id: &str, name: &str, summary: &str, shape: Shape| {
        let payload = (shape.schema)(&mut schemas);
        messages.insert(id.to_owned(), json!({ "name": name, "summary": summary, "payload": payload }));
        json!({ "$ref": format!("#/channels/chat/messages/{id}") })
    };
    let channel = json!({ "$ref": "#/channels/chat" });

    for event in events() {
        let (action, side) = match event.from {
            Side::Client => ("receive", "client"),
            Side::Server => ("send", "server"),
        };
        let id = format!("{side}.{}", event.name);
        let sent = message(&id, event.name, event.summary, event.payload);
        let operation = json!({
            "action": action, "channel": channel, "summary": event.summary, "messages": [sent],
            "x-roomcast-volatile": event.volatile,
        });
        let reply = event.answer.map(|answer| {
            let summary = format!("The acknowledgement of `{}`.", event.name);
            let answer = message(&format!("{id}.answer"), event.name, &summary, answer);
            json!({ "channel": channel, "messages": [answer] })
        });
        operations.insert(id, with(operation, "reply", reply));
    }

    let in_channel: Map<_, _> = messages
        .keys()
        .map(|id| (id.clone(), json!({ "$ref": format!("#/components/messages/{id}") })))
        .collect();
    let code = |(code, meaning): &(Code, String)| {
        let row = json!({ "code": code, "number": code.number(), "meaning": meaning });
        with(row, "retry_after_ms", code.retry_after_ms().map(Value::from))
    };
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Roomcast",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Chat over Socket.IO. PROTOCOL.md describes what a client may rely on.",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": {
                "host": "{host}",
                "pathname": "/socket.io/",
                "protocol": "socket.io",
                "protocolVersion": "5",
                "description": "Any gateway of the cluster: WebSocket or HTTP long-polling.",
                "variables": { "host": { "default": "localhost:8080", "description": "Name and port." } },
            },
        },
        "channels": {
            "chat": {
                "address": "{namespace}",
                "title": "The namespace",
                "servers": [{ "$ref": "#/servers/gateway" }],
                "parameters": {
                    "namespace": {
                        "enum": ["/", event::NATIVE_NAMESPACE],
                        "default": event::NATIVE_NAMESPACE,
                        "description": "Both are the same, except where `/` is configured to speak a dialect.",
                    },
                },
                "messages": in_channel,
            },
        },
        "operations": operations,
        "components": { "messages": messages, "schemas": schemas.take_definitions(true) },
        "x-roomcast-codes": codes.iter().map(code).collect::<Vec<_>>(),
    }))
}

/// The object with one more member, if there is one.
fn with(mut object: Value, name: &str, member: Option<Value>) -> Value {
    if let (Some(object), Some(member)) = (object.as_object_mut(), member) {
        object.insert(name.to_owned(), member);
    }
    object
}

// ---- TypeScript

/// All types of the wire protocol, and the two interfaces that `io<…>()` of socket.io-client takes.
fn typescript() -> Outcome<String> {
    let mut declarations = Declarations::default();
    let mut interfaces = String::new();
    for (name, events) in [("ClientToServerEvents", client::ALL), ("ServerToClientEvents", server::ALL)] {
        write!(interfaces, "\nexport interface {name} {{\n")?;
        for event in events {
            let payload = (event.payload.typescript)(&mut declarations);
            let answer = event.answer.map_or_else(String::new, |answer| {
                let optional = if event.volatile { "?" } else { "" };
                format!(", answer{optional}: (answer: {}) => void", (answer.typescript)(&mut declarations))
            });
            writeln!(interfaces, "  /** {} */", event.summary)?;
            writeln!(interfaces, "  {}: (payload: {payload}{answer}) => void;", event.name)?;
        }
        interfaces.push_str("}\n");
    }
    for event in connection::ALL {
        (event.payload.typescript)(&mut declarations);
    }

    let mut text = String::from(
        "// The wire, as types. Generated by `make generate` from crates/protocol: do not edit.\n",
    );
    for declaration in declarations.0.values() {
        write!(text, "\n{}", lay_out(declaration))?;
    }
    text.push_str(&interfaces);
    if text.contains("bigint") {
        return Err("a u64 needs #[ts(type = \"number\")]".into());
    }
    Ok(text)
}

/// One declaration of ts-rs with short comments and indented members.
fn lay_out(declaration: &str) -> String {
    let short = declaration.replace("/**\n * ", "/** ").replace("\n */", " */").replace(", };", ",\n};");
    let mut text = String::new();
    let mut inside = false;
    for line in short.lines().map(str::trim_end) {
        inside &= line != "};";
        let indent = if inside { "  " } else { "" };
        match line.strip_suffix(',').filter(|line| inside && !line.trim_start().starts_with(['*', '/'])) {
            Some(member) => text.extend([indent, member, ";\n"]),
            None => text.extend([indent, line, "\n"]),
        }
        inside |= line.ends_with("= {");
    }
    text
}

// ---- PROTOCOL.md

/// The text with the part between a table's markers replaced.
fn replace(text: &str, name: &str, table: &str) -> Outcome<String> {
    let marker = format!("<!-- generated: {name} -->");
    let (before, rest) = text.split_once(&marker).ok_or_else(|| format!("PROTOCOL.md lacks {marker}"))?;
    let (_, after) = rest.split_once("<!-- end -->").ok_or_else(|| format!("{marker} has no end"))?;
    Ok(format!("{before}{marker}\n{table}<!-- end -->{after}"))
}

fn event_table() -> Outcome<String> {
    let mut schemas = schemas();
    let mut cell = |shape: Shape| {
        let schema = (shape.schema)(&mut schemas).to_value();
        let mut known = schemas.clone();
        format!("`{}`", outline(&schema, &known.take_definitions(true)))
    };
    let mut text = String::new();
    for (title, events) in [
        ("| Connecting | carries | | |", connection::ALL),
        ("| Client → server | carries | answered with | |", client::ALL),
        ("| Server → client | carries | | |", server::ALL),
    ] {
        write!(text, "\n{title}\n|---|---|---|---|\n")?;
        for event in events {
            let answer = event.answer.map_or_else(String::new, &mut cell);
            let volatile = if event.volatile { " Volatile." } else { "" };
            let carries = cell(event.payload);
            writeln!(text, "| `{}` | {carries} | {answer} | {}{volatile} |", event.name, event.summary)?;
        }
    }
    text.push('\n');
    Ok(text)
}

/// An object's members, `?` after those that may be absent: `{room, since?: {epoch, offset}}`. A nested
/// object of many members is shown by its name.
fn outline(schema: &Value, known: &Map<String, Value>) -> String {
    let list = members(schema, known).into_iter().map(|(name, optional, schema)| {
        let list = schema.get("items");
        let inner = list.unwrap_or(&schema);
        let mark = if optional { "?" } else { "" };
        let within = match members(inner, known).len() {
            0 => return format!("{name}{mark}"),
            1..=5 => outline(inner, known),
            _ => target(inner).unwrap_or("{…}").to_owned(),
        };
        if list.is_some() { format!("{name}{mark}: [{within}]") } else { format!("{name}{mark}: {within}") }
    });
    format!("{{{}}}", list.collect::<Vec<_>>().join(", "))
}

/// Name, whether it may be absent, and schema of each member of an object, through references and of an
/// answer's good case.
fn members(schema: &Value, known: &Map<String, Value>) -> Vec<(String, bool, Value)> {
    let parts = ["oneOf", "allOf"].iter().filter_map(|of| schema.get(of)?.get(0));
    let referred = target(schema).and_then(|name| known.get(name));
    let mut all: Vec<_> = parts.chain(referred).flat_map(|part| members(part, known)).collect();
    let required = |name: &String| {
        let list = schema.get("required").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|required| required == name))
    };
    for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if member.get("const").is_none() {
            all.push((name.clone(), !required(name), member.clone()));
        }
    }
    all
}

/// The name that a schema refers to, directly or as its only part.
fn target(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(SCHEMAS))
}

fn code_table(codes: &[(Code, String)]) -> Outcome<String> {
    let mut text = String::from("\n| Number | `code` | `retry_after_ms` | Meaning |\n|---|---|---|---|\n");
    for (code, meaning) in codes {
        let wait = code.retry_after_ms().map_or_else(String::new, |wait| wait.to_string());
        writeln!(text, "| {} | `{}` | {wait} | {meaning} |", code.number(), code.name())?;
    }
    text.push('\n');
    Ok(text)
}

fn limit_table() -> Outcome<String> {
    let mut text = String::from("\n| Limit | Value | Meaning |\n|---|---|---|\n");
    for (name, value, meaning) in limits::ALL {
        writeln!(text, "| `{}` | {value} | {meaning} |", name.to_ascii_lowercase())?;
    }
    text.push('\n');
    Ok(text)
}
