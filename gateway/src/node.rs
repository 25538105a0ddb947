//! This node's lease in the cluster: renewed for ever; when it ran out (a pause, a partition, a wiped store) the
//! node goes on as a new incarnation. Called by `app.rs`; rooms and users ask it which incarnation they may
//! write under, and `recovery.rs` follows how it stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roomcast_ops::Latch;
use roomcast_protocol::BODY_VERSION;
use roomcast_store::{Incarnation, NodeInfo, Peer, Store};
use tokio::sync::{Notify, watch};

/// The lease is renewed so many times before it would run out.
const RENEWALS: f64 = 3.75;
/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// A handle; clones share the lease.
#[derive(Clone)]
pub(crate) struct Node(Arc<Inner>);

struct Inner {
    info: NodeInfo,
    lease: Duration,
    life: Mutex<Life>,
    sequence: AtomicU64,
    renew_now: Notify,
    standing: watch::Sender<Standing>,
}

/// The incarnations of a node, one after the other.
pub(crate) struct Life {
    incarnation: Incarnation,
    /// By this node's own monotonic clock, from before the renewal left: never later than the store's.
    valid_until: Option<Instant>,
    /// Incarnations that this node was, or may have registered as, since its last registration: to be sealed
    /// with the next.
    former: Vec<Incarnation>,
}

impl Life {
    pub(crate) fn new() -> Self {
        Self { incarnation: Incarnation::random(), valid_until: None, former: Vec::new() }
    }

    pub(crate) fn current(&self, now: Instant) -> Option<Incarnation> {
        self.valid_until.filter(|until| *until > now).map(|_| self.incarnation.clone())
    }

    /// The lease is as long as this.
    pub(crate) fn extend(&mut self, until: Instant) {
        self.valid_until = Some(until);
    }

    /// Ends the incarnation; answers the next, never one twice, for a registration whose answer was lost may
    /// have been seen, and all the earlier ones that are to be sealed with its registration.
    pub(crate) fn succeed(&mut self) -> (Incarnation, Vec<Incarnation>) {
        let next = Incarnation::random();
        let ended = std::mem::replace(&mut self.incarnation, next.clone());
        if self.valid_until.take().is_some() || !self.former.is_empty() {
            self.former.push(ended);
        }
        (next, self.former.clone())
    }

    /// The next is registered.
    pub(crate) fn registered(&mut self, until: Instant) {
        self.valid_until = Some(until);
        self.former.clear();
    }
}

/// How the node stands with the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many incarnations it was.
    pub(crate) lives: u64,
    /// When the last renewal began that the store answered.
    pub(crate) renewed_at: Option<Instant>,
    /// Since when it does not answer: when the last renewal that it answered began.
    pub(crate) away_since: Option<Instant>,
}

impl Node {
    /// `peer` is how other gateways reach this one.
    pub(crate) fn new(name: String, lease: Duration, peer: Option<Peer>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let info = NodeInfo { name, version, peer, body_version: BODY_VERSION };
        let life = Mutex::new(Life::new());
        let (standing, _) = watch::channel(Standing::default());
        let (sequence, renew_now) = (AtomicU64::new(0), Notify::new());
        Self(Arc::new(Inner { info, lease, life, sequence, renew_now, standing }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.info.name
    }

    pub(crate) fn lease(&self) -> Duration {
        self.0.lease
    }

    /// The incarnation under which facts may be written; none while there is no valid lease.
    pub(crate) fn current(&self) -> Option<Incarnation> {
        self.0.life.lock().current(Instant::now())
    }

    /// Numbers writes, so that the store can tell an older one.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.0.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How the node stands with the store, from its first registration on.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// Renews the lease now: the store may have lost it.
    pub(crate) fn renew_soon(&self) {
        self.0.renew_now.notify_one();
    }

    /// Registers, then renews for ever.
    pub(crate) async fn keep_lease(self, store: Store, registered: Latch) {
        loop {
            let begun = Instant::now();
            let pause = match self.renew_or_register(&store, begun).await {
                Ok(()) => {
                    registered.open();
                    self.0.lease.div_f64(RENEWALS)
                }
                Err(error) => {
                    tracing::debug!(%error, "the lease was not renewed");
                    self.0.standing.send_if_modified(|standing| {
                        let noticed = standing.away_since.is_none() && standing.renewed_at.is_some();
                        standing.away_since = standing.away_since.or(standing.renewed_at);
                        noticed
                    });
                    RETRY
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until((begun + pause).into()) => {}
                () = self.0.renew_now.notified() => {}
            }
        }
    }

    async fn renew_or_register(&self, store: &Store, begun: Instant) -> roomcast_store::Result<()> {
        let lease = self.0.lease;
        if let Some(incarnation) = self.current() {
            if store.nodes.renew(&incarnation, lease).await? {
                self.0.life.lock().extend(begun + lease);
                self.answered(begun, false);
                return Ok(());
            }
            tracing::warn!(?incarnation, "the lease ran out, was sealed, or is unknown to the store");
        }
        let (incarnation, former) = self.0.life.lock().succeed();
        store.nodes.register_after(&former, &incarnation, &self.0.info, lease).await?;
        tracing::info!(?incarnation, "registered");
        self.0.life.lock().registered(begun + lease);
        self.answered(begun, true);
        Ok(())
    }

    fn answered(&self, begun: Instant, new_incarnation: bool) {
        self.0.standing.send_modify(|standing| {
            standing.lives += u64::from(new_incarnation);
            standing.renewed_at = Some(begun);
            standing.away_since = None;
        });
    }
}
