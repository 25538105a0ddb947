//! Settings: flags and environment parsed by clap, every mistake reported at once. The `config` module of each
//! binary calls `parse` and then checks the relations between its settings with `Problems`.

pub mod doc;
mod parse;
mod problems;
mod values;

pub use parse::parse;
pub(crate) use parse::{Refused, parse_from};
pub use problems::Problems;
pub use values::{BadValue, parse_duration, parse_listen, parse_origin, parse_url, redact_url};
