//! The hub: who is connected to this node, which rooms each connection is a member of, and the fan-out of a
//! room's events to its members. Rooms call it; it calls each connection's transport through [`Outbound`], which
//! the edge implements. The caller never awaits a fan-out, and nothing outside this folder holds one of its
//! locks, so that the hub can become one data plane per core without a change in its callers.

mod batch;
mod connection;
mod event;
mod fanout;
mod membership;
mod registry;
mod test_drop;
mod trace;

pub(crate) use batch::{Batch, Frames, Packet};
pub(crate) use connection::{Connection, ConnectionId, Outbound, OutboundStatus, SendError};
pub(crate) use event::{Event, Message, UserList};
pub(crate) use fanout::{Fanout, Full};
pub(crate) use membership::Members;
pub(crate) use registry::Registry;

#[cfg(test)]
mod tests;
