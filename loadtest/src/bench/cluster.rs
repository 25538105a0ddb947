//! Starts the servers of one entry: Redis on its own port without persistence, then as many processes as the entry has.
//! They are ended when the value is dropped. Called by `measure`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::redis::Redis;
use super::server::{Server, free_address};
use super::workload::Entry;
use crate::proc::{self, Usage};

/// The folders that a benchmark uses.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The release binaries: those beside this one.
    pub(crate) binaries: PathBuf,
    /// `loadtest/peers`.
    pub(crate) peers: PathBuf,
    /// `loadtest/results`.
    pub(crate) results: PathBuf,
    /// `docs`.
    pub(crate) docs: PathBuf,
}

/// Running servers.
pub(crate) struct Cluster {
    servers: Vec<Server>,
    redis: Option<(Server, SocketAddr)>,
    /// Where members connect.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The admin addresses of gateways.
    admins: Vec<SocketAddr>,
}

/// What the processes have used so far.
#[derive(Debug)]
pub(crate) struct Charged {
    /// The servers.
    pub(crate) servers: Usage,
    /// redis-server.
    pub(crate) redis: Usage,
}

fn args<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.map(str::to_owned).to_vec()
}

impl Cluster {
    /// Starts the servers and waits until they are ready.
    pub(crate) fn start(entry: Entry, places: &Places) -> Result<Self> {
        let redis = match entry {
            Entry::Floor | Entry::Alone | Entry::Mixed | Entry::Slow => None,
            Entry::Roomcast(_) | Entry::Peer(..) => Some(start_redis(&places.results.join("logs"))?),
        };
        let mut cluster = Self { servers: Vec::new(), redis, addresses: Vec::new(), admins: Vec::new() };
        let count = match entry {
            Entry::Floor | Entry::Alone | Entry::Mixed | Entry::Slow => 1,
            Entry::Roomcast(count) | Entry::Peer(_, count) => count,
        };
        for number in 0..count {
            cluster.add(entry, number, places)?;
        }
        Ok(cluster)
    }

    fn add(&mut self, entry: Entry, number: usize, places: &Places) -> Result<()> {
        let (address, logs) = (free_address()?, places.results.join("logs"));
        let name = format!("{}-{number}", entry.id());
        let url = self.redis.as_ref().map(|(_, redis)| format!("redis://{redis}"));
        let server = match entry {
            Entry::Floor => {
                let program = places.binaries.join("roomcast-floor");
                let mut server =
                    Server::start(&name, &program, &args(["--listen", &address.to_string()]), &logs)?;
                server.until_listening()?;
                server
            }
            Entry::Alone | Entry::Mixed | Entry::Slow | Entry::Roomcast(_) => {
                let program = places.binaries.join("roomcast-gateway");
                let admin = free_address()?;
                let mut words =
                    args(["--listen", &address.to_string(), "--admin", &admin.to_string(), "--log", "warn"]);
                words.extend(url.iter().flat_map(|url| args(["--redis", url])));
                let mut server = Server::start(&name, &program, &words, &logs)?;
                server.until(|_| ask(admin, "/readyz").is_ok())?;
                self.admins.push(admin);
                server
            }
            Entry::Peer(peer, _) => {
                let program = places.peers.join(peer).join("run");
                let url = url.context("a peer without Redis")?;
                let words = args(["--port", &address.port().to_string(), "--redis", &url]);
                let mut server = Server::start(&name, &program, &words, &logs)?;
                server.until_listening()?;
                server
            }
        };
        self.servers.push(server);
        self.addresses.push(address);
        Ok(())
    }

    fn server_pids(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }

    /// How many server processes were started.
    pub(super) fn processes(&self) -> usize {
        self.servers.len()
    }

    /// What the processes used so far.
    pub(crate) fn charged(&self) -> Result<Charged> {
        let redis: Vec<u32> = self.redis.iter().map(|(redis, _)| redis.pid()).collect();
        Ok(Charged { servers: Usage::of(&self.server_pids())?, redis: Usage::of(&redis)? })
    }

    /// What the servers hold in memory.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        proc::resident_kib(&self.server_pids())
    }

    /// What Redis holds in memory.
    pub(crate) fn redis_resident_kib(&self) -> Result<u64> {
        self.redis.as_ref().map_or(Ok(0), |(redis, _)| proc::resident_kib(&[redis.pid()]))
    }

    /// The connections that gateways closed, by reason.
    pub(super) fn cuts(&self) -> Result<BTreeMap<String, u64>> {
        let mut cuts = BTreeMap::new();
        for admin in &self.admins {
            for (reason, count) in parse_cuts(&ask(*admin, "/metrics")?) {
                *cuts.entry(reason).or_default() += count;
            }
        }
        Ok(cuts)
    }

    /// A connection of the benchmark's own to Redis.
    pub(super) fn redis(&self) -> Result<Option<Redis>> {
        self.redis.as_ref().map(|(_, address)| Redis::open(*address)).transpose()
    }
}

fn start_redis(logs: &Path) -> Result<(Server, SocketAddr)> {
    let address = free_address()?;
    let port = address.port().to_string();
    let words = args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let mut server = Server::start("redis", Path::new("redis-server"), &words, logs)?;
    server.until(|_| Redis::open(address).and_then(|mut redis| redis.ping()).is_ok())?;
    Ok((server, address))
}

/// A gateway's answer on its admin listener; an error unless it is 200.
fn ask(admin: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200") {
        bail!("{path} is answered with {:?}", answer.lines().next().unwrap_or_default());
    }
    Ok(answer)
}

fn parse_cuts(metrics: &str) -> impl Iterator<Item = (String, u64)> {
    metrics.lines().filter_map(|line| {
        let (reason, count) = line.strip_prefix("roomcast_cuts_total{reason=\"")?.split_once("\"} ")?;
        Some((reason.to_owned(), count.trim().parse().ok()?)).filter(|(_, count)| *count > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_found_among_the_metrics() {
        let metrics = "# TYPE roomcast_cuts_total counter\nroomcast_cuts_total{reason=\"drain\"} 0\n\
                       roomcast_cuts_total{reason=\"stalled\"} 1\nroomcast_disconnects_total{reason=\"stalled\"} 1\n";
        assert_eq!(parse_cuts(metrics).collect::<Vec<_>>(), [("stalled".to_owned(), 1)]);
    }
}
