//! A run's settings, and what they start: gateways and the processes of the swarm. Made by `mod.rs`, used by the
//! scenarios.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::catalog::Scenario;
use super::log::log;
use super::target::Target;
use super::workers::{MAX_CONNECTIONS, Workers};
use crate::bench::raise_file_limit;
use crate::dialect::Dialect;
use crate::swarm::{Part, Plan, RoomAt};

/// Files of a process besides its connections.
const OTHER_FILES: u64 = 200;

/// A run's settings: the scenario's, or those of the command line.
pub(super) struct Run {
    pub(super) scenario: Scenario,
    pub(super) connections: usize,
    pub(super) processes: Option<usize>,
    pub(super) rate: f64,
    pub(super) time: Duration,
    pub(super) text_bytes: usize,
    pub(super) gateways: Vec<usize>,
    pub(super) servers: Vec<String>,
    pub(super) binaries: PathBuf,
    pub(super) out: PathBuf,
}

impl Run {
    /// The servers: those given, or as many gateways as the settings say.
    pub(super) fn target(&self) -> Result<Target> {
        let gateways = self.gateways.first().copied().unwrap_or(1);
        if self.servers.is_empty() {
            self.start(gateways, self.connections)
        } else {
            Target::given(&self.servers)
        }
    }

    /// Starts gateways that can hold these connections.
    pub(super) fn start(&self, gateways: usize, connections: usize) -> Result<Target> {
        let most = connections.div_ceil(gateways).max(connections.min(MAX_CONNECTIONS));
        raise_file_limit(u64::try_from(most)? + OTHER_FILES)?;
        log(format_args!("  starting {gateways} gateways and Redis"));
        Target::start(gateways, &self.binaries, &self.out)
    }

    /// A swarm of this many connections, not connected yet.
    pub(super) fn workers(
        &self,
        target: &Target,
        connections: usize,
        scenario: &Scenario,
    ) -> Result<Workers> {
        let (rooms, members_each) = scenario.shape(connections);
        let least = connections.div_ceil(MAX_CONNECTIONS);
        let processes = self.processes.unwrap_or(least).max(least);
        let plan = Plan {
            dialect: Dialect::Roomcast,
            servers: target.addresses(),
            rooms,
            members_each,
            at: RoomAt::All,
            text_bytes: self.text_bytes,
            slow_reader: false,
            part: Part::default(),
        };
        Workers::start(&plan, processes)
    }
}
