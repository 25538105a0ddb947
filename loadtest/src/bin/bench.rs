//! The benchmark: see `bench` in the library. Run it with `make bench`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use roomcast_loadtest::bench::{Args, run};

fn main() -> ExitCode {
    let Err(error) = run(&Args::parse()) else { return ExitCode::SUCCESS };
    drop(writeln!(std::io::stderr(), "roomcast-bench: {error:#}"));
    ExitCode::FAILURE
}
