//! The handles that callers get. Put together by `memory.rs` and `redis.rs`.

use std::sync::Arc;

use crate::bus::Bus;
use crate::health::Health;
use crate::images::Images;
use crate::inbox::Inbox;
use crate::log::RoomLog;
use crate::names::Names;
use crate::nodes::Nodes;
use crate::presence::Presence;

/// Everything the cluster remembers, as cheap handles.
#[derive(Clone)]
pub struct Store {
    /// Rooms' messages.
    pub log: Arc<dyn RoomLog>,
    /// Users' private messages.
    pub inbox: Arc<dyn Inbox>,
    /// The images of messages.
    pub images: Arc<dyn Images>,
    /// Who is in which room.
    pub presence: Arc<dyn Presence>,
    /// Who owns which name.
    pub names: Arc<dyn Names>,
    /// Which nodes live.
    pub nodes: Arc<dyn Nodes>,
    /// Events between nodes.
    pub bus: Arc<dyn Bus>,
    /// Whether all of it can be reached.
    pub health: Health,
}
