//! The servers of one entry, from nothing to ready: Redis on a port of its own with nothing kept on disk,
//! then as many processes as the entry says. Everything ends with the value. Called by `measure`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::redis::Redis;
use super::server::{Server, free_address};
use super::workload::Entry;
use crate::proc::{self, Usage};

/// Where things are.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The release binaries: those beside this one.
    pub(super) binaries: PathBuf,
    /// `loadtest/peers`.
    pub(super) peers: PathBuf,
    /// `loadtest/results`.
    pub(super) results: PathBuf,
    /// `docs`.
    pub(super) docs: PathBuf,
}

/// Running servers.
pub(super) struct Cluster {
    servers: Vec<Server>,
    redis: Option<(Server, SocketAddr)>,
    /// Where members connect.
    pub(super) addresses: Vec<SocketAddr>,
}

/// What the processes used up to one moment.
#[derive(Debug)]
pub(super) struct Charged {
    /// The servers.
    pub(super) servers: Usage,
    /// redis-server.
    pub(super) redis: Usage,
}

fn args<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.map(str::to_owned).to_vec()
}

impl Cluster {
    /// Starts the servers and waits until they are ready.
    pub(super) fn start(entry: Entry, places: &Places) -> Result<Self> {
        let redis = match entry {
            Entry::Floor | Entry::Alone => None,
            Entry::Roomcast(_) | Entry::Peer(..) => Some(start_redis(&places.results.join("logs"))?),
        };
        let mut cluster = Self { servers: Vec::new(), redis, addresses: Vec::new() };
        let count = match entry {
            Entry::Floor | Entry::Alone => 1,
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
            Entry::Alone | Entry::Roomcast(_) => {
                let program = places.binaries.join("roomcast-gateway");
                let admin = free_address()?;
                let mut words =
                    args(["--listen", &address.to_string(), "--admin", &admin.to_string(), "--log", "warn"]);
                words.extend(url.iter().flat_map(|url| args(["--redis", url])));
                let mut server = Server::start(&name, &program, &words, &logs)?;
                server.until(|_| is_ready(admin))?;
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
    pub(super) fn charged(&self) -> Result<Charged> {
        let redis: Vec<u32> = self.redis.iter().map(|(redis, _)| redis.pid()).collect();
        Ok(Charged { servers: Usage::of(&self.server_pids())?, redis: Usage::of(&redis)? })
    }

    /// What the servers hold in memory.
    pub(super) fn resident_kib(&self) -> Result<u64> {
        proc::resident_kib(&self.server_pids())
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

fn is_ready(admin: SocketAddr) -> bool {
    let ask = || -> Result<bool> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
