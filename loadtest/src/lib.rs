//! Proof: what Roomcast costs, measured against the raw write and against its peers. The load generator
//! (`swarm`), the floor that everything is divided by (`floor`), the operating system's accounts (`proc`)
//! and the benchmark that ties them together (`bench`). The binaries in `bin/` do little more than call these.

pub mod bench;
pub mod dialect;
pub mod floor;
pub mod poll;
pub mod proc;
pub mod stamp;
pub mod stats;
pub mod swarm;
pub mod tally;
pub mod ws;
