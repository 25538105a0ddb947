//! Prints the presence service's part of `docs/CONFIGURATION.md`, from the flags themselves. Run by `make generate`.

use std::io::Write as _;

use clap::CommandFactory as _;
use roomcast_ops::config::doc;
use roomcast_presence::Args;

fn main() -> std::io::Result<()> {
    let text = doc::markdown(&Args::command(), "roomcast-presence");
    std::io::stdout().write_all(text.as_bytes())
}
