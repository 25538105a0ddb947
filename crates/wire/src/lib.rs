//! The bytes of a Socket.IO connection, as pure functions and incremental decoders without I/O: WebSocket frames
//! ([`websocket`]), Engine.IO packets and long-polling payloads ([`engine`]), and Socket.IO packets ([`socket`]).
//! Called by the gateway's `edge/socketio`. It decodes what clients send and encodes what a server sends; JSON is
//! passed through and is the caller's concern.

pub mod engine;
pub mod socket;
pub mod websocket;
