//! Engine.IO: the sessions of clients and their transports. A session (`session.rs`) decodes what its client sends and
//! passes it to the sockets of its namespaces (`socket.rs`, which `../socket.rs` implements); what is sent to the client
//! goes through its outbox (`outbox.rs`). `long_packets.rs` and
//! `long_memory.rs` have the rules for packets that carry images; `websocket.rs` reads a WebSocket, `sessions.rs` keeps the sessions and their
//! timer. Used by `polling.rs`, `upgrade.rs` and `requests.rs`; built by `edge/mod.rs`.

mod attachments;
mod ended;
pub(super) mod frame;
mod long_memory;
mod long_packets;
mod outbox;
mod pause;
mod requests_under_way;
mod session;
mod sessions;
mod socket;
pub(super) mod websocket;

pub(crate) use ended::Ended;
pub(crate) use long_memory::{Held, LONG_TIMEOUT, LongPackets};
pub(super) use long_packets::{LongEvent, announces_long_attachments};
pub(crate) use outbox::Bounds;
pub(super) use outbox::Kind;
pub(crate) use session::{Heartbeat, Session, SessionConfig, Sockets};
pub(crate) use sessions::Sessions;
pub(crate) use socket::Socket;
