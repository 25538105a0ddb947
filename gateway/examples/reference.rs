//! Prints the gateway's part of `docs/CONFIGURATION.md`, from the flags themselves. Run by `make generate`.

use std::io::Write as _;

use clap::CommandFactory as _;
use roomcast_gateway::Args;
use roomcast_ops::config::doc;

fn main() -> std::io::Result<()> {
    let text = doc::markdown(&Args::command(), "roomcast-gateway");
    std::io::stdout().write_all(text.as_bytes())
}
