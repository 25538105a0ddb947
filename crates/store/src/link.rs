//! The one connection that carries commands and scripts to Redis (the bus has its own), with its health:
//! commands are refused before they are sent while it is down, and every failure is classified as "nothing
//! happened" or "outcome unknown". Called by the Redis implementations, calls `address.rs` for connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use parking_lot::RwLock;
use redis::aio::ConnectionLike as _;
use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    from_redis_value,
};
use roomcast_ops::trace::{Kind, Span};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use crate::address::{Address, COMMAND_TIMEOUT, Connection, Credentials, RETRY_INTERVAL, in_time};
use crate::error::{Result, StoreError};
use crate::health::{Connectivity, Health};
use crate::observer::{Observer, operation_of};
use crate::script::Script;

/// Redis answers TRYAGAIN while it moves a slot to another node; shortly after, it does not.
const TRYAGAIN_ATTEMPTS: u32 = 5;
const TRYAGAIN: &str = "a slot is being moved";

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
    connectivity: watch::Sender<Connectivity>,
    /// The newest connection over which a command to a node of a cluster failed.
    suspected: watch::Sender<u64>,
    observer: Arc<dyn Observer>,
}

impl Link {
    pub(crate) fn new(address: Address, observer: Arc<dyn Observer>) -> Self {
        let connectivity =
            watch::Sender::new(Connectivity { up: false, partial_since: None, connections: 0 });
        let inner = Arc::new(Inner {
            address,
            connection: RwLock::new(None),
            connectivity,
            suspected: watch::Sender::new(0),
            observer,
        });
        Self { inner, _owned: None }
    }

    /// A handle that keeps the tasks of the store running.
    pub(crate) fn owned_by(&self, guard: Arc<DropGuard>) -> Self {
        Self { inner: Arc::clone(&self.inner), _owned: Some(guard) }
    }

    pub(crate) fn health(&self) -> Health {
        Health::new(self.inner.connectivity.subscribe())
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.inner.observer
    }

    /// Makes the connection, and makes it again whenever a command found it broken. Never returns.
    pub(crate) async fn keep_connected(&self) {
        let mut failing = false;
        loop {
            let connected = self.connect().await;
            if let Err(why) = &connected {
                // Once an outage: a line for each attempt would bury what else happens.
                if std::mem::replace(&mut failing, true) {
                    tracing::debug!(why, "cannot connect to Redis; trying again");
                } else {
                    tracing::warn!(why, "cannot connect to Redis; trying again until it answers");
                }
            }
            if connected.is_ok() {
                failing = false;
                if self.is_cluster() {
                    self.watch_nodes().await;
                } else {
                    let mut connectivity = self.inner.connectivity.subscribe();
                    // We hold the sender: this cannot fail, and waits until the connection is lost.
                    connectivity.wait_for(|connectivity| !connectivity.up).await.ok();
                }
            } else {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }

    /// Looks after the nodes of a cluster, each of which may fail alone: then the rooms of the others go on. Returns once
    /// no node answers any more.
    async fn watch_nodes(&self) {
        loop {
            // A time-out of a command that was sent before all nodes were found to answer says nothing: it may be late.
            let present = self.inner.connectivity.borrow().connections;
            // We hold the sender: this cannot fail.
            self.inner.suspected.subscribe().wait_for(|suspected| *suspected >= present).await.ok();
            // When the command was sent that failed, at the earliest.
            let since = command_timeout_ago();
            let mut failing = false;
            loop {
                let Some(mut connection) = self.inner.connection.read().clone() else { return };
                if in_time(connection.answers_whole()).await.is_ok() {
                    break;
                }
                if let Err(why) = in_time(connection.answers()).await {
                    return self.set_down(&why);
                }
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!("a node of the Redis Cluster does not answer; its rooms wait for it");
                    self.inner.connectivity.send_modify(|connectivity| {
                        connectivity.partial_since.get_or_insert(since);
                    });
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            // It may have lost what was written last, or be another that was promoted in its place.
            let connections = self.connected(true);
            tracing::info!(connections, "all nodes of the Redis Cluster answer");
        }
    }

    /// Counts a connection, with which presence has to be written again. Its number. `whole`: all nodes answer.
    fn connected(&self, whole: bool) -> u64 {
        let mut connections = 0;
        self.inner.connectivity.send_modify(|connectivity| {
            connectivity.up = true;
            let since = || connectivity.partial_since.unwrap_or_else(command_timeout_ago);
            connectivity.partial_since = (!whole).then(since);
            connectivity.connections += 1;
            connections = connectivity.connections;
        });
        connections
    }

    /// Makes the connection, or finds that the one there works again.
    ///
    /// # Errors
    /// Why it does not.
    async fn connect(&self) -> std::result::Result<(), String> {
        let existing = self.inner.connection.read().clone();
        let alive = async {
            let mut connection = match existing {
                Some(connection) => connection,
                None => self.inner.address.connect().await?,
            };
            connection.answers().await?;
            connection.warn_of_eviction().await;
            Ok::<_, RedisError>(connection)
        };
        match in_time(alive).await {
            Ok(mut connection) => {
                let whole = !self.is_cluster() || in_time(connection.answers_whole()).await.is_ok();
                *self.inner.connection.write() = Some(connection);
                let connections = self.connected(whole);
                tracing::info!(connections, "connected to Redis");
                if !whole {
                    self.suspect(connections);
                }
                Ok(())
            }
            Err(why) => {
                // A cluster's client may never learn of new nodes when all it knew are gone.
                if self.is_cluster() {
                    *self.inner.connection.write() = None;
                }
                Err(why)
            }
        }
    }

    /// A command failed that was sent over the connection of that number. Where there is a newer one, that
    /// says nothing.
    ///
    /// Of a cluster it says something about one node: which others answer is found out before anything is refused.
    fn mark_down(&self, connections: u64, why: &str) {
        if self.is_cluster() {
            tracing::debug!(why, "a command to a node of the Redis Cluster failed");
            return self.suspect(connections);
        }
        let was_up = self.inner.connectivity.send_if_modified(|connectivity| {
            connectivity.connections == connections && std::mem::replace(&mut connectivity.up, false)
        });
        if was_up {
            tracing::warn!(why, "connection to Redis lost");
        }
    }

    fn suspect(&self, connections: u64) {
        self.inner.suspected.send_modify(|suspected| *suspected = connections.max(*suspected));
    }

    fn set_down(&self, why: &str) {
        self.inner.connectivity.send_modify(|connectivity| connectivity.up = false);
        tracing::warn!(why, "connection to Redis lost");
    }

    /// The connection for a request of this operation, with its number; refused while there is none.
    fn connection(&self, operation: &'static str) -> Result<(Connection, u64)> {
        let Connectivity { up, connections, .. } = *self.inner.connectivity.borrow();
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
        answer.and_then(parse_answer).inspect_err(|error| span.fail(error.label()))
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
            match self.run(operation, connections, answer).await {
                Err(StoreError::Unavailable(why)) if why == TRYAGAIN && attempt < TRYAGAIN_ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(20) * attempt).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Makes the calls of a script that a pipeline holds: where there is one server, in one write. Each succeeds
    /// or fails on its own. As many answers as calls, in their order.
    pub(crate) async fn call_batch(&self, script: &Script, calls: &Pipeline) -> Vec<Result<Value>> {
        if self.is_cluster() {
            // They belong to different nodes.
            let each: FuturesOrdered<_> = calls.cmd_iter().map(|call| self.call(script, call)).collect();
            return each.collect().await;
        }
        let operation = script.operation();
        let (mut connection, connections) = match self.connection(operation) {
            Ok(connection) => connection,
            Err(error) => return vec![Err(error); calls.len()],
        };
        let begun = Instant::now();
        let answered =
            self.await_answer(connections, connection.req_packed_commands(calls, 0, calls.len())).await;
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
        let mut outcomes = Vec::with_capacity(answers.len());
        for (answer, call) in answers.into_iter().zip(calls.cmd_iter()) {
            outcomes.push(match answer.extract_error() {
                Err(error) if is_unknown_script(&error) => self.call(script, call).await,
                answer => {
                    let answer = answer.map_err(|error| self.classify(connections, &error));
                    self.inner.observer.request(operation, Some(took), answer.as_ref().err());
                    answer
                }
            });
        }
        outcomes
    }

    /// Runs one command.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let operation = operation_of(command);
        let (mut connection, connections) = self.connection(operation)?;
        self.run(operation, connections, command.query_async(&mut connection)).await
    }

    /// Runs commands concurrently. Fails with the first of them that fails.
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

    /// The nodes of a cluster that the URL names, and what to log in to them with.
    pub(crate) fn cluster_nodes(&self) -> Option<(Vec<String>, Option<Credentials>)> {
        self.inner.address.cluster_nodes()
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.inner.address, Address::Cluster(_))
    }

    /// Awaits the answer of a request and reports it to the observer.
    async fn run<T>(
        &self,
        operation: &'static str,
        connections: u64,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        let outcome = self.await_answer(connections, answer).await;
        self.inner.observer.request(operation, Some(begun.elapsed()), outcome.as_ref().err());
        outcome
    }

    async fn await_answer<T>(
        &self,
        connections: u64,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(COMMAND_TIMEOUT, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.classify(connections, &error)),
            Err(_) => {
                self.mark_down(connections, "a command was not answered in time");
                Err(StoreError::Unknown("not answered in time".into()))
            }
        }
    }

    /// What a failure means for the caller; one of the connection also ends its use.
    fn classify(&self, connections: u64, error: &RedisError) -> StoreError {
        if error.is_connection_refusal() || error.kind() == ErrorKind::ClusterConnectionNotFound {
            self.mark_down(connections, "the connection was refused");
            return StoreError::Unavailable(error.to_string());
        }
        if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
            self.mark_down(connections, &error.to_string());
            return StoreError::Unknown(error.to_string());
        }
        match error.code() {
            Some("TRYAGAIN") => StoreError::Unavailable(TRYAGAIN.into()),
            Some(
                "LOADING" | "MASTERDOWN" | "READONLY" | "CLUSTERDOWN" | "NOREPLICAS" | "OOM" | "MISCONF"
                | "NOAUTH" | "WRONGPASS" | "NOPERM" | "BUSY" | "NOSCRIPT" | "MOVED" | "ASK",
            ) => StoreError::Unavailable(error.to_string()),
            Some(_) => StoreError::Corrupt(error.to_string()),
            // An answer of an unexpected type. The error quotes it: it may hold what somebody said, and errors
            // are logged.
            None => StoreError::Corrupt(error.category().to_owned()),
        }
    }
}

fn command_timeout_ago() -> Instant {
    let now = Instant::now();
    now.checked_sub(COMMAND_TIMEOUT).unwrap_or(now)
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Converts an answer to the type it should have.
pub(crate) fn parse_answer<T: FromRedisValue>(answer: Value) -> Result<T> {
    // The error quotes the answer, which may hold what somebody said, and errors are logged.
    from_redis_value(answer).map_err(|_| StoreError::Corrupt("an answer of an unexpected type".into()))
}
