//! Where Redis is, and how a connection to it is made: to one server, or to the nodes of a Redis Cluster.
//! Called by `link.rs`.

use std::time::Duration;

use futures_util::future::try_join_all;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value, from_redis_value};

use crate::error::{Result, StoreError};
use crate::partition::slot;

/// How long a command may take before its outcome counts as unknown.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How often a connection that is down is tried.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Where Redis is.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Single(String),
    Cluster(Vec<String>),
}

/// What a connection logs in with.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let bad = |why: &str| StoreError::Settings(format!("{why} in the Redis URL"));
        if let Some(rest) = url.strip_prefix("redis-cluster://") {
            let (first, query) = rest.split_once('?').unwrap_or((rest, ""));
            let user = first.rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
            let nodes = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "node");
            let urls = std::iter::once(format!("redis://{first}"))
                .chain(nodes.map(|(_, node)| format!("redis://{user}{node}")))
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

    /// The nodes of a cluster that the URL names, as `HOST:PORT`, and what to log in to them with. None for one server.
    pub(crate) fn cluster_nodes(&self) -> Option<(Vec<String>, Option<Credentials>)> {
        let Self::Cluster(urls) = self else { return None };
        let mut credentials = None;
        let mut nodes = Vec::with_capacity(urls.len());
        for info in urls.iter().filter_map(|url| redis::Client::open(url.as_str()).ok()) {
            let info = info.get_connection_info();
            let redis::ConnectionAddr::Tcp(host, port) = info.addr() else { continue };
            let host = host.trim_matches(['[', ']']);
            nodes.push(if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            });
            let user = info.redis_settings().username().unwrap_or("default").to_owned();
            let password = info.redis_settings().password().map(ToOwned::to_owned);
            credentials = credentials.or(password.map(|password| Credentials { user, password }));
        }
        Some((nodes, credentials))
    }

    pub(crate) async fn connect(&self) -> RedisResult<Connection> {
        match self {
            Self::Single(url) => {
                let config = ConnectionManagerConfig::new()
                    .set_number_of_retries(1)
                    .set_max_delay(RETRY_INTERVAL)
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(Some(COMMAND_TIMEOUT));
                let client = redis::Client::open(url.as_str())?;
                let settings = redis::io::tcp::TcpSettings::default().set_nodelay(true);
                let info = client.get_connection_info().clone().set_tcp_settings(settings);
                let client = redis::Client::open(info)?;
                let mut connection = ConnectionManager::new_with_config(client, config).await?;
                refuse_cluster(&mut connection).await?;
                Ok(Connection::Single(connection))
            }
            Self::Cluster(urls) => {
                let client = ClusterClientBuilder::new(urls.iter().map(String::as_str))
                    .retries(3)
                    // Its own default for the first wait is longer than a command may take: an answer that says to try
                    // again would become a timeout.
                    .min_retry_wait(20)
                    .max_retry_wait(100)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(COMMAND_TIMEOUT)
                    .tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true))
                    .build()?;
                client.get_async_connection().await.map(Connection::Cluster)
            }
        }
    }
}

/// Refuses a node of a cluster that has several: it would answer for a part of the rooms only. One that has all slots
/// itself, as some providers offer it, is as good as a server without a cluster.
async fn refuse_cluster(connection: &mut ConnectionManager) -> RedisResult<()> {
    // A server without a cluster answers with an error, as does one that permits this user no such command.
    let info = redis::cmd("CLUSTER").arg("INFO").query_async::<String>(connection).await.unwrap_or_default();
    let size = info.lines().find_map(|line| line.strip_prefix("cluster_size:")?.trim().parse::<u32>().ok());
    if size.is_none_or(|size| size <= 1) {
        return Ok(());
    }
    let why = "this is a node of a Redis Cluster: its URL has to begin with redis-cluster://";
    Err(RedisError::from((ErrorKind::InvalidClientConfig, why)))
}

/// One connection, of either kind.
#[derive(Clone)]
pub(crate) enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Whether anything answers, of a cluster any primary.
    pub(crate) async fn answers(&mut self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        match self {
            Self::Single(connection) => ping.query_async(connection).await,
            Self::Cluster(connection) => {
                let primaries = RoutingInfo::MultiNode((
                    MultipleNodeRoutingInfo::AllMasters,
                    Some(ResponsePolicy::OneSucceeded),
                ));
                connection.route_command(ping, primaries).await.map(drop)
            }
        }
    }

    /// Whether every primary of a cluster answers that has slots.
    ///
    /// Each is asked for a key. Where all nodes are to be asked, the client leaves out those that it is not connected to;
    /// for a key it makes the connection.
    pub(crate) async fn answers_whole(&mut self) -> RedisResult<()> {
        let Self::Cluster(connection) = self else { return self.answers().await };
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let slots: Vec<Vec<Value>> = from_redis_value(connection.route_command(slots, any).await?)?;
        let asked = key_of_each(slots)?.into_iter().map(|key| {
            let mut connection = connection.clone();
            async move {
                match redis::cmd("EXISTS").arg(key).query_async::<()>(&mut connection).await {
                    // It answers, although this user may not ask.
                    Err(error) if error.code() == Some("NOPERM") => Ok(()),
                    outcome => outcome,
                }
            }
        });
        try_join_all(asked).await.map(drop)
    }

    /// A Redis that evicts keys when it is full loses rooms, and nobody is told.
    pub(crate) async fn warn_of_eviction(&mut self) {
        // A cluster's nodes are not asked: each would have to be.
        let Self::Single(connection) = self else { return };
        let info =
            redis::cmd("INFO").arg("memory").query_async::<String>(connection).await.unwrap_or_default();
        let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim);
        if let Some(policy) = policy.filter(|policy| *policy != "noeviction") {
            tracing::warn!(policy, "Redis may evict rooms: set maxmemory-policy to noeviction");
        }
    }
}

/// Far more than it takes to find a key of any slot.
const MOST_KEYS_TRIED: u32 = 1_000_000;

/// A key in a slot of each primary, by an answer to CLUSTER SLOTS.
fn key_of_each(slots: Vec<Vec<Value>>) -> RedisResult<Vec<String>> {
    let (mut primaries, mut keys) = (Vec::new(), Vec::new());
    for range in slots {
        let mut range = range.into_iter();
        let (Some(first), Some(last), Some(primary)) = (range.next(), range.next(), range.next()) else {
            continue;
        };
        if !primaries.contains(&primary) {
            let range = from_redis_value::<u16>(first)?..=from_redis_value::<u16>(last)?;
            let mut words = (0..MOST_KEYS_TRIED).map(|number| number.to_string());
            let key = words.find(|key| range.contains(&slot(key)));
            keys.push(key.ok_or((ErrorKind::Parse, "no slots in a range of slots"))?);
            primaries.push(primary);
        }
    }
    Ok(keys)
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

/// Awaits an answer of Redis, but not for ever.
///
/// # Errors
/// Why there is none.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = RedisResult<T>>,
) -> std::result::Result<T, String> {
    let answer = tokio::time::timeout(COMMAND_TIMEOUT, answer).await;
    answer.map_err(|_| format!("no answer within {COMMAND_TIMEOUT:?}"))?.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_a_cluster_are_named_in_the_query() {
        let urls = |url: &str| match Address::parse(url).unwrap() {
            Address::Cluster(urls) => urls,
            Address::Single(url) => panic!("{url}"),
        };
        assert_eq!(urls("redis-cluster://a:1"), ["redis://a:1"]);
        assert_eq!(
            urls("redis-cluster://a:1?other=x&node=b:2&node=c:3"),
            ["redis://a:1", "redis://b:2", "redis://c:3"]
        );
        assert_eq!(urls("redis-cluster://u:p@a:1?node=b%3A2"), ["redis://u:p@a:1", "redis://u:p@b:2"]);
        assert_eq!(urls("redis-cluster://[::1]:1?node=[::1]:2"), ["redis://[::1]:1", "redis://[::1]:2"]);
        let nodes = |url: &str| Address::parse(url).unwrap().cluster_nodes();
        let (addresses, credentials) = nodes("redis-cluster://:p%40@a:1?node=b").unwrap();
        assert_eq!(addresses, ["a:1", "b:6379"]);
        assert!(credentials.is_some_and(|login| login.user == "default" && login.password == "p@"));
        let (addresses, credentials) = nodes("redis-cluster://[::1]:1").unwrap();
        assert!(credentials.is_none() && addresses == ["[::1]:1"]);
        assert!(nodes("redis://a").is_none());
    }

    #[test]
    fn each_primary_of_a_cluster_is_asked_for_a_key_of_its_own() {
        let range = |first: i64, last: i64, port: i64| {
            let primary = Value::Array(vec![Value::BulkString(b"a".into()), Value::Int(port)]);
            vec![Value::Int(first), Value::Int(last), primary, Value::Array(vec![])]
        };
        let keys = key_of_each(vec![range(0, 99, 1), range(100, 100, 2), range(101, 16_383, 1)]).unwrap();
        assert!(matches!(&keys[..], [first, second] if slot(first) < 100 && slot(second) == 100), "{keys:?}");
        assert!(key_of_each(vec![vec![Value::Int(1), Value::Int(0), Value::Nil]]).is_err());
    }
}
