//! News between nodes. A node subscribes to the rooms its clients are in and hears of nothing else; the
//! sink must never block. Implemented for the gateway's rooms; twins in `bus/memory.rs` and
//! `bus/redis.rs`.

pub(crate) mod memory;
pub(crate) mod redis;

use async_trait::async_trait;
use roomcast_protocol::{RoomName, UserName};

use crate::error::Result;
use crate::log::Entry;
use crate::nodes::Incarnation;
use crate::presence::Version;

/// Something that happened in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A message was stored.
    Message(Entry),
    /// Users came or went.
    Presence {
        /// Numbers this news.
        version: Version,
        /// Users in the room now.
        count: usize,
        /// Who came.
        joined: Vec<UserName>,
        /// Who went.
        left: Vec<UserName>,
    },
    /// Users who have facts of several nodes got a new connection by one of them: on the others it may be the
    /// return of a connection that dropped there.
    Returned {
        /// Where they are.
        node: Incarnation,
        /// Who.
        users: Vec<UserName>,
    },
    /// Somebody began or stopped typing.
    Typing {
        /// Who.
        user: UserName,
        /// Which.
        typing: bool,
    },
}

/// Where news goes.
pub trait Sink: Send + Sync {
    /// News of a subscribed room, in the order the store made it. Must not block.
    fn news(&self, room: &RoomName, news: News);

    /// News may have been missed, of one room or of all, and none is being missed any more.
    fn gap(&self, room: Option<&RoomName>);
}

/// The way news travels.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Begins to hear of a room. Once it returns, nothing that happens in the room is missed unless
    /// [`Sink::gap`] says so.
    async fn subscribe(&self, room: &RoomName) -> Result<()>;

    /// Ceases to hear of a room.
    async fn unsubscribe(&self, room: &RoomName) -> Result<()>;

    /// Tells every subscribed node, this one included, without keeping it. May be lost.
    async fn whisper(&self, room: &RoomName, user: &UserName, typing: bool) -> Result<()>;

    /// Rooms subscribed to.
    fn subscriptions(&self) -> usize;
}
