//! Writes `docs/openapi-presence.json` from the directory's handlers. Called by `make generate`; a test
//! compares the file with what a running directory serves.

use std::path::Path;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi-presence.json"));
    std::fs::write(file, roomcast_presence::directory::document()?)
        .with_context(|| format!("cannot write {}", file.display()))
}
