//! Payloads of the bus: a head line, then what its kind says. Written by the publish and presence scripts
//! and by `publish_ephemeral`; read here, where nothing is trusted: another version, a foreign program or
//! half a payload is an error, never a panic. Called by `bus/redis.rs` and `log/redis.rs`.
//!
//! - `1 m EPOCH OFFSET TS COUNTED [TRACEPARENT]` + the message's body in either layout (`layout.rs`); the
//!   last word only of traced requests
//! - `1 p GENERATION NUMBER COUNT` + a line `+USER` or `-USER` each
//! - `1 r INCARNATION` + a line `USER` each; releases that do not know it read the rooms of one worker again
//! - `1 x INCARNATION` + a line `USER` each; read by other releases like the one before
//! - `1 t 0|1` + the user
//!
//! Words after the known ones are ignored, so that a release may add some at the end of the head.

use roomcast_ops::trace::{Origin, Trace};
use roomcast_protocol::{Epoch, UserName};

use crate::bus::BusEvent;
use crate::error::StoreError;
use crate::layout;
use crate::log::Entry;
use crate::nodes::Incarnation;
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

pub(crate) fn parse(payload: &[u8]) -> Result<BusEvent, StoreError> {
    if payload.len() > MAX_BYTES {
        return Err(corrupt("too long"));
    }
    let text = std::str::from_utf8(payload).map_err(|_| corrupt("not UTF-8"))?;
    let (head, body) = text.split_once('\n').ok_or_else(|| corrupt("no head"))?;
    let mut words = head.split(' ');
    let mut word = || words.next().ok_or_else(|| corrupt("a short head"));
    let number = |word: &str| word.parse::<u64>().map_err(|_| corrupt("no number"));
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
