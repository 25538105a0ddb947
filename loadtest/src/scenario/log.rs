//! Lines for people, while a scenario runs. Called by the scenarios and by `workers.rs`.

use std::fmt::Display;
use std::io::Write as _;

/// Writes a line to standard error. A closed terminal does not stop the run.
pub(super) fn log(line: impl Display) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
