//! What answers a command: one variant a kind of answer. Made by the commands' files, encoded by the dialects.

use roomcast_protocol::ack::{HistoryPage, Left, RoomsPage, Sent, UsersPage};
use serde_json::value::RawValue;

use crate::room::JoinedRoom;

/// A reply to a command that was carried out.
pub(crate) enum Reply {
    Joined(JoinedRoom),
    Left(Left),
    Sent(Sent),
    History(HistoryPage<Box<RawValue>>),
    Rooms(RoomsPage),
    OnlineUsers(UsersPage),
    /// There is nothing to say but that it was done.
    Done,
}
