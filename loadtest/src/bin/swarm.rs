//! Load by scenario name: see `scenario` in the library. Run it with `make swarm`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use roomcast_loadtest::scenario::{Args, run};

/// As of k6: a threshold is not met.
const THRESHOLDS: u8 = 99;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(THRESHOLDS),
        Err(error) => {
            drop(writeln!(std::io::stderr(), "roomcast-swarm: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
