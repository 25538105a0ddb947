//! The raw write floor as a server: see `floor` in the library. Started by `bench`.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;

use clap::Parser;

/// Writes each message to each member of its room, and does nothing else.
#[derive(Parser)]
struct Args {
    /// Where members connect; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind(Args::parse().listen)?;
    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    roomcast_loadtest::floor::serve(&listener, &AtomicBool::new(false))
}
