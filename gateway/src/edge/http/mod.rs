//! Plain HTTP: the web UI and the pages of the classic chats (`pages.rs`, `assets.rs`), the images of messages
//! (`images.rs`), the JavaScript client (`client_bundle.rs`) and the history of threads of `ribbit` (`threads.rs`) on the public listener, and debug pages on the admin listener (`debug.rs`). Mounted by
//! `edge/mod.rs` and `app.rs`.

mod assets;
mod client_bundle;
pub(crate) mod debug;
mod images;
mod pages;
mod threads;

use axum::Router;

use crate::chat::Chat;
use crate::edge::socketio::Origins;
pub(crate) use pages::{asks_for_a_page, not_found};

/// Routes of the public listener besides Socket.IO. Their state is the chat, to which handlers pass commands.
/// `root` is the name of the classic chat whose page `/` is, if any; `origins` are those of pages that may read, and
/// `images` is the public URL of images, or empty.
pub(crate) fn routes(root: Option<&str>, origins: Origins, images: &str) -> Router<Chat> {
    let pages = assets::routes().merge(client_bundle::routes()).merge(pages::routes(root));
    assets::allow_images(pages, images).merge(images::routes()).merge(threads::routes(origins))
}
