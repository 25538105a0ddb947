//! Transports under socketioxide: the stream that carries every byte of a WebSocket (`stream.rs`), the table of
//! long-polling sessions (`sessions.rs`), and a handle that controls either (`handle.rs`): resumes it after a connect
//! packet was answered, and closes it. Called by the other files of `edge/socketio`.

mod control;
pub(super) mod frame;
mod gate;
mod handle;
mod outbox;
mod sessions;
mod stream;

pub(super) use control::Control;
pub(super) use gate::is_connect;
pub(super) use handle::TransportHandle;
pub(crate) use outbox::Bounds;
pub(super) use outbox::Outbox;
pub(crate) use sessions::Sessions;
pub(super) use stream::Conn;
