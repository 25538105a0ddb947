//! Events between nodes. A node subscribes to the rooms its clients are in and receives those rooms' events
//! only, through a listener that must never block: the gateway's rooms. Twins in `bus/memory.rs` and
//! `bus/redis.rs`.

pub(crate) mod channels;
mod cluster;
mod exchange;
pub(crate) mod memory;
mod node;
mod placement;
pub(crate) mod redis;
mod single;
mod slots;

use async_trait::async_trait;
use roomcast_protocol::{RoomName, UserName};

use crate::error::Result;
use crate::inbox::InboxEvent;
use crate::log::Entry;
use crate::nodes::Incarnation;
use crate::person::Person;
use crate::presence::Version;

/// Something that happened in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusEvent {
    /// A message was stored.
    Message(Entry),
    /// Users came or went.
    Presence {
        /// The number of this change.
        version: Version,
        /// Users in the room now.
        count: usize,
        /// Who joined.
        joined: Vec<UserName>,
        /// Who left.
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
    /// Users in the room, whose names were open, are other persons now, who have a connection by this node. Connections of
    /// the former ones that dropped, on whichever node, do not return.
    Replaced {
        /// Where the new ones are.
        node: Incarnation,
        /// Who.
        users: Vec<UserName>,
    },
    /// Somebody began or stopped typing.
    Typing {
        /// Who.
        user: UserName,
        /// True where they began.
        typing: bool,
    },
}

/// Where a node receives events. Its methods must not block.
pub trait BusListener: Send + Sync {
    /// An event of a subscribed room, in the order the store made it.
    fn on_event(&self, room: &RoomName, event: BusEvent);

    /// A message reached the inbox of a person who is connected to this node.
    fn on_inbox(&self, person: &Person, event: InboxEvent) {
        let _ = (person, event);
    }

    /// Events may have been missed, of one room or of all rooms and inboxes, and none is being missed any more.
    fn on_gap(&self, room: Option<&RoomName>);
}

/// Ignores all events: for a store of which no room is subscribed.
#[derive(Debug, Clone, Copy, Default)]
pub struct IgnoreEvents;

impl BusListener for IgnoreEvents {
    fn on_event(&self, _: &RoomName, _: BusEvent) {}

    fn on_gap(&self, _: Option<&RoomName>) {}
}

/// Publish and subscribe, by room.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Begins to receive a room's events. Once it returns, none is missed unless [`BusListener::on_gap`] says
    /// so.
    async fn subscribe(&self, room: &RoomName) -> Result<()>;

    /// Ceases to receive a room's events.
    async fn unsubscribe(&self, room: &RoomName) -> Result<()>;

    /// Begins to receive the private messages for the users of this node's incarnation, in place of those of a former
    /// one. Does nothing where it does already. Once it returns, none is missed unless [`BusListener::on_gap`] says so.
    async fn listen(&self, node: &Incarnation) -> Result<()>;

    /// Sends [`BusEvent::Typing`] to every subscribed node, this one included. It is not stored and may be
    /// lost.
    async fn publish_ephemeral(&self, room: &RoomName, user: &UserName, typing: bool) -> Result<()>;

    /// Rooms subscribed to.
    fn subscriptions(&self) -> usize;
}
