//! The settings: flags and environment variables, all mistakes reported at once. Called by
//! `main.rs` through `ops::run_main`; tests make a [`Config`] without it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use roomcast_ops::config::{parse_duration, parse_listen, redact_url, url_with_scheme};
use roomcast_ops::trace::TraceArgs;
use roomcast_ops::{LogFormat, Problems, Process};
use roomcast_store::{DEFAULT_PREFIX, parse_prefix};

/// Below this a sweeper would do little but ask Redis.
const MIN_SWEEP_EVERY: Duration = Duration::from_millis(50);
/// Below this a node's renewals could not keep up with a busy Redis.
const MIN_LEASE: Duration = Duration::from_secs(1);

/// The directory of a Roomcast cluster: who is online where. Notices nodes that died and lets their users
/// leave. Run as many as you like.
#[derive(Debug, Parser)]
#[command(name = "roomcast-presence", version, after_help = roomcast_ops::healthcheck::HELP)]
pub struct Args {
    /// Where the directory answers over HTTP; port 0 lets the system choose.
    #[arg(long, env = "ROOMCAST_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:3001", value_parser = parse_listen)]
    listen: SocketAddr,

    /// Where health, metrics and the log level are served. Keep it private.
    #[arg(long, env = "ROOMCAST_ADMIN", value_name = "IP:PORT", default_value = "127.0.0.1:9465", value_parser = parse_listen)]
    admin: SocketAddr,

    /// The Redis of the cluster: redis://[user:password@]host:port[/db], or redis-cluster:// with
    /// ?node=host:port for more nodes. Required.
    // Not clap's `required`: what clap would say of it knows neither the variable nor the reason.
    #[arg(long, env = "ROOMCAST_REDIS", value_name = "URL", hide_env_values = true, value_parser = url_with_scheme(&["redis", "redis-cluster"]))]
    redis: Option<String>,

    /// What stands before every key in Redis, as the gateways are given it.
    #[arg(long, env = "ROOMCAST_PREFIX", default_value = DEFAULT_PREFIX, value_parser = parse_prefix)]
    prefix: String,

    /// The lease of the gateways' nodes, as they are given it: what a dead node left is swept when its
    /// lease has run out, and once more so long after.
    #[arg(long, env = "ROOMCAST_LEASE", value_name = "DURATION", default_value = "15s", value_parser = parse_duration)]
    lease: Duration,

    /// How often to look for nodes whose lease has run out.
    #[arg(long, env = "ROOMCAST_SWEEP_EVERY", value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    sweep_every: Duration,

    /// What to log, such as info,roomcast_presence=debug.
    #[arg(long, env = "ROOMCAST_LOG", value_name = "FILTER", default_value = "info")]
    log: String,

    /// How a log line looks
    #[arg(long, env = "ROOMCAST_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,

    #[command(flatten)]
    traces: TraceArgs,
}

/// Checked settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the directory listens.
    pub listen: SocketAddr,
    /// Where the admin listener listens.
    pub admin: SocketAddr,
    /// The URL of Redis, which may hold a password.
    pub redis: String,
    /// What stands before every key in Redis.
    pub prefix: String,
    /// How long after its sealing a dead node is swept for the second time.
    pub lease: Duration,
    /// How often to look for dead nodes.
    pub sweep_every: Duration,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("admin", &self.admin)
            .field("redis", &redact_url(&self.redis))
            .field("prefix", &self.prefix)
            .field("lease", &self.lease)
            .field("sweep_every", &self.sweep_every)
            .finish()
    }
}

impl Args {
    /// Turns flags into a configuration. `problems` are the mistakes of parsing.
    ///
    /// # Errors
    /// With every mistake, those included.
    pub fn check(self, mut problems: Problems) -> Result<(Process, Config), Problems> {
        let Self { listen, admin, prefix, lease, sweep_every, log: filter, log_format: format, .. } = self;
        problems.relate(
            &["--listen", "--admin"],
            listen != admin || listen.port() == 0,
            "--listen and --admin must differ",
        );
        problems.relate(
            &["--redis"],
            self.redis.is_some(),
            "--redis (or ROOMCAST_REDIS) is required: what the directory knows of the cluster is in its Redis, such \
             as redis://127.0.0.1:6379",
        );
        problems.at_least("--lease", lease, MIN_LEASE);
        problems.at_least("--sweep-every", sweep_every, MIN_SWEEP_EVERY);
        problems.relate(
            &["--lease", "--sweep-every"],
            sweep_every <= lease,
            "--sweep-every must not be longer than --lease: dead users would stay for both",
        );
        let otlp = self.traces.check(&mut problems, None);
        problems.finish()?;
        let redis = self.redis.unwrap_or_default();
        Ok((
            Process { format, filter, workers: None, otlp },
            Config { listen, admin, redis, prefix, lease, sweep_every },
        ))
    }
}

#[cfg(test)]
mod tests {
    use roomcast_ops::config::parse_from;

    use super::*;

    fn check(flags: &[&str]) -> Result<Config, String> {
        let (args, problems) = parse_from::<Args>(std::iter::once(&"p").chain(flags)).unwrap();
        args.check(problems).map(|(_, config)| config).map_err(|problems| problems.to_string())
    }

    #[test]
    fn defaults() {
        let config = check(&["--redis", "redis://h:1"]).unwrap();
        assert_eq!(config.prefix, DEFAULT_PREFIX);
        assert_eq!(
            (config.listen.to_string(), config.admin.to_string(), config.lease, config.sweep_every),
            (
                "127.0.0.1:3001".into(),
                "127.0.0.1:9465".into(),
                Duration::from_secs(15),
                Duration::from_secs(1)
            )
        );
    }

    #[test]
    fn the_prefix_is_that_of_the_gateways() {
        assert_eq!(check(&["--redis=redis://h:1", "--prefix=rc2"]).unwrap().prefix, "rc2");
    }

    #[test]
    fn every_mistake_at_once_and_no_password() {
        let flags = ["--listen=x", "--prefix=a:b", "--lease=0s", "--sweep-every=1ms", "--log-format=xml"];
        let mistakes = check(&flags).unwrap_err();
        for flag in [
            "--listen (or ",
            "--redis (or ",
            "--prefix (or ",
            "--lease must",
            "--sweep-every must",
            "--log-format (or ",
        ] {
            assert!(mistakes.lines().any(|line| line.starts_with(flag)), "{flag} is not in\n{mistakes}");
        }
        let mistakes = check(&["--redis=http://:secret@h"]).unwrap_err();
        assert_eq!(mistakes, "--redis (or ROOMCAST_REDIS): must start with redis:// or redis-cluster://");
    }

    #[test]
    fn settings_that_cannot_go_together() {
        let redis = "--redis=redis://h";
        let same = check(&[redis, "--listen=127.0.0.1:1", "--admin=127.0.0.1:1"]).unwrap_err();
        assert_eq!(same, "--listen and --admin must differ");
        assert!(check(&[redis, "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]).is_ok());
        assert!(
            check(&[redis, "--lease=2s", "--sweep-every=3s"]).unwrap_err().contains("longer than --lease")
        );
    }
}
