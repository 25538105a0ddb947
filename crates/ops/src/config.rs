//! Settings: clap parses flags and environment with the parsers of `values` and `network`; `parse` reports every
//! mistake instead of the first one; the `config` module of each binary then checks the relations between its settings
//! with `Problems`.

pub mod doc;
mod network;
mod parse;
mod problems;
mod values;

pub use network::{Network, parse_network};
pub use parse::{ParseError, parse_from};
pub use problems::Problems;
pub use values::{
    InvalidValue, parse_bytes, parse_duration, parse_listen, parse_origin, parse_url, redact_url,
    url_with_scheme,
};

/// Exit code of a process that did not start because its settings are wrong: `EX_USAGE` of sysexits.h.
pub const EXIT_CONFIG: u8 = 64;
