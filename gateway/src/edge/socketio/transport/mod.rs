//! Transports under socketioxide: the stream that carries every byte of a WebSocket (`stream.rs`), what is known of
//! sessions that poll (`sessions.rs`), and a handle to act on either (`handle.rs`): to resume it after a connect packet
//! was answered, and to close it. Called by the other files of `edge/socketio`.

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
