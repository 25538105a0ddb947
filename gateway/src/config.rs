//! Settings from flags and environment, and their validation. Called by `main.rs`.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use clap::Parser;
use http::HeaderName;
use roomcast_ops::config::{
    InvalidValue, Network, parse_bytes, parse_duration, parse_listen, parse_network, parse_origin,
    url_with_scheme,
};
use roomcast_ops::trace::TraceArgs;
use roomcast_ops::{LogFormat, Problems, Process};
use roomcast_protocol::RoomName;
use roomcast_protocol::limits::{MAX_IMAGE_BYTES, MAX_PACKET_BYTES};
use roomcast_store::{
    DEFAULT_IMAGE_STORE_BYTES, DEFAULT_INBOX_LEN, DEFAULT_PREFIX, Retention, Settings, parse_prefix,
};

use crate::chat::{BroadcastPolicy, ImageSettings};
use crate::edge::hosts::{Hosts, parse_public_host};
use crate::edge::peer::{Peering, Secret};
use crate::edge::socketio::{Bounds, DialectName, OriginSettings};

/// The edge of Roomcast: terminates Socket.IO, serves the web UI, exchanges room events through Redis.
/// Without --redis it is a whole chat in one process.
#[derive(Debug, Parser)]
#[command(name = "roomcast-gateway", version, after_help = roomcast_ops::healthcheck::HELP)]
pub struct Args {
    /// Where clients connect: web UI and Socket.IO
    #[arg(long, env = "ROOMCAST_LISTEN", default_value = "127.0.0.1:3000", value_parser = parse_listen)]
    listen: SocketAddr,
    /// Where operators connect: health, metrics, log level
    #[arg(long, env = "ROOMCAST_ADMIN", default_value = "127.0.0.1:9464", value_parser = parse_listen)]
    admin: SocketAddr,
    /// Where other gateways connect to pass on requests of sessions that this one holds, so that polling
    /// needs no sticky load balancer; without it nothing is passed on. Needs --redis and --peer-secret
    #[arg(long, env = "ROOMCAST_PEER_LISTEN", value_parser = parse_listen)]
    peer_listen: Option<SocketAddr>,
    /// Address under which other gateways reach --peer-listen: host:port [default: the bound address]
    #[arg(long, env = "ROOMCAST_PEER_ADDRESS")]
    peer_address: Option<String>,
    /// Secret that all gateways share, and nothing else knows: 32 random characters or more
    #[arg(long, env = "ROOMCAST_PEER_SECRET", hide_env_values = true)]
    peer_secret: Option<String>,
    /// Redis that the nodes share: redis://… or redis-cluster://…; without it everything stays in this process
    #[arg(long, env = "ROOMCAST_REDIS", hide_env_values = true, value_parser = url_with_scheme(&["redis", "redis-cluster"]))]
    redis: Option<String>,
    /// What stands before every key in Redis, so that several clusters may share one
    #[arg(long, env = "ROOMCAST_PREFIX", default_value = DEFAULT_PREFIX, value_parser = parse_prefix)]
    prefix: String,
    /// This node's name, as clients see it [default: a random one]
    #[arg(long, env = "ROOMCAST_NODE")]
    node: Option<String>,
    /// Another origin whose pages may connect: scheme://host[:port], or * for any (repeatable)
    #[arg(long, env = "ROOMCAST_ALLOW_ORIGIN", value_delimiter = ',', value_parser = parse_allowed_origin)]
    allow_origin: Vec<String>,
    /// Request header that pages of other origins may send, besides authorization and content-type (repeatable)
    #[arg(long, env = "ROOMCAST_ALLOW_HEADER", value_delimiter = ',', value_parser = parse_header)]
    allow_header: Vec<HeaderName>,
    /// Address or network of reverse proxies: what their requests say in X-Forwarded-Host and X-Forwarded-Proto is
    /// believed, and their Host may lack the port, as 10.0.0.7, 10.0.0.0/8 or fd00::/8 (repeatable)
    #[arg(long, env = "ROOMCAST_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = parse_network)]
    trusted_proxy: Vec<Network>,
    /// Host by which clients reach the gateways, without a port: requests for others are refused; without the flag all are
    /// served, and cookies are given on IP addresses and localhost only (repeatable)
    #[arg(long, env = "ROOMCAST_PUBLIC_HOST", value_name = "NAME", value_delimiter = ',', value_parser = parse_public_host)]
    public_host: Vec<String>,
    /// Which chat's events the namespace `/` speaks; each also has a namespace of its name
    #[arg(long, env = "ROOMCAST_DIALECT", value_enum, default_value_t = DialectName::Native)]
    dialect: DialectName,
    /// Who may send messages to everyone, one in 10 seconds a user
    #[arg(long, env = "ROOMCAST_BROADCAST", value_enum, default_value_t = BroadcastPolicy::Dialect)]
    broadcast: BroadcastPolicy,
    /// Rooms that are always listed (repeatable)
    #[arg(long, env = "ROOMCAST_ROOM", value_delimiter = ',', default_value = "general,help,random", value_parser = parse_room)]
    room: Vec<RoomName>,
    /// Newest messages of a room that are kept whatever their age
    #[arg(long, env = "ROOMCAST_HISTORY_LEN", default_value_t = 1_000)]
    history_len: usize,
    /// Messages younger than this are kept, up to --history-cap of them
    #[arg(long, env = "ROOMCAST_HISTORY_TTL", default_value = "10m", value_parser = parse_duration)]
    history_ttl: Duration,
    /// Maximum number of messages kept of a room
    #[arg(long, env = "ROOMCAST_HISTORY_CAP", default_value_t = 10_000)]
    history_cap: usize,
    /// Newest private messages that are kept for each user, for as long as --room-ttl without use
    #[arg(long, env = "ROOMCAST_INBOX_LEN", default_value_t = DEFAULT_INBOX_LEN)]
    inbox_len: usize,
    /// A room that has not been used for this time is deleted with its log
    #[arg(long, env = "ROOMCAST_ROOM_TTL", default_value = "7d", value_parser = parse_duration)]
    room_ttl: Duration,
    /// Longest image that may be sent, in bytes: at most 1048576
    #[arg(long, env = "ROOMCAST_IMAGE_BYTES", default_value_t = MAX_IMAGE_BYTES, value_parser = parse_bytes)]
    image_bytes: usize,
    /// Bytes that all images may have together; the same for all nodes. Then no more are taken until messages with
    /// images are deleted with their rooms' logs or from inboxes
    #[arg(long, env = "ROOMCAST_IMAGE_STORE_BYTES", default_value_t = DEFAULT_IMAGE_STORE_BYTES, value_parser = parse_bytes)]
    image_store_bytes: usize,
    /// URL under which clients reach the gateways, for the addresses of images: https://chat.example[/path]. Without it
    /// they are paths, which pages of other origins cannot show
    #[arg(long, env = "ROOMCAST_PUBLIC_URL", value_parser = parse_public_url)]
    public_url: Option<String>,
    /// Interval of the pings to a connection
    #[arg(long, env = "ROOMCAST_PING_INTERVAL", default_value = "25s", value_parser = parse_duration)]
    ping_interval: Duration,
    /// Time allowed for the answer to a ping
    #[arg(long, env = "ROOMCAST_PING_TIMEOUT", default_value = "20s", value_parser = parse_duration)]
    ping_timeout: Duration,
    /// How long a connection may be idle between two requests: longer than a load balancer keeps it
    #[arg(long, env = "ROOMCAST_KEEP_ALIVE", default_value = "75s", value_parser = parse_duration)]
    keep_alive: Duration,
    /// How long after its last sign of life a node's users are taken for gone; the same for all nodes
    #[arg(long, env = "ROOMCAST_LEASE", default_value = "15s", value_parser = parse_duration)]
    lease: Duration,
    /// How long a user whose connection was lost stays online
    #[arg(long, env = "ROOMCAST_GRACE", default_value = "15s", value_parser = parse_duration)]
    grace: Duration,
    /// Maximum number of bytes queued for a client; a slower reader is disconnected
    #[arg(long, env = "ROOMCAST_CLIENT_BUFFER", default_value_t = 1024 * 1024, value_parser = parse_bytes)]
    client_buffer: usize,
    /// Time for which a client may read nothing of what is queued for it, before it is disconnected
    #[arg(long, env = "ROOMCAST_CLIENT_STALL", default_value = "10s", value_parser = parse_duration)]
    client_stall: Duration,
    /// Batch window: messages of a busy room are batched into one write, and those of a busy node into one request to Redis; without load they are sent at once
    #[arg(long, env = "ROOMCAST_BATCH_WINDOW", default_value = "5ms", value_parser = parse_duration)]
    batch_window: Duration,
    /// Time over which connections are closed when the process stops
    #[arg(long, env = "ROOMCAST_DRAIN", default_value = "5s", value_parser = parse_duration)]
    drain: Duration,
    /// Threads that serve [default: half of the cores, at least one]
    #[arg(long, env = "ROOMCAST_WORKERS")]
    workers: Option<usize>,
    /// What is logged, such as info,roomcast_gateway=debug
    #[arg(long, env = "ROOMCAST_LOG", default_value = "info,fred=warn")]
    log: String,
    /// Log what users do: connects, joins, messages (never their text) and leaves, with the names of users and rooms
    #[arg(long, env = "ROOMCAST_LOG_CHAT")]
    log_chat: bool,
    /// How a log line looks
    #[arg(long, env = "ROOMCAST_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
    #[command(flatten)]
    traces: TraceArgs,
    /// Loses every so many-th message to a member, so that a test can show that it notices. No environment
    /// variable, so that nothing but this flag can switch it on
    #[arg(long, value_name = "MESSAGES", hide = true)]
    test_drop_every: Option<NonZeroU64>,
}

/// Validated settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    /// Forwarding between gateways, if it is configured.
    pub(crate) peering: Option<Peering>,
    /// The URL of the Redis that nodes share.
    pub redis: Option<String>,
    /// Settings of the store.
    pub store: Settings,
    /// This node's name.
    pub node: String,
    /// Which hosts are served.
    pub(crate) hosts: Hosts,
    /// Which pages may connect.
    pub(crate) origins: OriginSettings,
    /// Whether what users do is logged.
    pub log_chat: bool,
    /// The dialect of the namespace `/`.
    pub(crate) dialect: DialectName,
    /// Who may send messages to everyone.
    pub(crate) broadcast: BroadcastPolicy,
    /// Rooms that are always listed.
    pub rooms: Vec<RoomName>,
    /// Settings of images.
    pub(crate) images: ImageSettings,
    /// Interval of the pings to a connection.
    pub ping_interval: Duration,
    /// Time allowed for the answer to a ping.
    pub ping_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub keep_alive: Duration,
    /// Duration of the node's lease.
    pub lease: Duration,
    /// How long a user whose connection was lost stays online.
    pub grace: Duration,
    /// Limits of what a slow reader may queue.
    pub(crate) bounds: Bounds,
    /// Batch window of messages of a busy room.
    pub batch_window: Duration,
    /// Time over which connections are closed when the process stops.
    pub drain: Duration,
    /// Every so many-th message to a member is lost; none but in tests of tests.
    pub(crate) test_drop_every: Option<NonZeroU64>,
}

impl Args {
    /// Validates the settings beyond the parsing of each flag. `problems` are the errors found by parsing.
    ///
    /// # Errors
    /// All errors, including those found by parsing.
    pub fn check(self, mut problems: Problems) -> Result<(Process, Config), Problems> {
        for (flag, value) in [("--peer-secret", &self.peer_secret), ("--peer-address", &self.peer_address)] {
            let has_listener = self.peer_listen.is_some() || value.is_none();
            problems.relate(&["--peer-listen"], has_listener, format_args!("{flag} needs --peer-listen"));
        }
        let peering = self.peer_listen.and_then(|listen| {
            problems.check(
                self.redis.is_some(),
                "--peer-listen",
                "needs --redis: without it there are no other gateways",
            );
            peering(&mut problems, listen, self.peer_address, self.peer_secret.as_deref())
        });
        let config = Config {
            listen: self.listen,
            admin: self.admin,
            peering,
            redis: self.redis,
            store: Settings {
                retention: Retention {
                    len: self.history_len,
                    age: self.history_ttl,
                    cap: self.history_cap,
                    idle: self.room_ttl,
                },
                inbox_len: self.inbox_len,
                prefix: self.prefix,
                batch_window: self.batch_window,
                upgrade_wait: 2 * self.lease,
                image_store_bytes: self.image_store_bytes,
            },
            node: self.node.unwrap_or_else(|| format!("node-{:06x}", rand::random::<u32>() & 0x00ff_ffff)),
            hosts: Hosts { public: self.public_host, trusted_proxies: self.trusted_proxy },
            origins: OriginSettings { allowed: self.allow_origin, headers: self.allow_header },
            log_chat: self.log_chat,
            dialect: self.dialect,
            broadcast: self.broadcast,
            rooms: self.room,
            images: ImageSettings {
                max_bytes: self.image_bytes,
                public_url: self.public_url.unwrap_or_default().into(),
            },
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            keep_alive: self.keep_alive,
            lease: self.lease,
            grace: self.grace,
            bounds: Bounds { bytes: self.client_buffer, stall: self.client_stall },
            batch_window: self.batch_window,
            drain: self.drain,
            test_drop_every: self.test_drop_every,
        };
        problems.at_least("--workers", self.workers.unwrap_or(1), 1);
        problems.at_least("--history-len", config.store.retention.len, 1);
        problems.relate(
            &["--history-cap", "--history-len"],
            config.store.retention.cap >= config.store.retention.len,
            "--history-cap must be at least --history-len",
        );
        let (bytes, least) = (config.bounds.bytes, 2 * MAX_PACKET_BYTES);
        let why = format_args!("--client-buffer must be at least {least} bytes, not {bytes}");
        problems.relate(&["--client-buffer"], bytes >= least, why);
        problems.at_most("--image-bytes", config.images.max_bytes, MAX_IMAGE_BYTES);
        problems.at_least("--client-stall", config.bounds.stall, Duration::from_millis(100));
        problems.at_least("--room-ttl", config.store.retention.idle, Duration::from_secs(1));
        problems.at_most("--batch-window", config.batch_window, Duration::from_millis(100));
        problems.at_least("--lease", config.lease, Duration::from_millis(500));
        problems.at_least("--ping-interval", config.ping_interval, Duration::from_millis(50));
        problems.at_least("--ping-timeout", config.ping_timeout, Duration::from_millis(50));
        problems.at_least("--keep-alive", config.keep_alive, Duration::from_secs(1));
        let otlp = self.traces.check(&mut problems, Some(&config.node));
        problems.finish()?;
        Ok((Process { format: self.log_format, filter: self.log, workers: self.workers, otlp }, config))
    }
}

fn parse_room(name: &str) -> Result<RoomName, String> {
    RoomName::parse(name).map_err(|refusal| refusal.message)
}

/// An http(s) URL without query and fragment, which a path follows. Returned without a slash at its end.
fn parse_public_url(text: &str) -> Result<String, &'static str> {
    let url = text.parse::<http::Uri>().ok().filter(|url| {
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        let has_host = url.host().is_some_and(|host| !host.is_empty());
        let is_plain = !text.contains(['#', '?', '@', '\'', '"', ';', ',']);
        is_http && has_host && is_plain
    });
    let wrong = "must be the URL of the gateways, such as https://chat.example";
    url.map(|_| text.trim_end_matches('/').to_owned()).ok_or(wrong)
}

fn parse_allowed_origin(text: &str) -> Result<String, InvalidValue> {
    if text == "*" { Ok(text.to_owned()) } else { parse_origin(text) }
}

/// `*` is no name: browsers take it literally in requests with credentials.
fn parse_header(name: &str) -> Result<HeaderName, &'static str> {
    let header = HeaderName::try_from(name.trim()).ok().filter(|header| header != "*");
    header.ok_or("must be the name of a header, such as x-request-id")
}

fn peering(
    problems: &mut Problems,
    listen: SocketAddr,
    address: Option<String>,
    secret: Option<&str>,
) -> Option<Peering> {
    if let Some(address) = &address {
        let reachable = address.rsplit_once(':').is_some_and(|(host, port)| {
            let host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
            host && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        problems.check(reachable, "--peer-address", "must be host:port, such as 10.0.0.7:3002");
    } else {
        let specified = !listen.ip().is_unspecified();
        problems.check(specified, "--peer-address", "is needed where --peer-listen is every address");
    }
    let Some(secret) = secret.and_then(Secret::new) else {
        let why = format!("must have at least {} characters, with --peer-listen", Secret::MIN_CHARS);
        problems.add("--peer-secret", why);
        return None;
    };
    Some(Peering { listen, address, secret })
}

#[cfg(test)]
mod tests {
    use roomcast_ops::config::parse_from;

    use super::*;

    fn errors(args: &[&str]) -> String {
        let args = std::iter::once("roomcast-gateway").chain(args.iter().copied());
        let (args, problems) = parse_from::<Args>(args).unwrap();
        let checked = args.check(problems);
        checked.map_or_else(|problems| problems.to_string(), |_| String::new())
    }

    #[test]
    fn peering_needs_an_address_a_secret_and_redis() {
        let secret = "0123456789abcdef0123456789abcdef";
        let redis = "--redis=redis://127.0.0.1";
        let peer_listen = "--peer-listen=127.0.0.1:3002";
        assert_eq!(errors(&[redis, peer_listen, "--peer-secret", secret]), "");
        let unspecified = [redis, "--peer-listen=[::]:3002", "--peer-secret", secret];
        assert!(errors(&unspecified).starts_with("--peer-address is needed"));
        for address in ["10.0.0.7:3002", "[fd00::7]:3002", "gateway-0.gateway:3002"] {
            let address = format!("--peer-address={address}");
            assert_eq!(errors(&[&unspecified[..], &[address.as_str()]].concat()), "");
        }
        for address in ["10.0.0.7", ":3002", "http://gateway:3002", "gateway:0", "gateway:http"] {
            let address = format!("--peer-address={address}");
            let text = errors(&[&unspecified[..], &[address.as_str()]].concat());
            assert!(text.starts_with("--peer-address must be host:port"), "{text}");
        }
        let text = errors(&[peer_listen, "--peer-secret=short"]);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("--peer-listen needs --redis") && text.contains("at least 32"), "{text}");
        assert!(!text.contains("short"), "the secret is not shown");
    }

    #[test]
    fn settings_of_peering_need_its_listener() {
        let secret = "--peer-secret=0123456789abcdef0123456789abcdef";
        assert_eq!(errors(&[secret]), "--peer-secret needs --peer-listen");
        assert_eq!(errors(&["--peer-address=10.0.0.7:3002"]), "--peer-address needs --peer-listen");
        let text = errors(&["--peer-listen=x", secret]);
        assert!(text.starts_with("--peer-listen (or ROOMCAST_PEER_LISTEN): must be"), "{text}");
        assert_eq!(text.lines().count(), 1, "no consequence of another error: {text}");
    }

    #[test]
    fn errors_name_units_and_are_said_once() {
        for (flag, error) in [
            ("--lease=0s", "--lease must be at least 500ms, not 0s"),
            ("--room-ttl=0s", "--room-ttl must be at least 1s, not 0s"),
            ("--client-stall=0s", "--client-stall must be at least 100ms, not 0s"),
            ("--client-buffer=1", "--client-buffer must be at least 262144 bytes, not 1"),
            (
                "--client-buffer=1MB",
                "--client-buffer (or ROOMCAST_CLIENT_BUFFER): must be a number of bytes, such as 1048576, not \"1MB\"",
            ),
            (
                "--public-host=chat.example:443",
                "--public-host (or ROOMCAST_PUBLIC_HOST): must be the name of a host without a port, such as chat.example.org, not \"chat.example:443\"",
            ),
            ("--image-bytes=2000000", "--image-bytes must be at most 1048576, not 2000000"),
            ("--public-url=https://chat.example/roomcast/", ""),
            (
                "--public-url=chat.example",
                "--public-url (or ROOMCAST_PUBLIC_URL): must be the URL of the gateways, such as https://chat.example, not \"chat.example\"",
            ),
            ("--room=", "--room (or ROOMCAST_ROOM): the name of a room is empty"),
        ] {
            assert_eq!(errors(&[flag]), error);
        }
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let text = errors(&[
            "--lease=15",
            "--batch-window",
            "1s",
            "--redis=http://:secret@h",
            "--room",
            "general,",
            "--allow-origin=*,https://a.b/",
            "--allow-header=x-id,*",
            "--trusted-proxy=10.0.0.0/8,proxy",
            "--history-len=x",
            "--history-cap=0",
            "--client-buffer=1",
            "--prefix=a:b",
        ]);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let expected = [
            "--allow-header (or ROOMCAST_ALLOW_HEADER): must be the name of a header",
            "--allow-origin (or ROOMCAST_ALLOW_ORIGIN): must end after the host",
            "--batch-window must be at most 100ms, not 1s",
            "--client-buffer must be at least ",
            "--history-len (or ROOMCAST_HISTORY_LEN): must be a whole number",
            "--lease (or ROOMCAST_LEASE): needs a unit: 15s for seconds",
            "--prefix (or ROOMCAST_PREFIX): must be a name without braces and colons, not \"a:b\"",
            "--redis (or ROOMCAST_REDIS): must start with redis:// or redis-cluster://",
            "--room (or ROOMCAST_ROOM): ",
            "--trusted-proxy (or ROOMCAST_TRUSTED_PROXY): must be an address or a network",
        ];
        assert_eq!(lines.len(), expected.len(), "{text}");
        for (line, begin) in lines.iter().zip(expected) {
            assert!(line.starts_with(begin), "{line} does not start with {begin}");
        }
        assert!(!text.contains("secret"), "{text}");
    }
}
