//! Plain HTTP: the web UI on the public listener (`assets.rs`), and what operators may look at on the admin
//! listener (`debug.rs`). Mounted by `edge/mod.rs` and `app.rs`.

pub(crate) mod assets;
pub(crate) mod debug;
