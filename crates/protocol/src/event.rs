//! The table of events: their names, payloads and acknowledgements. The names are a public interface, whose meaning
//! never changes. The gateway uses the constants; the table drives `bin/generate.rs` (AsyncAPI, TypeScript, PROTOCOL.md) and the golden frames of `tests/it`. It calls [`Shape`].

use crate::ack::{
    Answer, Done, HistoryPage, ImageSent, Joined, Left, RoomsPage, Sent, SentPrivately, UsersPage,
};
use crate::client::{
    Broadcast, ConnectAuth, History, Join, Leave, OnlineUsers, Rooms, SendImage, SendMessage,
    SendPrivateMessage, Typing,
};
use crate::message::{Message, PrivateMessage};
use crate::server::{
    ConnectError, Connected, Inbox, Presence, Restarting, Resync, Snapshot, TypingChanged, Welcome,
};
use crate::shape::Shape;

/// The namespace of the native dialect. `/` may be configured to use another dialect, this one never.
pub const NATIVE_NAMESPACE: &str = "/native";

/// Who sends an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A client.
    Client,
    /// The server.
    Server,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Its name on the wire.
    pub name: &'static str,
    /// Who sends it.
    pub from: Side,
    /// A description in one sentence.
    pub summary: &'static str,
    /// True if it may be lost, and a client need not request an acknowledgement.
    pub volatile: bool,
    /// The one object it carries.
    pub payload: Shape,
    /// The acknowledgement; every event of a client has one.
    pub answer: Option<Shape>,
}

/// Makes a module of constants, and the table of them, out of one list.
macro_rules! events {
    ($($(#[$about:meta])+ mod $module:ident, $side:ident { $(
        $(#[doc = $doc:literal])+
        $constant:ident = $name:literal $(($volatile:ident))?: $payload:ty $(=> $answer:ty)?;
    )+ })+) => { $(
        $(#[$about])+
        pub mod $module {
            use super::*;
            $( $(#[doc = $doc])+ pub const $constant: &str = $name; )+
            /// All of them, in the order of the documentation.
            pub const ALL: &[Event] = &[$( Event {
                name: $name,
                from: Side::$side,
                summary: concat!($($doc),+).trim_ascii(),
                volatile: events!(@volatile $($volatile)?),
                payload: Shape::of::<$payload>(),
                answer: events!(@answer $($answer)?),
            } ),+];
        }
    )+ };
    (@volatile) => { false };
    (@volatile volatile) => { true };
    (@answer) => { None };
    (@answer $fields:ty) => { Some(Shape::of::<Answer<$fields>>()) };
}

events! {
    /// Events that a client sends.
    mod client, Client {
        /// Enter a room.
        JOIN = "join": Join => Joined;
        /// Leave a room.
        LEAVE = "leave": Leave => Left;
        /// Send a message to a room.
        SEND_MESSAGE = "send_message": SendMessage => Sent;
        /// Send a message to everyone, where that is allowed.
        BROADCAST = "broadcast": Broadcast => Sent;
        /// Send a message to one user.
        PRIVATE_MESSAGE = "private_message": SendPrivateMessage => SentPrivately;
        /// Send an image to a room or to one user.
        SEND_IMAGE = "send_image": SendImage => ImageSent;
        /// Start or stop typing.
        TYPING = "typing" (volatile): Typing => Done;
        /// Read a page of a room's log, or of the private messages with one user.
        HISTORY = "history": History => HistoryPage;
        /// List rooms.
        ROOMS = "rooms": Rooms => RoomsPage;
        /// List the users in a room.
        ONLINE_USERS = "online_users": OnlineUsers => UsersPage;
    }

    /// Events that the server sends.
    mod server, Server {
        /// The first event of a connection.
        WELCOME = "welcome": Welcome;
        /// A message of a room.
        MESSAGE = "message": Message;
        /// A message of one user to another; both receive it, on all their connections.
        PRIVATE_MESSAGE = "private_message": PrivateMessage;
        /// The connection's position in the private messages: after `welcome` if it asked for them, and when some were lost.
        INBOX = "inbox": Inbox;
        /// Users joined and left a room.
        PRESENCE = "presence": Presence;
        /// The users in a room; replaces the list that the client has.
        ONLINE_USERS = "online_users": Snapshot;
        /// A user started or stopped typing.
        TYPING = "typing" (volatile): TypingChanged;
        /// The log cannot fill the client's gap.
        RESYNC = "resync": Resync;
        /// This node is draining; the connection will be closed.
        RESTARTING = "restarting": Restarting;
    }
}

/// The packets that open a connection: the client's, and its two possible answers. Socket.IO
/// reserves these names.
pub mod connection {
    use super::{ConnectAuth, ConnectError, Connected, Event, Shape, Side};

    /// The connect packet, whose payload is the client's `auth`.
    pub const CONNECT: Event =
        packet("connect", Side::Client, "Ask to connect as a user.", Shape::of::<ConnectAuth>());
    /// The answer to a connect packet that is accepted.
    pub const CONNECTED: Event = packet(
        "connected",
        Side::Server,
        "The client is connected; `welcome` follows.",
        Shape::of::<Connected>(),
    );
    /// The answer to a connect packet that is refused.
    pub const CONNECT_ERROR: Event =
        packet("connect_error", Side::Server, "The client is refused.", Shape::of::<ConnectError>());
    /// All of them.
    pub const ALL: &[Event] = &[CONNECT, CONNECTED, CONNECT_ERROR];

    const fn packet(name: &'static str, from: Side, summary: &'static str, payload: Shape) -> Event {
        Event { name, from, summary, volatile: false, payload, answer: None }
    }
}
