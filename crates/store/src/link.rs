//! The one connection that carries commands and scripts to Redis (the bus has its own), with its health:
//! commands are refused before they leave while it is down, and every failure is sorted into "nothing
//! happened" and "nobody knows". Called by the Redis twins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use parking_lot::RwLock;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, ServerErrorKind, Value,
    from_redis_value,
};
use roomcast_ops::trace::{Kind, Span};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use crate::error::{Result, StoreError};
use crate::observer::{Observer, operation_of};
use crate::script::Script;
use crate::{Health, Reach};

/// How long a command may take before its outcome counts as unknown.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a connection that is down is tried.
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// TRYAGAIN is an answer of a slot that is being moved: it passes.
const TRYAGAIN_ATTEMPTS: u32 = 10;

/// Where Redis is.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Single(String),
    Cluster(Vec<String>),
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let bad = |why: &str| StoreError::Settings(format!("{why} in the Redis URL"));
        if let Some(rest) = url.strip_prefix("redis-cluster://") {
            let (first, query) = rest.split_once('?').unwrap_or((rest, ""));
            let user = first.rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
            let others = query.split('&').filter_map(|pair| pair.strip_prefix("node="));
            let urls = std::iter::once(format!("redis://{first}"))
                .chain(others.map(|node| format!("redis://{user}{node}")))
                .collect::<Vec<_>>();
            for url in &urls {
                redis::Client::open(url.as_str()).map_err(|error| bad(&error.to_string()))?;
            }
            return Ok(Self::Cluster(urls));
        }
        if !url.starts_with("redis://") {
            return Err(bad("no redis:// or redis-cluster://"));
        }
        redis::Client::open(url).map_err(|error| bad(&error.to_string()))?;
        Ok(Self::Single(url.to_owned()))
    }

    async fn connect(&self) -> std::result::Result<Connection, RedisError> {
        match self {
            Self::Single(url) => {
                let config = ConnectionManagerConfig::new()
                    .set_number_of_retries(1)
                    .set_max_delay(RETRY_EVERY)
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(Some(COMMAND_TIMEOUT));
                let client = redis::Client::open(url.as_str())?;
                let settings = redis::io::tcp::TcpSettings::default().set_nodelay(true);
                let info = client.get_connection_info().clone().set_tcp_settings(settings);
                let client = redis::Client::open(info)?;
                ConnectionManager::new_with_config(client, config).await.map(Connection::Single)
            }
            Self::Cluster(urls) => {
                let client = ClusterClientBuilder::new(urls.iter().map(String::as_str))
                    .retries(3)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(COMMAND_TIMEOUT)
                    .tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true))
                    .build()?;
                client.get_async_connection().await.map(Connection::Cluster)
            }
        }
    }
}

#[derive(Clone)]
enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// A handle; clones share the connection.
#[derive(Clone)]
pub(crate) struct Link {
    inner: Arc<Inner>,
    /// Ends the tasks of the store once its last handle is gone; absent in those tasks.
    _owned: Option<Arc<DropGuard>>,
}

struct Inner {
    address: Address,
    connection: RwLock<Option<Connection>>,
    reach: watch::Sender<Reach>,
    observer: Arc<dyn Observer>,
}

impl Link {
    pub(crate) fn new(address: Address, observer: Arc<dyn Observer>) -> Self {
        let (reach, _) = watch::channel(Reach { up: false, connections: 0 });
        let inner = Arc::new(Inner { address, connection: RwLock::new(None), reach, observer });
        Self { inner, _owned: None }
    }

    /// A handle that keeps the tasks of the store running.
    pub(crate) fn owned_by(&self, guard: Arc<DropGuard>) -> Self {
        Self { inner: Arc::clone(&self.inner), _owned: Some(guard) }
    }

    pub(crate) fn health(&self) -> Health {
        Health(self.inner.reach.subscribe())
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.inner.observer
    }

    /// Makes the connection, and makes it again whenever a command found it broken. Never returns.
    pub(crate) async fn keep_up(self) {
        loop {
            if self.try_up().await {
                let mut reach = self.inner.reach.subscribe();
                // We hold the sender: this cannot fail, and waits until the connection is lost.
                reach.wait_for(|reach| !reach.up).await.ok();
            } else {
                tokio::time::sleep(RETRY_EVERY).await;
            }
        }
    }

    async fn try_up(&self) -> bool {
        let existing = self.inner.connection.read().clone();
        let alive = async {
            let mut connection = match existing {
                Some(connection) => connection,
                None => self.inner.address.connect().await?,
            };
            redis::cmd("PING").query_async::<()>(&mut connection).await?;
            warn_of_eviction(&mut connection).await;
            Ok::<_, RedisError>(connection)
        };
        match tokio::time::timeout(COMMAND_TIMEOUT, alive).await {
            Ok(Ok(connection)) => {
                *self.inner.connection.write() = Some(connection);
                let mut connections = 0;
                self.inner.reach.send_modify(|reach| {
                    reach.up = true;
                    reach.connections += 1;
                    connections = reach.connections;
                });
                tracing::info!(connections, "redis answers");
                true
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "redis does not answer");
                // A cluster's client may never learn of new nodes when all it knew are gone.
                if matches!(self.inner.address, Address::Cluster(_)) {
                    *self.inner.connection.write() = None;
                }
                false
            }
            Err(_) => false,
        }
    }

    /// A command that left over the connection of that number failed; of an earlier one, that is no news.
    fn lose(&self, connections: u64, why: &str) {
        let was_up = self.inner.reach.send_if_modified(|reach| {
            reach.connections == connections && std::mem::replace(&mut reach.up, false)
        });
        if was_up {
            tracing::warn!(why, "redis is lost");
        }
    }

    /// The way for a request of this operation, refused where there is none.
    fn connection(&self, operation: &'static str) -> Result<(Connection, u64)> {
        let Reach { up, connections } = *self.inner.reach.borrow();
        let connection = self.inner.connection.read().clone();
        let refused = || {
            let error = StoreError::Unavailable("not connected".into());
            self.inner.observer.request(operation, None, Some(&error));
            error
        };
        connection.filter(|_| up).map(|connection| (connection, connections)).ok_or_else(refused)
    }

    /// Runs a script, as a span of its own where the request is traced.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<T> {
        let mut span = Span::redis(script.name(), Kind::Client, "EVALSHA");
        let answer = self.call(script, &script.call(keys, args)).await;
        answer.and_then(understood).inspect_err(|error| span.fail(error.label()))
    }

    /// Makes one call of a script, which is loaded where the server does not know it.
    pub(crate) async fn call(&self, script: &Script, call: &Cmd) -> Result<Value> {
        let operation = script.operation();
        let mut attempt = 0;
        loop {
            let (mut connection, connections) = self.connection(operation)?;
            let answer = async {
                match call.query_async(&mut connection).await {
                    Err(error) if is_unknown_script(&error) => {
                        script.get().load_async(&mut connection).await?;
                        call.query_async(&mut connection).await
                    }
                    answer => answer,
                }
            };
            match self.settle(operation, connections, answer).await {
                Err(StoreError::Unavailable(why)) if why == TRYAGAIN && attempt < TRYAGAIN_ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(20) * attempt).await;
                }
                settled => return settled,
            }
        }
    }

    /// Makes the calls of a script that a pipeline holds, each on its own but, where the server is one, in one
    /// write. Answers come in the order of the calls, as many as they are.
    pub(crate) async fn calls(&self, script: &Script, calls: &Pipeline) -> Vec<Result<Value>> {
        if self.is_cluster() {
            // They belong to different nodes.
            let each: FuturesOrdered<_> = calls.cmd_iter().map(|call| self.call(script, call)).collect();
            return each.collect().await;
        }
        let operation = script.operation();
        let (mut connection, connections) = match self.connection(operation) {
            Ok(way) => way,
            Err(error) => return vec![Err(error); calls.len()],
        };
        let begun = Instant::now();
        let answered =
            self.answered(connections, connection.req_packed_commands(calls, 0, calls.len())).await;
        let took = begun.elapsed();
        let answers = match answered {
            Ok(answers) => answers,
            Err(error) => {
                calls
                    .cmd_iter()
                    .for_each(|_| self.inner.observer.request(operation, Some(took), Some(&error)));
                return vec![Err(error); calls.len()];
            }
        };
        let mut settled = Vec::with_capacity(answers.len());
        for (answer, call) in answers.into_iter().zip(calls.cmd_iter()) {
            settled.push(match answer.extract_error() {
                Err(error) if is_unknown_script(&error) => self.call(script, call).await,
                answer => {
                    let answer = answer.map_err(|error| self.sort(connections, &error));
                    self.inner.observer.request(operation, Some(took), answer.as_ref().err());
                    answer
                }
            });
        }
        settled
    }

    /// Runs one command.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let operation = operation_of(command);
        let (mut connection, connections) = self.connection(operation)?;
        self.settle(operation, connections, command.query_async(&mut connection)).await
    }

    /// Runs commands, each on its own, as one write where the server is one.
    pub(crate) async fn commands<T: FromRedisValue>(&self, commands: Vec<Cmd>) -> Result<Vec<T>> {
        use futures_util::stream::TryStreamExt as _;
        // Concurrent commands share a write of the multiplexed connection; a pipeline of a cluster's
        // client would refuse to cross slots.
        futures_util::stream::iter(commands)
            .map(async |command| self.command(&command).await)
            .buffered(256)
            .try_collect()
            .await
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.inner.address, Address::Cluster(_))
    }

    /// Ranges of a cluster's slots, each with the id of its primary (addresses are told differently by
    /// different nodes).
    pub(crate) async fn slots(&self) -> Result<Vec<(i64, i64, Vec<u8>)>> {
        let ranges: Vec<Vec<Value>> = self.command(redis::cmd("CLUSTER").arg("SLOTS")).await?;
        let range = |range: &Vec<Value>| match range.as_slice() {
            [Value::Int(first), Value::Int(last), Value::Array(primary), ..] => match primary.as_slice() {
                [_, _, Value::BulkString(id), ..] => Some((*first, *last, id.clone())),
                _ => None,
            },
            _ => None,
        };
        let mut slots: Vec<_> = ranges.iter().filter_map(range).collect();
        slots.sort();
        Ok(slots)
    }

    async fn settle<T>(
        &self,
        operation: &'static str,
        connections: u64,
        answer: impl Future<Output = std::result::Result<T, RedisError>>,
    ) -> Result<T> {
        let begun = Instant::now();
        let settled = self.answered(connections, answer).await;
        self.inner.observer.request(operation, Some(begun.elapsed()), settled.as_ref().err());
        settled
    }

    async fn answered<T>(
        &self,
        connections: u64,
        answer: impl Future<Output = std::result::Result<T, RedisError>>,
    ) -> Result<T> {
        match tokio::time::timeout(COMMAND_TIMEOUT, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.sort(connections, &error)),
            Err(_) => {
                self.lose(connections, "a command was not answered in time");
                Err(StoreError::Unknown("not answered in time".into()))
            }
        }
    }

    fn sort(&self, connections: u64, error: &RedisError) -> StoreError {
        if error.is_connection_refusal() || error.kind() == ErrorKind::ClusterConnectionNotFound {
            self.lose(connections, "the connection was refused");
            return StoreError::Unavailable(error.to_string());
        }
        if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
            self.lose(connections, &error.to_string());
            return StoreError::Unknown(error.to_string());
        }
        match error.code() {
            Some("TRYAGAIN") => StoreError::Unavailable(TRYAGAIN.into()),
            Some(
                "LOADING" | "MASTERDOWN" | "READONLY" | "CLUSTERDOWN" | "NOREPLICAS" | "OOM" | "MISCONF"
                | "NOAUTH" | "WRONGPASS" | "NOPERM" | "BUSY" | "NOSCRIPT" | "MOVED" | "ASK",
            ) => StoreError::Unavailable(error.to_string()),
            Some(_) => StoreError::Corrupt(error.to_string()),
            // An answer that is not understood, which the error quotes: it may hold what somebody said, and
            // errors are logged.
            None => StoreError::Corrupt(error.category().to_owned()),
        }
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// An answer as what it has to be.
pub(crate) fn understood<T: FromRedisValue>(answer: Value) -> Result<T> {
    // The error quotes the answer, which may hold what somebody said, and errors are logged.
    from_redis_value(answer).map_err(|_| StoreError::Corrupt("an answer is not understood".into()))
}

/// A Redis that drops keys when it is full drops rooms, and nobody would know why.
async fn warn_of_eviction(connection: &mut Connection) {
    // A cluster's nodes answer each for themselves; the first connection of a single server is enough.
    let Connection::Single(connection) = connection else { return };
    let info = redis::cmd("INFO").arg("memory").query_async::<String>(connection).await.unwrap_or_default();
    let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim);
    if let Some(policy) = policy.filter(|policy| *policy != "noeviction") {
        tracing::warn!(policy, "redis may evict rooms: set maxmemory-policy to noeviction");
    }
}

const TRYAGAIN: &str = "a slot is being moved";
