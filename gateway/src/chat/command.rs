//! The commands: one variant each, with the payload of the native event of the same name. Decoded by the dialects of
//! the edge, executed by the file of the same name.

use bytes::Bytes;
use roomcast_protocol::client::{
    Broadcast, History, Join, Leave, OnlineUsers, Rooms, SendMessage, SendPrivateMessage, Typing,
};
use roomcast_protocol::{Extra, RoomName, UserName};

/// Which vocabulary a message to everyone was sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BroadcastOrigin {
    Native,
    /// That of a classic chat whose users have always been able to.
    Classic,
}

/// A command, decoded and not yet validated.
#[derive(Debug)]
pub(crate) enum Command {
    Join(Join),
    Leave(Leave),
    SendMessage(SendMessage),
    /// The same, with other fields of a classic front end's object.
    SendMessageWith(SendMessage, Box<Extra>),
    /// A message to everyone.
    Broadcast(Broadcast, BroadcastOrigin),
    PrivateMessage(SendPrivateMessage),
    /// As `PrivateMessage`, to a user whose name is given as people type it.
    PrivateMessageTo {
        typed: String,
        room: RoomName,
        text: String,
        id: Option<String>,
    },
    SendImage(SendImage),
    Typing(Typing),
    History(History),
    Rooms(Rooms),
    OnlineUsers(OnlineUsers),
}

/// Whom a private message is for.
#[derive(Debug)]
pub(crate) enum Recipient {
    /// The user of exactly this name.
    User(UserName),
    /// A user whose name is given as people type it, in a room of the sender.
    Typed { name: String, room: RoomName },
}

/// `send_image`, whose bytes the edge has found, wherever they were in the packet.
#[derive(Debug)]
pub(crate) struct SendImage {
    pub(crate) room: Option<RoomName>,
    pub(crate) to: Option<Recipient>,
    pub(crate) image: Bytes,
    pub(crate) alt: Option<String>,
    pub(crate) id: Option<String>,
}
