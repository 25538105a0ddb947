//! Who is in which room: a set of facts (user, incarnation) and not a counter, so that every write may be executed
//! twice. A write changes the state and publishes the change in one step. Called by the gateway's rooms (to write
//! their own facts), by the sweeper (to remove those of dead nodes) and by the directory (to read).

pub(crate) mod memory;
pub(crate) mod redis;

use async_trait::async_trait;
use roomcast_protocol::{RoomName, UserName};

use crate::error::Result;
use crate::nodes::Incarnation;
use crate::script::{self, Script};

/// Most names in one event, to limit its size: a larger change is published in chunks, each an event with its own
/// number.
pub(crate) const MAX_NAMES_PER_EVENT: usize = 500;
/// Facts removed in one step of a sweep: a step blocks the store for some milliseconds at most.
pub(crate) const SWEEP_STEP: usize = 500;

/// The number of a presence event of a room. A node that misses a number reads the state instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    /// Identifies the numbering, which begins again where it was lost; empty where no user was ever in the room.
    pub generation: String,
    /// Counts the room's presence events.
    pub number: u64,
}

impl Version {
    /// Whether this is the next number after `last`.
    pub fn follows(&self, last: &Self) -> bool {
        self.generation == last.generation && self.number == last.number + 1
    }
}

/// Changes of a node's own users in a room since its last write, or all its users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// True where `here` is all of this node's users in the room: others of this node are removed.
    pub whole: bool,
    /// True where this change follows others of this incarnation. A store that has none of them has lost its data and
    /// refuses the change, so that there is no fact in a room that the incarnation did not index.
    pub continues: bool,
    /// Users that are here.
    pub here: Vec<UserName>,
    /// Users that are gone from this node.
    pub gone: Vec<UserName>,
    /// Users with a new connection here since the last write. Where other incarnations have facts of them, too, an
    /// event is published, because it may be the return of a connection that dropped there.
    pub arrived: Vec<UserName>,
    /// Those of `here` and `arrived` with an open name, and the dialect in which each was taken. A user who arrives under a
    /// name that the room has as one of another kind is another person: an event is published.
    pub open: Vec<(UserName, String)>,
    /// Earlier incarnations of this node: their facts are removed after `here` is added, so that no leave is
    /// published for users who are still here.
    pub former: Vec<Incarnation>,
}

impl Change {
    /// The script that writes it. Without arrivals it is executed also by a server that is out of memory, so that users
    /// can leave.
    pub(crate) fn script(&self) -> &'static Script {
        let leaves = self.here.is_empty() && self.arrived.is_empty();
        if leaves { &script::PRESENCE_LEAVE } else { &script::PRESENCE_WRITE }
    }
}

/// Who is in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomState {
    /// The number of the last event that it includes.
    pub version: Version,
    /// How many users.
    pub count: usize,
    /// Who they are, unsorted; absent where there are more than requested.
    pub users: Option<Vec<UserName>>,
}

/// Some of the users of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsersPage {
    /// Users in all.
    pub count: usize,
    /// The users of this page.
    pub users: Vec<UserName>,
    /// Where the next page begins; absent after the last.
    pub cursor: Option<String>,
}

impl UsersPage {
    /// The page after a name, from all users of a room.
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

/// Some of the rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomsPage {
    /// The rooms, each with the number of its users.
    pub rooms: Vec<(RoomName, usize)>,
    /// Where the next page begins; absent after the last.
    pub cursor: Option<String>,
}

/// The presence of users in rooms.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Writes a node's own facts of one room and publishes the changes of the whole room: a user's first fact is a
    /// join, the removal of the last one is a leave. `sequence` grows with every write of this incarnation to this
    /// room; a write with an older or equal one does nothing and returns `false`, and so does one that continues
    /// writes that the store does not have.
    async fn write(
        &self,
        room: &RoomName,
        node: &Incarnation,
        sequence: u64,
        change: &Change,
    ) -> Result<bool>;

    /// Must be called before a node opens a room's log, and before it writes its first fact there: the sweeper finds
    /// the room by it, the room is listed, and it is not forgotten until [`Presence::close`].
    async fn index(&self, room: &RoomName, node: &Incarnation) -> Result<()>;

    /// The node has no facts in a room any more and has closed it: removes its sequence number and its index entry,
    /// unless it has written with a greater `sequence` since. A room without a user, which no other node has open and
    /// whose log never had a message, is forgotten: of it nothing is kept.
    async fn close(&self, room: &RoomName, node: &Incarnation, sequence: u64) -> Result<()>;

    /// Removes the facts of a dead incarnation from the rooms it indexed and publishes the leaves; returns how many
    /// rooms and facts. Rooms that nobody else uses are forgotten as in [`Presence::close`]. May run twice, and on two nodes at once.
    async fn sweep(&self, node: &Incarnation) -> Result<(usize, usize)>;

    /// Removes the index of a dead incarnation's rooms, after its last sweep.
    async fn forget(&self, node: &Incarnation) -> Result<()>;

    /// The state of a room, with names where there are at most `max_users`.
    async fn read(&self, room: &RoomName, max_users: usize) -> Result<RoomState>;

    /// Whether a user is in a room, on whichever node.
    async fn is_present(&self, room: &RoomName, user: &UserName) -> Result<bool>;

    /// A page of a room's users.
    async fn users(&self, room: &RoomName, cursor: Option<&str>, limit: usize) -> Result<UsersPage>;

    /// A page of the rooms that were used and are not forgotten.
    async fn rooms(&self, cursor: Option<&str>, limit: usize) -> Result<RoomsPage>;

    /// Among the rooms indexed by these incarnations, those the user is in.
    async fn rooms_of(&self, user: &UserName, nodes: &[Incarnation]) -> Result<Vec<RoomName>>;
}
