//! The replies: one variant for each kind. Created by the commands' files, encoded by the dialects.

use roomcast_protocol::ack::{HistoryPage, ImageSent, Left, RoomsPage, Sent, SentPrivately, UsersPage};
use serde_json::value::RawValue;

use crate::room::JoinedRoom;

/// The reply to a command that succeeded.
pub(crate) enum Reply {
    Joined(JoinedRoom),
    Left(Left),
    Sent(Sent),
    SentPrivately(SentPrivately),
    ImageSent(ImageSent),
    History(HistoryPage<Box<RawValue>>),
    Rooms(RoomsPage),
    OnlineUsers(UsersPage),
    /// Success without a result.
    Done,
}
