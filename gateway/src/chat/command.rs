//! What an actor can ask for: one variant a command, whose payload is that of the native event of the same name.
//! Decoded by the dialects of the edge, carried out by the file of that name.

use roomcast_protocol::client::{History, Join, Leave, OnlineUsers, Rooms, SendMessage, Typing};

/// A command, decoded and not yet checked.
#[derive(Debug)]
pub(crate) enum Command {
    Join(Join),
    Leave(Leave),
    SendMessage(SendMessage),
    Typing(Typing),
    History(History),
    Rooms(Rooms),
    OnlineUsers(OnlineUsers),
}
