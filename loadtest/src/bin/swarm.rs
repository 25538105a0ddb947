//! The load generator alone, against servers that run already: connects members, sends for a while,
//! prints the counts as JSON, and fails where anything was lost or came twice.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use roomcast_loadtest::dialect::Dialect;
use roomcast_loadtest::swarm::{Plan, RoomAt, Swarm};

/// Drives chat servers and counts every delivery.
#[derive(Parser)]
struct Args {
    /// What the servers speak.
    #[arg(long, value_enum, default_value = "roomcast")]
    dialect: Dialect,
    /// Where they are; members take turns.
    #[arg(long = "server", required = true)]
    servers: Vec<SocketAddr>,
    /// Rooms.
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Members of each room.
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// Messages a second, all rooms together.
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    rate: f64,
    /// Bytes of each text.
    #[arg(long, default_value_t = 256)]
    text: usize,
    /// How long to send.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// A room's members are on two servers only.
    #[arg(long)]
    pair: bool,
}

fn rate(given: &str) -> Result<f64, String> {
    let rate = given.parse().ok().filter(|rate| (0.001..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| "must be a number from 0.001 to 1000000".to_owned())
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut swarm = Swarm::new(Plan {
        dialect: args.dialect,
        servers: args.servers,
        rooms: args.rooms,
        members_each: args.members,
        at: if args.pair { RoomAt::Pair } else { RoomAt::All },
        text_bytes: args.text,
        slow_reader: false,
    })?;
    swarm.connect(usize::MAX)?;
    swarm.idle(Duration::from_secs(1))?;
    let window = swarm.send(args.rate, args.duration)?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&window)?)?;
    match window.fault() {
        None => Ok(()),
        Some(fault) => anyhow::bail!(fault),
    }
}
