//! Shared by the tests: a redis-server, a presence service in this process, a raw HTTP client, and waiting for
//! conditions with a deadline.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roomcast_ops::{Lifecycle, LogFormat, Outcome, telemetry};
use roomcast_presence::{App, Config};
use roomcast_protocol::{RoomName, UserName};
use roomcast_store::{
    BusEvent, BusListener, Change, Incarnation, NodeInfo, Secret, Settings, Store, Unobserved,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long any condition may take before a test fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
/// The lease of nodes that are to die in a test.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
/// The lease of all other nodes.
pub(crate) const LONG: Duration = Duration::from_secs(600);

pub(crate) fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

pub(crate) fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

/// Repeats `ask` until it returns a value; fails after [`TIMEOUT`].
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < TIMEOUT, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An address on which nothing listens.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A redis-server for one test, without persistence, killed when this value is dropped.
pub(crate) struct Redis {
    pub(crate) port: u16,
    dir: PathBuf,
    child: Option<Child>,
}

impl Redis {
    /// Starts it on a free port. It may not answer yet.
    pub(crate) fn start() -> Self {
        let mut redis = Self::absent();
        redis.begin();
        redis
    }

    /// Not started yet.
    pub(crate) fn absent() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("roomcast-presence-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self { port: free_port(), dir, child: None }
    }

    pub(crate) fn begin(&mut self) {
        let port = self.port.to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(&self.dir)
            .args(["--logfile", "redis.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child =
            Some(child.expect("these tests need redis-server (Debian: apt-get install redis-server)"));
    }

    pub(crate) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// A presence service in this process.
pub(crate) struct Service {
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    life: Lifecycle,
    running: JoinHandle<Outcome>,
}

impl Service {
    pub(crate) async fn start(redis: &Redis) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let config = Config {
            listen: any,
            admin: any,
            redis: redis.url(),
            prefix: "test1".into(),
            lease: SHORT,
            sweep_every: Duration::from_millis(50),
        };
        let (life, log) = (Lifecycle::new(), telemetry::init(LogFormat::Text, "off").unwrap());
        let app = App::build(&config, life.clone(), log).await.unwrap();
        let (addr, admin) = (app.local_addr(), app.admin_addr());
        // A separate lifecycle, because the service's own one waits for all its tasks.
        let running = Lifecycle::new().spawn("service", app.run());
        Self { addr, admin, life, running }
    }

    pub(crate) async fn ready(redis: &Redis) -> Self {
        let service = Self::start(redis).await;
        service.until_ready().await;
        service
    }

    pub(crate) async fn until_ready(&self) {
        until("the service is ready", async || {
            (get(self.admin, "/readyz").await.status == 200).then_some(())
        })
        .await;
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        get(self.addr, path).await
    }

    /// The answer to a request that must succeed.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        response.json()
    }

    pub(crate) async fn stop(self) -> Outcome {
        self.life.stop();
        tokio::time::timeout(TIMEOUT, self.running).await.expect("stopped in time").unwrap()
    }
}

/// A store as a gateway uses it, and the events that it receives.
pub(crate) struct Cluster {
    pub(crate) store: Store,
    pub(crate) received: Arc<Received>,
    _life: Lifecycle,
}

/// Bus events in the order in which they were received.
#[derive(Default)]
pub(crate) struct Received(pub(crate) Mutex<Vec<(RoomName, BusEvent)>>);

impl BusListener for Received {
    fn on_event(&self, room: &RoomName, event: BusEvent) {
        self.0.lock().push((room.clone(), event));
    }
    fn on_gap(&self, _: Option<&RoomName>) {}
}

impl Cluster {
    pub(crate) async fn join(redis: &Redis) -> Self {
        let (life, received) = (Lifecycle::new(), Arc::new(Received::default()));
        let settings = Settings { prefix: "test1".into(), ..Settings::default() };
        let store =
            Store::on_redis(&redis.url(), &settings, received.clone(), Arc::new(Unobserved), &life).unwrap();
        assert!(store.health.wait_up(TIMEOUT).await, "redis-server does not answer");
        Self { store, received, _life: life }
    }

    pub(crate) async fn node(&self, name: &str, lease: Duration) -> Incarnation {
        let node = Incarnation::random();
        let info = NodeInfo { name: name.into(), version: "9.9.9".into(), peer: None, body_version: 1 };
        self.store.nodes.register(&node, &info, lease).await.unwrap();
        node
    }

    /// Users with names and facts on a node, as a gateway writes them.
    pub(crate) async fn put(&self, node: &Incarnation, at: &RoomName, sequence: u64, users: &[UserName]) {
        for user in users {
            self.store.names.claim(user, &secret_of(user), node, &[]).await.unwrap();
        }
        self.store.presence.index(at, node).await.unwrap();
        let change = Change { here: users.to_vec(), ..Change::default() };
        assert!(self.store.presence.write(at, node, sequence, &change).await.unwrap());
    }

    pub(crate) async fn count(&self, at: &RoomName) -> usize {
        self.store.presence.read(at, 0).await.unwrap().count
    }
}

pub(crate) fn secret_of(user: &UserName) -> Secret {
    Secret::proved(&format!("secret of {user}"))
}

/// An HTTP answer.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> String {
        let body = self.json();
        assert!(body["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
        body["code"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn get(addr: SocketAddr, path: &str) -> Response {
    request(addr, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

/// Sends `text` and reads until the server closes.
pub(crate) async fn request(addr: SocketAddr, text: &str) -> Response {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status").parse().unwrap();
    Response { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// A name as one segment of a path.
pub(crate) fn encode(name: &str) -> String {
    name.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
