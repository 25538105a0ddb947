//! Plain HTTP: the web UI (`assets.rs`) and the JavaScript client (`client_bundle.rs`) on the public listener, and debug
//! pages on the admin listener (`debug.rs`). Mounted by `edge/mod.rs` and `app.rs`.

mod assets;
mod client_bundle;
pub(crate) mod debug;

use axum::Router;

use crate::chat::Chat;

/// Routes of the public listener besides Socket.IO. Their state is the chat, to which handlers pass commands.
pub(crate) fn routes() -> Router<Chat> {
    assets::routes().merge(client_bundle::routes())
}
