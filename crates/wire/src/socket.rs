//! Socket.IO packets, in versions 5 and 4 of the protocol (<https://socket.io/docs/v4/socket-io-protocol/>), which
//! differ in nothing that is decoded here. Called by the gateway's sessions; calls nothing. JSON is not parsed.

/// The longest acknowledgement id, in digits: what fits into 64 bits whatever the digits are.
const MAX_ID_DIGITS: usize = 19;
/// The longest number of attachments, in digits.
const MAX_ATTACHMENT_DIGITS: usize = 4;

/// The type of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Asks for a namespace; the data is the auth object, or empty.
    Connect,
    /// Leaves a namespace.
    Disconnect,
    /// An event: the data is a list that begins with its name.
    Event,
    /// The answer to an event of the server: the data is a list.
    Ack,
    /// Only servers send it.
    ConnectError,
}

/// A packet of a client. Its attachments follow as packets of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its type.
    pub kind: Kind,
    /// The path of the namespace, with its query if it has one; `/` if the packet names none.
    pub namespace: &'a str,
    /// How many packets of bytes follow.
    pub attachments: usize,
    /// The id that an acknowledgement must carry.
    pub id: Option<u64>,
    /// JSON, not checked; may be empty.
    pub data: &'a str,
}

/// Why a packet could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The type is none of the protocol.
    #[error("the type of a Socket.IO packet is unknown")]
    UnknownType,
    /// The number of attachments is missing or too large.
    #[error("the number of attachments is invalid")]
    Attachments,
    /// The id of an acknowledgement does not fit 64 bits.
    #[error("the acknowledgement id is too large")]
    Id,
}

impl<'a> Packet<'a> {
    /// Decodes the text of a packet: `TYPE[ATTACHMENTS-][/NAMESPACE,][ID][DATA]`.
    ///
    /// # Errors
    /// The type, the number of attachments or the id is invalid.
    pub fn decode(text: &'a str) -> Result<Self, PacketError> {
        let mut chars = text.chars();
        let (kind, binary) = match chars.next() {
            Some('0') => (Kind::Connect, false),
            Some('1') => (Kind::Disconnect, false),
            Some('2') => (Kind::Event, false),
            Some('3') => (Kind::Ack, false),
            Some('4') => (Kind::ConnectError, false),
            Some('5') => (Kind::Event, true),
            Some('6') => (Kind::Ack, true),
            _ => return Err(PacketError::UnknownType),
        };
        let rest = chars.as_str();
        let (attachments, rest) = if binary { attachments(rest)? } else { (0, rest) };
        let (namespace, rest) = match rest.strip_prefix('/') {
            Some(_) => rest.split_once(',').unwrap_or((rest, "")),
            None => ("/", rest),
        };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, data) = rest.split_at(digits);
        let id = match id.len() {
            0 => None,
            1..=MAX_ID_DIGITS => Some(id.parse().map_err(|_| PacketError::Id)?),
            _ => return Err(PacketError::Id),
        };
        Ok(Self { kind, namespace, attachments, id, data })
    }
}

fn attachments(text: &str) -> Result<(usize, &str), PacketError> {
    let (digits, rest) = text.split_once('-').ok_or(PacketError::Attachments)?;
    let valid =
        (1..=MAX_ATTACHMENT_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !valid {
        return Err(PacketError::Attachments);
    }
    digits.parse().map(|count| (count, rest)).map_err(|_| PacketError::Attachments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: Kind, namespace: &'static str, data: &'static str) -> Packet<'static> {
        Packet { kind, namespace, attachments: 0, id: None, data }
    }

    #[test]
    fn packets_of_each_type() {
        for (text, expected) in [
            ("0", packet(Kind::Connect, "/", "")),
            ("0{\"username\":\"ann\"}", packet(Kind::Connect, "/", "{\"username\":\"ann\"}")),
            ("0/native", packet(Kind::Connect, "/native", "")),
            ("0/native,", packet(Kind::Connect, "/native", "")),
            ("0/native?a=1,{}", packet(Kind::Connect, "/native?a=1", "{}")),
            ("07{}", Packet { id: Some(7), ..packet(Kind::Connect, "/", "{}") }),
            ("1/native,", packet(Kind::Disconnect, "/native", "")),
            ("2[\"a\"]", packet(Kind::Event, "/", "[\"a\"]")),
            ("2/native,12[1]", Packet { id: Some(12), ..packet(Kind::Event, "/native", "[1]") }),
            ("3/native,0[]", Packet { id: Some(0), ..packet(Kind::Ack, "/native", "[]") }),
            ("4\"no\"", packet(Kind::ConnectError, "/", "\"no\"")),
            ("52-[1]", Packet { attachments: 2, ..packet(Kind::Event, "/", "[1]") }),
            ("61-/native,3[]", Packet { attachments: 1, id: Some(3), ..packet(Kind::Ack, "/native", "[]") }),
            ("2/é,[\"🦀\"]", packet(Kind::Event, "/é", "[\"🦀\"]")),
        ] {
            assert_eq!(Packet::decode(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn invalid_packets() {
        for (text, error) in [
            ("", PacketError::UnknownType),
            ("7", PacketError::UnknownType),
            ("é", PacketError::UnknownType),
            ("5-[1]", PacketError::Attachments),
            ("5[1]", PacketError::Attachments),
            ("51000000-[1]", PacketError::Attachments),
            ("5+1-[1]", PacketError::Attachments),
            ("299999999999999999999[1]", PacketError::Id),
        ] {
            assert_eq!(Packet::decode(text), Err(error), "{text}");
        }
        assert_eq!(
            Packet::decode("29999999999999999999[]"),
            Ok(Packet { id: Some(9_999_999_999_999_999_999), ..packet(Kind::Event, "/", "[]") })
        );
    }
}
