//! What a scenario runs against: gateways that it starts with their Redis and ends, or servers that run already; and
//! what the started ones use. Called by the scenarios.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::bench::{Charged, Cluster, Entry, Places};
use crate::proc::{self, Usage};

/// The servers.
pub(super) enum Target {
    /// Started for this run.
    Own(Box<Cluster>),
    /// Those that run already.
    Given(Vec<SocketAddr>),
}

/// What was used up to one moment. A figure is the difference of two.
pub(super) struct Mark {
    at: Instant,
    charged: Charged,
    swarm: Usage,
    machine: f64,
}

/// What was used between two marks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    /// How long it was.
    pub(super) seconds: f64,
    /// Seconds of processor time of all gateways.
    pub(super) gateways: f64,
    /// The same of Redis.
    pub(super) redis: f64,
    /// The same of the swarm.
    pub(super) swarm: f64,
    /// The same of all programs of the machine.
    pub(super) machine: f64,
}

impl Target {
    /// Servers that run already, each as `host:port` or `http://host:port`.
    pub(super) fn given(servers: &[String]) -> Result<Self> {
        let mut addresses = Vec::new();
        for server in servers {
            let host = server.strip_prefix("http://").unwrap_or(server).trim_end_matches('/');
            if host.contains('/') {
                bail!("{server}: the swarm needs host:port or http://host:port; it speaks no TLS");
            }
            let address = host.to_socket_addrs().with_context(|| format!("{server}: not an address"))?.next();
            addresses.push(address.with_context(|| format!("{server}: no address"))?);
        }
        Ok(Self::Given(addresses))
    }

    /// Starts gateways and a Redis of their own.
    pub(super) fn start(gateways: usize, binaries: &Path, logs: &Path) -> Result<Self> {
        if !binaries.join("roomcast-gateway").exists() {
            bail!("{} has no roomcast-gateway: build it, or use `make swarm`", binaries.display());
        }
        fs::create_dir_all(logs)?;
        let places = Places {
            binaries: fs::canonicalize(binaries)?,
            peers: PathBuf::new(),
            results: fs::canonicalize(logs)?,
            docs: PathBuf::new(),
        };
        Ok(Self::Own(Box::new(Cluster::start(Entry::Roomcast(gateways), &places)?)))
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Own(cluster) => cluster.addresses.clone(),
            Self::Given(addresses) => addresses.clone(),
        }
    }

    /// What is used so far; none of servers that run elsewhere.
    pub(super) fn mark(&self, swarm: &[u32]) -> Result<Option<Mark>> {
        let Self::Own(cluster) = self else { return Ok(None) };
        Ok(Some(Mark {
            at: Instant::now(),
            charged: cluster.charged()?,
            swarm: Usage::of(swarm)?,
            machine: proc::machine_seconds()?,
        }))
    }

    /// What was used since a mark.
    pub(super) fn since(&self, earlier: Option<&Mark>, swarm: &[u32]) -> Result<Option<Spent>> {
        let (Some(earlier), Some(now)) = (earlier, self.mark(swarm)?) else { return Ok(None) };
        Ok(Some(Spent {
            seconds: (now.at - earlier.at).as_secs_f64(),
            gateways: now.charged.servers.since(&earlier.charged.servers),
            redis: now.charged.redis.since(&earlier.charged.redis),
            swarm: now.swarm.since(&earlier.swarm),
            machine: now.machine - earlier.machine,
        }))
    }

    /// KiB that all gateways hold in memory together, and Redis; none of servers that run elsewhere.
    pub(super) fn memory_kib(&self) -> Result<Option<(u64, u64)>> {
        let Self::Own(cluster) = self else { return Ok(None) };
        Ok(Some((cluster.resident_kib()?, cluster.redis_resident_kib()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_without_tls() {
        let addresses = |server: &str| Target::given(&[server.to_owned()]).map(|target| target.addresses());
        let expected = vec![SocketAddr::from(([127, 0, 0, 1], 8080))];
        assert_eq!(addresses("127.0.0.1:8080").unwrap(), expected);
        assert_eq!(addresses("http://127.0.0.1:8080/").unwrap(), expected);
        for wrong in ["https://127.0.0.1", "127.0.0.1", "http://127.0.0.1:8080/chat", ""] {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
    }
}
