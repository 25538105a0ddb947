//! What every process needs: configuration, telemetry, metrics, admin listener, lifecycle.
//!
//! Both binaries call it and it calls none of our crates. It alone installs a tracing subscriber, reads the
//! environment, catches signals and spawns tasks; clippy.toml bans those calls everywhere else.

mod accept;
pub mod admin;
pub mod config;
mod error_body;
pub mod healthcheck;
pub mod lifecycle;
pub mod metrics;
pub mod ready;
mod run;
mod sleep;
pub mod telemetry;
pub mod trace;

pub use accept::accept;
pub use admin::{Admin, AdminHandle};
pub use config::{EXIT_CONFIG, Problems};
pub use error_body::{error_response, method_not_allowed};
pub use lifecycle::{Lifecycle, Outcome};
pub use metrics::{Metrics, MetricsError};
pub use ready::{Latch, Readiness, Report};
pub use run::{Process, run_main};
pub use sleep::sleep_until;
pub use telemetry::{LogFormat, LogLevel, TelemetryError};
pub use tokio_util::sync::CancellationToken;
