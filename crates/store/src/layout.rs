//! The two layouts of a stored message body: the complete object that `protocol::Body` encodes,
//! and, as the release before wrote it, the same object without `{"v":1,`. Both are read, in the log and
//! on the bus; which one is written depends on who may have to read it. Called by `log/redis.rs`,
//! `envelope.rs` and `redis.rs`, calls the nodes' leases. To be removed one release later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roomcast_protocol::body::{BODY_OPENING, BODY_VERSION};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::health::Health;
use crate::nodes::{NodeLease, Nodes};

/// How often leases are looked at, where the wait is not shorter than that.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The complete object of a body in either layout.
pub(crate) fn read(stored: String) -> String {
    if stored.starts_with('{') { stored } else { format!("{BODY_OPENING}{stored}") }
}

/// The layout that this node writes: the older one until every node with a lease is known to read the
/// complete object.
///
/// An older node that registers later (a rollback, or its deployment scaled up during an upgrade) is noticed
/// by the next look at the leases: after at most [`CHECK_INTERVAL`] and one request. What was written as
/// complete objects until then, or earlier and still in the log, that node leaves out, with an error in its
/// log; it never shows something else instead, and nodes of this release show everything. One that was
/// registered all the time but lost its lease (a pause, a wiped Redis) registers again within a lease, which
/// is what the wait is for: it begins again with every connection, and whenever an older node was seen.
#[derive(Debug, Default)]
pub(crate) struct WriteLayout {
    complete: AtomicBool,
    written: AtomicBool,
    /// Notified with the first body: a process that writes none need not look at leases.
    first_write: Notify,
}

impl WriteLayout {
    /// An encoded body as it is to be written now.
    pub(crate) fn write<'a>(&self, body: &'a str) -> &'a str {
        if self.complete.load(Ordering::Relaxed) {
            return body;
        }
        if !self.written.swap(true, Ordering::Relaxed) {
            self.first_write.notify_one();
        }
        body.strip_prefix(BODY_OPENING).unwrap_or(body)
    }

    fn set(&self, complete: bool) {
        if self.complete.swap(complete, Ordering::Relaxed) != complete {
            tracing::info!(complete, "layout of stored messages changed");
        }
    }

    /// Looks at the leases again and again, from the first body on. Never returns.
    pub(crate) async fn keep(&self, nodes: impl Nodes, health: Health, wait: Duration) {
        self.first_write.notified().await;
        let mut connectivity = health.watch();
        let mut older = OlderNodes { wait, last_seen: Instant::now() };
        let mut connections = 0;
        let interval = (wait / 4).clamp(MIN_CHECK_INTERVAL, CHECK_INTERVAL);
        loop {
            let now = *connectivity.borrow_and_update();
            if now.connections != connections {
                connections = now.connections;
                older.last_seen = Instant::now();
            }
            let leases = if now.up { nodes.list().await.ok() } else { None };
            self.set(leases.is_some_and(|leases| older.are_gone(&leases, Instant::now())));
            tokio::select! {
                () = sleep(interval), if now.up => {}
                // The sender lives as long as the link that `nodes` holds.
                _ = connectivity.changed() => {}
            }
        }
    }
}

/// Decides whether nodes of the older release are gone.
struct OlderNodes {
    wait: Duration,
    /// When one was last seen, or could last have been there unseen.
    last_seen: Instant,
}

impl OlderNodes {
    fn are_gone(&mut self, leases: &[NodeLease], now: Instant) -> bool {
        let holds = |lease: &&NodeLease| !lease.remaining.is_zero();
        // Who says nothing of itself may be anybody.
        let reads =
            |lease: &NodeLease| lease.info.as_ref().is_some_and(|info| info.body_version >= BODY_VERSION);
        if !leases.iter().filter(holds).all(reads) {
            self.last_seen = now;
        }
        now.saturating_duration_since(self.last_seen) >= self.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{Incarnation, NodeInfo};

    fn lease(info: Option<&str>, remaining: u64) -> NodeLease {
        let info = info.map(|json| serde_json::from_str::<NodeInfo>(json).unwrap());
        NodeLease { incarnation: Incarnation::random(), info, remaining: Duration::from_secs(remaining) }
    }

    #[test]
    fn both_layouts_are_read_and_the_older_one_is_written_at_first() {
        let (complete, older) = (r#"{"v":1,"id":"a"}"#, r#""id":"a"}"#);
        assert_eq!(read(complete.into()), complete);
        assert_eq!(read(older.into()), complete);
        let layout = WriteLayout::default();
        assert_eq!(layout.write(complete), older);
        layout.set(true);
        assert_eq!(layout.write(complete), complete);
    }

    #[test]
    fn older_nodes_are_gone_once_none_held_a_lease_for_the_wait() {
        let ours = || lease(Some(r#"{"name":"n","version":"2","body_version":1}"#), 9);
        let later = || lease(Some(r#"{"name":"n","version":"3","body_version":7}"#), 9);
        let older = |remaining| lease(Some(r#"{"name":"n","version":"1"}"#), remaining);
        let (begin, wait) = (Instant::now(), Duration::from_secs(30));
        let mut nodes = OlderNodes { wait, last_seen: begin };
        let mut gone =
            |seconds, leases: &[NodeLease]| nodes.are_gone(leases, begin + Duration::from_secs(seconds));
        assert!(!gone(29, &[]), "one that lost its lease may be about to register");
        assert!(gone(30, &[ours(), later()]));
        assert!(!gone(31, &[ours(), older(5)]));
        assert!(!gone(60, &[ours(), older(0)]), "its lease ran out");
        assert!(gone(61, &[ours(), older(0)]));
        assert!(!gone(62, &[ours(), lease(None, 1)]), "one that says nothing of itself");
        assert!(gone(92, &[]));
    }
}
