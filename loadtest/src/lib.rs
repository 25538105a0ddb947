//! Measures the cost of Roomcast against a raw write and against its peers: the load generator (`swarm`), the floor
//! that figures are divided by (`floor`), processor time and memory (`proc`), and the benchmark that uses them
//! (`bench`), and load by scenario name (`scenario`). The binaries in `bin/` only call these.

pub mod bench;
pub mod dialect;
pub mod floor;
pub mod poll;
pub mod proc;
pub mod scenario;
pub mod stamp;
pub mod stats;
pub mod swarm;
pub mod tally;
pub mod ws;
