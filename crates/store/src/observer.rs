//! What the store reports for metrics: each request to Redis, and whether the bus delivers. Called by `link.rs`
//! and `bus/redis.rs`; implemented by the telemetry of the gateway and of the presence service. The memory
//! implementations report nothing.

use std::time::Duration;

use crate::error::StoreError;

/// Kinds of requests to Redis: a closed set, for labels. Scripts have one each, in `script.rs`. `publish_ephemeral`
/// includes the heartbeats of the bus, what is sent to the nodes of a private message, and what gateways tell each other.
pub(crate) const OPERATIONS: &[&str] = &[
    "publish",
    "history",
    "touch",
    "private_message",
    "inbox",
    "presence_write",
    "presence_sweep",
    "presence_read",
    "name_claim",
    "name_release",
    "image_write",
    "image_read",
    "renew",
    "seal",
    "nodes",
    "publish_ephemeral",
    "index",
    "list",
    "slots",
    "other",
];

/// Kinds of failures of Redis: those labels of [`StoreError`] that are no answer to a request.
pub const FAILURES: &[&str] = &["unavailable", "unknown", "corrupt"];

/// Receives the reports. Every method does nothing unless it is implemented, and must not block.
pub trait Observer: Send + Sync {
    /// A request was answered, or failed, after so long; one without a duration was refused before it was sent.
    fn request(&self, operation: &'static str, took: Option<Duration>, failed: Option<&StoreError>) {
        let _ = (operation, took, failed);
    }

    /// The bus brought a message of a room.
    fn bus_message(&self) {}

    /// The heartbeat through the bus came back, after so long; or it did not.
    fn bus_heartbeat(&self, round_trip: Option<Duration>) {
        let _ = round_trip;
    }

    /// Every room is subscribed again, so long after the connection of the bus was lost.
    fn resubscribed(&self, took: Duration) {
        let _ = took;
    }
}

/// Ignores every report.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// The operation that a single command is counted under; scripts have theirs.
pub(crate) fn operation_of(command: &redis::Cmd) -> &'static str {
    let Some(redis::Arg::Simple(name)) = command.args_iter().next() else { return "other" };
    match name {
        b"SPUBLISH" | b"PUBLISH" => "publish_ephemeral",
        b"SADD" | b"SREM" | b"ZADD" | b"ZREM" => "index",
        b"SMEMBERS" | b"SSCAN" | b"HLEN" | b"HKEYS" | b"HGETALL" | b"HSCAN" | b"EXISTS" | b"ZSCORE"
        | b"ZRANGEBYLEX" => "list",
        b"CLUSTER" => "slots",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_in_the_set() {
        for (command, operation) in
            [("SPUBLISH", "publish_ephemeral"), ("ZREM", "index"), ("SSCAN", "list"), ("PING", "other")]
        {
            assert_eq!(operation_of(redis::cmd(command).arg("key")), operation);
            assert!(OPERATIONS.contains(&operation));
        }
        assert!(crate::script::ALL.iter().all(|script| OPERATIONS.contains(&script.operation())));
    }
}
