//! The plan of a swarm: rooms, members, and the server that each member connects to.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;

/// Which servers a room's members are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomAt {
    /// All of them, in turn.
    All,
    /// Two adjacent servers, in turn: of eight servers, six have no member of the room.
    Pair,
}

/// The plan of a swarm.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The dialect of the servers.
    pub dialect: Dialect,
    /// Their addresses.
    pub servers: Vec<SocketAddr>,
    /// Rooms.
    pub rooms: usize,
    /// Members of each.
    pub members_each: usize,
    /// Which servers they connect to.
    pub at: RoomAt,
    /// Length of each text.
    pub text_bytes: usize,
    /// The last member will stop reading; see `Swarm::stop_reading`.
    pub slow_reader: bool,
    /// Which part of a swarm this process is.
    pub part: Part,
}

/// A part of a swarm: some of its rooms, or some of the members of all its rooms. By default it is the whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Part {
    /// The number of its first room.
    pub first_room: usize,
    /// The place of its first members in their rooms.
    pub first_index: usize,
    /// The number in the name of its first member.
    pub first_id: usize,
    /// How many members of each room send, in turn [default: all]. Where none does, another process sends.
    pub senders: Option<usize>,
    /// The address that members connect from.
    pub source: Option<IpAddr>,
    /// When the whole swarm began: all its processes have one clock.
    pub began: Option<SystemTime>,
}

impl Plan {
    /// Members in all.
    pub fn members(&self) -> usize {
        self.rooms * self.members_each
    }

    /// The server of a room's member.
    pub fn address(&self, room: usize, index: usize) -> Result<SocketAddr> {
        let count = self.servers.len().max(1);
        let server = match self.at {
            RoomAt::All => (room + index) % count,
            RoomAt::Pair => (room * 2 + index % 2) % count,
        };
        self.servers.get(server).copied().context("a swarm without servers")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rooms_are_where_the_plan_says() {
        let servers: Vec<SocketAddr> = (1..=8).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let plan = |at| Plan {
            dialect: Dialect::Floor,
            servers: servers.clone(),
            rooms: 10,
            members_each: 100,
            at,
            text_bytes: 256,
            slow_reader: false,
            part: Part::default(),
        };
        let of =
            |plan: &Plan, room| -> BTreeSet<_> { (0..100).map(|i| plan.address(room, i).unwrap()).collect() };
        let (all, pair) = (plan(RoomAt::All), plan(RoomAt::Pair));
        assert_eq!(of(&all, 3).len(), 8);
        let used: BTreeSet<_> = (0..10).flat_map(|room| of(&pair, room)).collect();
        assert!((0..10).all(|room| of(&pair, room).len() == 2));
        assert_eq!(used.len(), 8);
    }
}
