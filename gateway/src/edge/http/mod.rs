//! Plain HTTP: the web UI on the public listener (`assets.rs`), and what operators may look at on the admin
//! listener (`debug.rs`). Mounted by `edge/mod.rs` and `app.rs`.

mod assets;
pub(crate) mod debug;

use axum::Router;

use crate::chat::Chat;

/// What the public listener serves beside Socket.IO; handlers give the chat their commands.
pub(crate) fn routes() -> Router<Chat> {
    assets::routes()
}
