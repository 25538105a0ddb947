//! Payloads of the bus: a head line, then what its kind says. Written by the publish and presence scripts,
//! by `publish_ephemeral` and by `inbox/redis.rs`; read here, where nothing is trusted: another version, a foreign program or
//! half a payload is an error, never a panic. Called by `bus/redis.rs` and `log/redis.rs`.
//!
//! - `1 m EPOCH OFFSET TS COUNTED [TRACEPARENT]` + the message's body in either layout (`layout.rs`); the
//!   last word only of traced requests
//! - `1 p GENERATION NUMBER COUNT` + a line `+USER` or `-USER` each
//! - `1 r INCARNATION` + a line `USER` each; releases that do not know it read the rooms of one worker again
//! - `1 x INCARNATION` + a line `USER` each; read by other releases like the one before
//! - `1 t 0|1` + the user
//! - on a node's own channel: `1 i SECRET EPOCH OFFSET TS` + a line each of the inbox's owner and of whom the message
//!   was sent to, + its body; or `1 i SECRET EPOCH OFFSET` + the owner, where the message must be read
//!
//! Words after the known ones are ignored, so that a release may add some at the end of the head.

use roomcast_ops::trace::{Origin, Trace};
use roomcast_protocol::{Epoch, Position, UserName};

use crate::bus::BusEvent;
use crate::error::StoreError;
use crate::inbox::{InboxEntry, InboxEvent};
use crate::layout;
use crate::log::Entry;
use crate::names::Secret;
use crate::nodes::Incarnation;
use crate::person::Person;
use crate::presence::Version;

/// Longer payloads are not ours: the longest packet, and room for the head.
const MAX_BYTES: usize = roomcast_protocol::limits::MAX_PACKET_BYTES + 4_096;

pub(crate) fn typing(user: &UserName, typing: bool) -> String {
    format!("1 t {}\n{user}", u8::from(typing))
}

/// The last word of a traced message's head, with the blank before it.
pub(crate) fn trace_word(trace: Trace) -> String {
    format!(" {trace}")
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a bus envelope: {what}"))
}

fn number(word: &str) -> Result<u64, StoreError> {
    word.parse().map_err(|_| corrupt("no number"))
}

/// The head of a payload and what follows it.
fn split(payload: &[u8]) -> Result<(&str, &str), StoreError> {
    if payload.len() > MAX_BYTES {
        return Err(corrupt("too long"));
    }
    let text = std::str::from_utf8(payload).map_err(|_| corrupt("not UTF-8"))?;
    text.split_once('\n').ok_or_else(|| corrupt("no head"))
}

/// The payload for the nodes of an inbox's owner.
pub(crate) fn private(
    Person { user, secret }: &Person,
    InboxEvent { position, entry }: &InboxEvent,
) -> String {
    let head = format!("1 i {} {} {}", secret.to_hex(), position.epoch, position.offset);
    match entry {
        Some(InboxEntry { entry, to }) => format!("{head} {}\n{user}\n{to}\n{}", entry.ts, entry.body),
        None => format!("{head}\n{user}"),
    }
}

/// Reads a payload of a node's own channel. The secret says nothing about whether it is proved.
pub(crate) fn parse_private(payload: &[u8]) -> Result<(Person, InboxEvent), StoreError> {
    let (head, rest) = split(payload)?;
    let mut words = head.split(' ');
    let mut word = || words.next().ok_or_else(|| corrupt("a short head"));
    if (word()?, word()?) != ("1", "i") {
        return Err(corrupt("another kind"));
    }
    let secret = Secret::from_hex(word()?, true).ok_or_else(|| corrupt("no hash"))?;
    let position = Position { epoch: Epoch::new(word()?), offset: number(word()?)? };
    let user = |name| UserName::parse(name).map_err(|_| corrupt("a bad name"));
    let Ok(ts) = word() else {
        return Ok((Person { user: user(rest)?, secret }, InboxEvent { position, entry: None }));
    };
    let mut lines = rest.splitn(3, '\n');
    let mut line = || lines.next().ok_or_else(|| corrupt("a short payload"));
    let (owner, to, body) = (user(line()?)?, user(line()?)?, line()?.to_owned());
    let (epoch, offset) = (position.epoch.clone(), position.offset);
    let entry = Entry { epoch, offset, ts: number(ts)?, body, trace: None };
    Ok((Person { user: owner, secret }, InboxEvent { position, entry: Some(InboxEntry { entry, to }) }))
}

pub(crate) fn parse(payload: &[u8]) -> Result<BusEvent, StoreError> {
    let (head, body) = split(payload)?;
    let mut words = head.split(' ');
    let mut word = || words.next().ok_or_else(|| corrupt("a short head"));
    if word()? != "1" {
        return Err(corrupt("another version"));
    }
    match word()? {
        "m" => {
            let (epoch, offset, ts) = (Epoch::new(word()?), number(word()?)?, number(word()?)?);
            // After the count of messages, which only the log needs. What is no trace context is ignored.
            let trace = words.nth(1).and_then(Trace::parse).map(Origin::now);
            Ok(BusEvent::Message(Entry { epoch, offset, ts, body: layout::read(body.to_owned()), trace }))
        }
        "p" => {
            let version = Version { generation: word()?.to_owned(), number: number(word()?)? };
            let count = usize::try_from(number(word()?)?).map_err(|_| corrupt("no count"))?;
            let (mut joined, mut left) = (Vec::new(), Vec::new());
            for line in body.lines() {
                let user = |name| UserName::parse(name).map_err(|_| corrupt("a bad name"));
                match (line.strip_prefix('+'), line.strip_prefix('-')) {
                    (Some(name), _) => joined.push(user(name)?),
                    (_, Some(name)) => left.push(user(name)?),
                    _ => return Err(corrupt("a bad line")),
                }
            }
            Ok(BusEvent::Presence { version, count, joined, left })
        }
        kind @ ("r" | "x") => {
            let user = |name| UserName::parse(name).map_err(|_| corrupt("a bad name"));
            let (node, users) =
                (Incarnation::new(word()?), body.lines().map(user).collect::<Result<_, _>>()?);
            Ok(if kind == "r" {
                BusEvent::Returned { node, users }
            } else {
                BusEvent::Replaced { node, users }
            })
        }
        "t" => {
            let typing = word()? == "1";
            let user = UserName::parse(body).map_err(|_| corrupt("a bad name"))?;
            Ok(BusEvent::Typing { user, typing })
        }
        _ => Err(corrupt("another kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read() {
        let user = |name: &str| UserName::parse(name).unwrap();
        for body in [r#"{"v":1,"id":"a"}"#, r#""id":"a"}"#] {
            assert_eq!(
                parse(format!("1 m e1 7 1790000000000 3\n{body}").as_bytes()).unwrap(),
                BusEvent::Message(Entry {
                    epoch: Epoch::new("e1"),
                    offset: 7,
                    ts: 1_790_000_000_000,
                    body: r#"{"v":1,"id":"a"}"#.into(),
                    trace: None,
                })
            );
        }
        assert_eq!(
            parse(b"1 p g 2 1\n+Ann B.\n-+x").unwrap(),
            BusEvent::Presence {
                version: Version { generation: "g".into(), number: 2 },
                count: 1,
                joined: vec![user("Ann B.")],
                left: vec![user("+x")],
            }
        );
        assert_eq!(
            parse(b"1 r i\nAnn B.\n+x").unwrap(),
            BusEvent::Returned { node: Incarnation::new("i"), users: vec![user("Ann B."), user("+x")] }
        );
        assert_eq!(
            parse(b"1 x i\nAnn B.").unwrap(),
            BusEvent::Replaced { node: Incarnation::new("i"), users: vec![user("Ann B.")] }
        );
        assert_eq!(
            parse(typing(&user("Ann"), true).as_bytes()).unwrap(),
            BusEvent::Typing { user: user("Ann"), typing: true }
        );
    }

    #[test]
    fn a_private_message_is_read_as_it_was_written() {
        let user = |name: &str| UserName::parse(name).unwrap();
        let person = Person { user: user("Ann B."), secret: Secret::proved("s") };
        let position = Position { epoch: Epoch::new("e1"), offset: 7 };
        let body = "{\"v\":1,\"id\":\"a\",\n\"text\":\"x\"}".to_owned();
        let entry = Entry { epoch: Epoch::new("e1"), offset: 7, ts: 1_790_000_000_000, body, trace: None };
        for entry in [Some(InboxEntry { entry, to: user("Bob") }), None] {
            let event = InboxEvent { position: position.clone(), entry };
            let payload = private(&person, &event);
            assert_eq!(parse_private(payload.as_bytes()).unwrap(), (person.clone(), event));
        }
        for bad in [
            "",
            "1 i",
            "1 m e1 7 1 3\n}",
            "1 i zz e 1\nAnn",
            "1 i 0 e 1\n",
            "1 i 0 e 1 9\nAnn\nBob",
            "2 i 0 e 1\nAnn",
        ] {
            assert!(matches!(parse_private(bad.as_bytes()), Err(StoreError::Corrupt(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_head_may_have_more_words() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = |head: &str| match parse(format!("{head}\n}}").as_bytes()).unwrap() {
            BusEvent::Message(entry) => entry.trace.map(|origin| origin.trace().to_string()),
            other => panic!("{other:?}"),
        };
        let word = trace_word(Trace::parse(parent).unwrap());
        assert_eq!(trace(&format!("1 m e1 7 1 3{word}")).as_deref(), Some(parent));
        assert_eq!(trace(&format!("1 m e1 7 1 3{word} later")).as_deref(), Some(parent));
        assert_eq!(trace("1 m e1 7 1 3 later"), None);
        assert_eq!(trace("1 m e1 7 1 3"), None);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let long = vec![b'x'; MAX_BYTES + 1];
        let cases: [&[u8]; 11] = [
            b"",
            b"\n",
            b"2 m e 1 1 1\n}",
            b"1 q\n",
            b"1 m e one 1 1\n",
            b"1 m e\n",
            b"1 p g 1 1\nAnn",
            b"1 p g 1 1\n+",
            b"1 t 1\n",
            b"\xff\xfe",
            &long,
        ];
        for case in cases {
            assert!(matches!(parse(case), Err(StoreError::Corrupt(_))), "{case:?}");
        }
    }
}
