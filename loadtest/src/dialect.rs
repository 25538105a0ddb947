//! The protocol of each kind of server: how a member joins and sends, and what the answers mean. Called by `swarm`
//! with whole frames; it does no I/O. Answers are recognised by their first bytes and never parsed as JSON: that
//! would make the swarm the bottleneck.

use std::net::SocketAddr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{floor, ws};

/// A wire vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Dialect {
    /// Roomcast: Socket.IO with a user's name, `join`, `send_message`, `message`.
    Roomcast,
    /// The same for every other member; the ones between speak a classic chat, `flocker`, in the same rooms.
    RoomcastMixed,
    /// The servers in `peers/` that speak Socket.IO: the same events without user names.
    SocketioPeer,
    /// Centrifuge's JSON protocol.
    Centrifuge,
    /// The raw write.
    Floor,
}

/// The data of a member that dialects need.
#[derive(Debug, Clone, Copy)]
pub struct MemberId {
    /// Its number in the swarm.
    pub id: usize,
    /// The room it is in.
    pub room: u32,
}

/// What a frame of the server means.
#[derive(Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A frame that is not counted.
    Nothing,
    /// The member is in its room.
    Joined,
    /// So many users left a room.
    Left(u64),
    /// A send was acknowledged.
    Acked,
    /// A request was refused.
    Refused(String),
    /// It may carry messages.
    Messages,
}

const JOIN_ACK: &[u8] = b"430[";
/// The namespace of the classic chat, as it begins a packet.
const CLASSIC: &str = "/flocker,";

impl Dialect {
    /// Whether a WebSocket handshake comes first.
    pub fn upgrades(self) -> bool {
        self != Self::Floor
    }

    /// Whether each send is acknowledged.
    pub fn acks(self) -> bool {
        self != Self::Floor
    }

    /// The first bytes of a connection.
    pub fn opening(self, address: SocketAddr, who: MemberId) -> Vec<u8> {
        let path = match self {
            Self::Roomcast | Self::RoomcastMixed | Self::SocketioPeer => {
                "/socket.io/?EIO=4&transport=websocket"
            }
            Self::Centrifuge => "/connection/websocket",
            Self::Floor => {
                let mut join = Vec::new();
                floor::push_command(&mut join, floor::JOIN, who.room, b"");
                return join;
            }
        };
        ws::request(&address.to_string(), path).into_bytes()
    }

    /// What is sent right after the handshake: nothing for Socket.IO, which waits for the server's open packet.
    pub fn greeting(self) -> Option<&'static str> {
        (self == Self::Centrifuge).then_some(r#"{"id":1,"connect":{}}"#)
    }

    /// What a text frame means; the frames to be sent in return are appended to `answers`.
    pub fn read_frame(self, who: MemberId, frame: &[u8], answers: &mut Vec<String>) -> FrameKind {
        match self {
            Self::RoomcastMixed if is_classic(who) => classic(who, frame, answers),
            Self::RoomcastMixed => Self::Roomcast.socketio(who, frame, answers),
            Self::Roomcast | Self::SocketioPeer => self.socketio(who, frame, answers),
            Self::Centrifuge => centrifuge(who, frame, answers),
            Self::Floor if frame == b"ok" => FrameKind::Joined,
            Self::Floor => FrameKind::Messages,
        }
    }

    /// The frame that joins the member's room, where there is one.
    pub fn join(self, who: MemberId) -> Option<String> {
        let room = room(who.room);
        match self {
            Self::RoomcastMixed if is_classic(who) => {
                Some(format!(r#"42{CLASSIC}0["join",{{"username":"m{0:05}","room":"{room}"}}]"#, who.id))
            }
            Self::Roomcast | Self::RoomcastMixed => {
                Some(format!(r#"420["join",{{"room":"{room}","limit":0}}]"#))
            }
            Self::SocketioPeer => Some(format!(r#"420["join",{{"room":"{room}"}}]"#)),
            Self::Centrifuge | Self::Floor => None,
        }
    }

    fn socketio(self, who: MemberId, frame: &[u8], answers: &mut Vec<String>) -> FrameKind {
        match frame {
            [b'4', b'2', rest @ ..] if rest.starts_with(br#"["message","#) => return FrameKind::Messages,
            [b'4', b'2', rest @ ..] if rest.starts_with(br#"["presence","#) => return left(frame),
            [b'0', ..] if self == Self::Roomcast => {
                // A chosen secret, so that a name is claimed in the same way as by a returning client.
                answers.push(format!(r#"40{{"username":"m{0:05}","resume":"swarm-secret-{0:05}"}}"#, who.id));
            }
            [b'0', ..] => answers.push("40".into()),
            b"2" => answers.push("3".into()),
            [b'4', b'0', ..] => answers.extend(self.join(who)),
            [b'4', b'3', ..] if memchr::memmem::find(frame, br#""status":"error""#).is_some() => {
                return refused(frame);
            }
            [b'4', b'3', ..] if frame.starts_with(JOIN_ACK) => return FrameKind::Joined,
            [b'4', b'3', ..] => return FrameKind::Acked,
            [b'4', b'1' | b'4', ..] | [b'1', ..] => return refused(frame),
            _ => {}
        }
        FrameKind::Nothing
    }

    /// Appends the bytes of a send, framed and masked. `call` begins at 1 and is unique for the member.
    pub fn send(self, out: &mut Vec<u8>, who: MemberId, call: u32, number: u32, text: &str, key: [u8; 4]) {
        let room = room(who.room);
        let frame = match self {
            Self::RoomcastMixed if is_classic(who) => format!(
                r#"42{CLASSIC}{call}["send_message",{{"username":"m{0:05}","room":"{room}","msg":"{text}"}}]"#,
                who.id
            ),
            Self::Roomcast | Self::RoomcastMixed | Self::SocketioPeer => {
                format!(r#"42{call}["send_message",{{"room":"{room}","text":"{text}"}}]"#)
            }
            Self::Centrifuge => {
                let id = call + 2;
                format!(r#"{{"id":{id},"publish":{{"channel":"{room}","data":{{"text":"{text}"}}}}}}"#)
            }
            // As long as Roomcast's frame.
            Self::Floor => format!(
                r#"42["message",{{"room":"{room}","epoch":"{:016x}","offset":{number},"ts":1790000000123,"id":"{number:022}","kind":"text","user":"m{:05}","text":"{text}"}}]"#,
                0x5eed_5eed_5eed_5eed_u64, who.id
            ),
        };
        if self == Self::Floor {
            let mut framed = Vec::with_capacity(frame.len() + 8);
            ws::push_plain(&mut framed, ws::TEXT, frame.as_bytes());
            floor::push_command(out, floor::PUBLISH, who.room, &framed);
        } else {
            ws::push_masked(out, ws::TEXT, frame.as_bytes(), key);
        }
    }
}

/// The name of a room.
pub fn room(number: u32) -> String {
    format!("bench-{number}")
}

/// Who left, in Roomcast's `presence`. In a room that is too large for lists it has no names.
fn left(frame: &[u8]) -> FrameKind {
    const LIST: &[u8] = br#""left":["#;
    let list = memchr::memmem::find(frame, LIST).and_then(|at| frame.get(at + LIST.len()..));
    let names = list.and_then(|list| list.split(|byte| *byte == b']').next()).unwrap_or_default();
    match memchr::memchr_iter(b'"', names).count() as u64 / 2 {
        0 => FrameKind::Nothing,
        users => FrameKind::Left(users),
    }
}

fn refused(frame: &[u8]) -> FrameKind {
    FrameKind::Refused(
        String::from_utf8_lossy(frame.get(..frame.len().min(200)).unwrap_or_default()).into_owned(),
    )
}

/// Whether a member of a mixed swarm speaks the classic chat.
fn is_classic(who: MemberId) -> bool {
    who.id % 2 == 1
}

/// A frame of the classic chat's namespace.
fn classic(who: MemberId, frame: &[u8], answers: &mut Vec<String>) -> FrameKind {
    let Some((packet, rest)) = frame.split_at_checked(2) else {
        answers.extend((frame == b"2").then(|| "3".to_owned()));
        return FrameKind::Nothing;
    };
    match (packet, rest.strip_prefix(CLASSIC.as_bytes())) {
        (b"42", Some(event)) if event.starts_with(br#"["message","#) => return FrameKind::Messages,
        (b"43", Some(_)) if memchr::memmem::find(frame, br#""status":"error""#).is_some() => {
            return refused(frame);
        }
        (b"43", Some(ack)) if ack.starts_with(b"0[") => return FrameKind::Joined,
        (b"43", Some(_)) => return FrameKind::Acked,
        (b"40", Some(_)) => answers.extend(Dialect::RoomcastMixed.join(who)),
        (b"41" | b"44", _) => return refused(frame),
        ([b'0', _], _) => answers.push(format!("40{CLASSIC}")),
        _ => {}
    }
    FrameKind::Nothing
}

/// A frame holds one JSON value a line. `{}` is a ping.
fn centrifuge(who: MemberId, frame: &[u8], answers: &mut Vec<String>) -> FrameKind {
    let mut meaning = FrameKind::Nothing;
    for line in frame.split(|byte| *byte == b'\n') {
        if line.starts_with(br#"{"push""#) {
            meaning = FrameKind::Messages;
        } else if line == b"{}" {
            answers.push("{}".into());
        } else if memchr::memmem::find(line, br#""error":"#).is_some()
            || line.starts_with(br#"{"disconnect""#)
        {
            return refused(line);
        } else if line.starts_with(br#"{"id":1,"#) {
            answers.push(format!(r#"{{"id":2,"subscribe":{{"channel":"{}"}}}}"#, room(who.room)));
        } else if line.starts_with(br#"{"id":2,"#) {
            return FrameKind::Joined;
        } else if line.starts_with(br#"{"id":"#) && meaning == FrameKind::Nothing {
            meaning = FrameKind::Acked;
        }
    }
    meaning
}

/// How many acknowledgements a frame with messages also holds: only Centrifuge puts both into one.
pub fn acks_in_batch(dialect: Dialect, frame: &[u8]) -> u64 {
    if dialect != Dialect::Centrifuge {
        return 0;
    }
    frame.split(|byte| *byte == b'\n').filter(|line| line.starts_with(br#"{"id":"#)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: MemberId = MemberId { id: 12, room: 3 };

    fn read(dialect: Dialect, frame: &str) -> (FrameKind, Vec<String>) {
        let mut answers = Vec::new();
        (dialect.read_frame(MEMBER, frame.as_bytes(), &mut answers), answers)
    }

    #[test]
    fn a_member_of_roomcast_comes_in() {
        let said = |frame| read(Dialect::Roomcast, frame).1;
        assert_eq!(said(r#"0{"sid":"x"}"#), [r#"40{"username":"m00012","resume":"swarm-secret-00012"}"#]);
        assert_eq!(said(r#"40{"sid":"x"}"#), [r#"420["join",{"room":"bench-3","limit":0}]"#]);
        assert_eq!(read(Dialect::Roomcast, r#"430[{"status":"ok"}]"#).0, FrameKind::Joined);
        assert_eq!(said("2"), ["3"]);
    }

    #[test]
    fn every_other_member_of_a_mixed_swarm_speaks_the_classic_chat() {
        let odd = MemberId { id: 13, room: 3 };
        let said = |frame: &str| {
            let mut answers = Vec::new();
            (Dialect::RoomcastMixed.read_frame(odd, frame.as_bytes(), &mut answers), answers.pop())
        };
        assert_eq!(said(r#"0{"sid":"x"}"#).1.unwrap(), "40/flocker,");
        let join = r#"42/flocker,0["join",{"username":"m00013","room":"bench-3"}]"#;
        assert_eq!(said(r#"40/flocker,{"sid":"x"}"#).1.unwrap(), join);
        assert_eq!(said(r#"43/flocker,0[{"status":"ok"}]"#).0, FrameKind::Joined);
        assert_eq!(said(r#"43/flocker,7[{"status":"ok"}]"#).0, FrameKind::Acked);
        assert!(matches!(said(r#"43/flocker,7[{"status":"error"}]"#).0, FrameKind::Refused(_)));
        assert_eq!(said(r#"42/flocker,["message",{"msg":"x"}]"#).0, FrameKind::Messages);
        assert_eq!(said(r#"42/flocker,["online_users",{}]"#).0, FrameKind::Nothing);
        assert_eq!(said("2").1.unwrap(), "3");
        let (joined, _) = read(Dialect::RoomcastMixed, r#"430[{"status":"ok"}]"#);
        assert_eq!(joined, FrameKind::Joined, "the others are native");
        let mut out = Vec::new();
        Dialect::RoomcastMixed.send(&mut out, odd, 7, 0, "hi", [0; 4]);
        let sent = r#"42/flocker,7["send_message",{"username":"m00013","room":"bench-3","msg":"hi"}]"#;
        assert!(String::from_utf8_lossy(&out).ends_with(sent));
    }

    #[test]
    fn frames_are_told_apart() {
        let meaning = |frame| read(Dialect::SocketioPeer, frame).0;
        assert_eq!(meaning(r#"42["message",{"text":"x"}]"#), FrameKind::Messages);
        assert_eq!(meaning(r#"42["presence",{"text":"x"}]"#), FrameKind::Nothing);
        let presence =
            |left| format!(r#"42["presence",{{"room":"r","joined":["a"],"left":[{left}],"count":3}}]"#);
        let (none, two) = (presence(""), presence(r#""m00001","m00002""#));
        assert_eq!(meaning(&none), FrameKind::Nothing);
        assert_eq!(meaning(&two), FrameKind::Left(2));
        assert_eq!(meaning(r#"4317[{"status":"ok"}]"#), FrameKind::Acked);
        assert!(matches!(meaning(r#"4317[{"status":"error","code":"busy"}]"#), FrameKind::Refused(_)));
        assert!(matches!(meaning(r#"44{"message":"username_taken"}"#), FrameKind::Refused(_)));
    }

    #[test]
    fn lines_of_centrifuge_are_told_apart() {
        let (meaning, answers) = read(Dialect::Centrifuge, "{}");
        assert_eq!((meaning, answers), (FrameKind::Nothing, vec!["{}".to_owned()]));
        let both = "{\"id\":7,\"publish\":{}}\n{\"push\":{\"channel\":\"bench-3\"}}";
        assert_eq!(read(Dialect::Centrifuge, both).0, FrameKind::Messages);
        assert_eq!(acks_in_batch(Dialect::Centrifuge, both.as_bytes()), 1);
        assert_eq!(read(Dialect::Centrifuge, r#"{"id":2,"subscribe":{}}"#).0, FrameKind::Joined);
        assert!(matches!(
            read(Dialect::Centrifuge, r#"{"id":2,"error":{"code":1}}"#).0,
            FrameKind::Refused(_)
        ));
    }
}
