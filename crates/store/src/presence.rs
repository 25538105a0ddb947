//! Who is in which room: a set of facts (user, incarnation), never a counter, so that every write may
//! run twice. State and news are one step. Called by the gateway's rooms (their own facts), by the
//! sweeper (facts of the dead) and by the directory (reading).

pub(crate) mod memory;
pub(crate) mod redis;

use async_trait::async_trait;
use roomcast_protocol::{RoomName, UserName};

use crate::error::Result;
use crate::nodes::Incarnation;

/// Most names that one news carries, so that its envelope is bounded: greater changes come in pieces, each
/// with a number of its own.
pub(crate) const MAX_NAMES_PER_EVENT: usize = 500;
/// Facts removed in one step of a sweep: a step holds the store for some milliseconds at most.
pub(crate) const SWEEP_STEP: usize = 500;

/// Numbers the news of one room's presence. A reader that misses a number reads the state instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    /// The life of the numbering; empty where nobody was ever there.
    pub generation: String,
    /// Counts changes.
    pub number: u64,
}

impl Version {
    /// Whether this is the very next one.
    pub fn follows(&self, last: &Self) -> bool {
        self.generation == last.generation && self.number == last.number + 1
    }
}

/// What a node's own users did in a room since its last write, or all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// True where `here` is all of this node's users in the room: others of this node are removed.
    pub whole: bool,
    /// True where this change follows others of this incarnation: a store that knows none of them has lost
    /// its data, and refuses it, so that no fact stands in a room that the incarnation did not index.
    pub continues: bool,
    /// Users that are here.
    pub here: Vec<UserName>,
    /// Users that are gone from this node.
    pub gone: Vec<UserName>,
    /// Users with a new connection here since the last write. Where other incarnations have facts of them,
    /// too, subscribed nodes are told, for it may be the return of a connection that dropped there.
    pub arrived: Vec<UserName>,
    /// Earlier incarnations of this node: their facts are removed behind `here`, so that nobody who is still
    /// here is seen to leave.
    pub former: Vec<Incarnation>,
}

/// Who is in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomState {
    /// As of which news.
    pub version: Version,
    /// How many users.
    pub count: usize,
    /// Which, in no order; absent where there are more than was asked for.
    pub users: Option<Vec<UserName>>,
}

/// Some of the users of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsersPage {
    /// Users in all.
    pub count: usize,
    /// These.
    pub users: Vec<UserName>,
    /// Where the next page begins; absent after the last.
    pub cursor: Option<String>,
}

impl UsersPage {
    /// The page after a name of all users there are.
    pub(crate) fn of(mut users: Vec<UserName>, after: Option<&str>, limit: usize) -> Self {
        users.sort();
        let count = users.len();
        let begin = after.map_or(0, |after| users.partition_point(|user| user.as_str() <= after));
        let mut users = users.split_off(begin);
        let more = users.len() > limit;
        users.truncate(limit);
        let cursor = users.last().filter(|_| more).map(|last| format!("n{last}"));
        Self { count, users, cursor }
    }
}

/// Some of the rooms there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomsPage {
    /// Each with the users in it.
    pub rooms: Vec<(RoomName, usize)>,
    /// Where the next page begins; absent after the last.
    pub cursor: Option<String>,
}

/// Who is online where.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Writes a node's own facts of one room and tells subscribed nodes what changed for the room as a
    /// whole: a user's first fact is a join, the last one gone is a leave. `sequence` grows with every
    /// write of this incarnation to this room; an older or equal one does nothing and answers `false`, and so
    /// does one that continues what the store does not know.
    async fn write(
        &self,
        room: &RoomName,
        node: &Incarnation,
        sequence: u64,
        change: &Change,
    ) -> Result<bool>;

    /// Says that this node will have facts in a room, before the first: the sweeper looks there, and
    /// the room is listed.
    async fn index(&self, room: &RoomName, node: &Incarnation) -> Result<()>;

    /// The node has no facts in a room any more and left it: drops its sequence number and its index entry,
    /// unless it has written with a greater `sequence` since.
    async fn close(&self, room: &RoomName, node: &Incarnation, sequence: u64) -> Result<()>;

    /// Removes the facts of a dead incarnation from the rooms it indexed, with real leaves; answers how many
    /// rooms and facts. May run twice, and in two places at once.
    async fn sweep(&self, node: &Incarnation) -> Result<(usize, usize)>;

    /// Drops the index of a dead incarnation's rooms, after its last sweep.
    async fn forget(&self, node: &Incarnation) -> Result<()>;

    /// The state of a room, with names where there are at most `max_users`.
    async fn read(&self, room: &RoomName, max_users: usize) -> Result<RoomState>;

    /// A page of a room's users.
    async fn users(&self, room: &RoomName, cursor: Option<&str>, limit: usize) -> Result<UsersPage>;

    /// A page of the rooms that somebody used and that are not forgotten.
    async fn rooms(&self, cursor: Option<&str>, limit: usize) -> Result<RoomsPage>;

    /// Among the rooms indexed by these incarnations, those the user is in.
    async fn rooms_of(&self, user: &UserName, nodes: &[Incarnation]) -> Result<Vec<RoomName>>;
}
