//! This node's life in the cluster: one lease, renewed; when it ran out (a pause, a partition, a wiped
//! store) the node goes on as a new incarnation and everything it said is said anew. Called by `app.rs`;
//! rooms and users ask it which incarnation they may write under.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roomcast_ops::Latch;
use roomcast_protocol::BODY_VERSION;
use roomcast_store::{Incarnation, NodeInfo, Peer, Store};
use tokio::sync::watch;

/// The lease is renewed so many times before it would run out.
const RENEWALS: f64 = 3.75;
/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// A handle; clones share the life.
#[derive(Clone)]
pub(crate) struct Node(Arc<Inner>);

struct Inner {
    info: NodeInfo,
    lease: Duration,
    life: Mutex<Life>,
    sequence: AtomicU64,
    reborn: watch::Sender<u64>,
}

struct Life {
    incarnation: Incarnation,
    /// By this node's own monotonic clock, from before the renewal left: never later than the store's.
    valid_until: Option<Instant>,
}

impl Node {
    /// `peer` is how other gateways reach this one.
    pub(crate) fn new(name: String, lease: Duration, peer: Option<Peer>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let info = NodeInfo { name, version, peer, body_version: BODY_VERSION };
        let life = Mutex::new(Life { incarnation: Incarnation::random(), valid_until: None });
        let (reborn, _) = watch::channel(0);
        Self(Arc::new(Inner { info, lease, life, sequence: AtomicU64::new(0), reborn }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.info.name
    }

    pub(crate) fn lease(&self) -> Duration {
        self.0.lease
    }

    /// The incarnation under which facts may be written; none while there is no valid lease.
    pub(crate) fn current(&self) -> Option<Incarnation> {
        let life = self.0.life.lock();
        life.valid_until.filter(|until| *until > Instant::now()).map(|_| life.incarnation.clone())
    }

    /// Numbers writes, so that the store can tell an older one.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.0.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Changes whenever the node goes on as a new incarnation, its first included.
    pub(crate) fn reborn(&self) -> watch::Receiver<u64> {
        self.0.reborn.subscribe()
    }

    /// Registers, then renews for ever.
    pub(crate) async fn keep_lease(self, store: Store, registered: Latch) {
        loop {
            let begun = Instant::now();
            let renewed = self.renew_or_register(&store).await;
            let pause = match renewed {
                Ok(()) => {
                    registered.open();
                    self.0.lease.div_f64(RENEWALS)
                }
                Err(error) => {
                    tracing::debug!(%error, "the lease was not renewed");
                    RETRY
                }
            };
            tokio::time::sleep_until((begun + pause).into()).await;
        }
    }

    async fn renew_or_register(&self, store: &Store) -> roomcast_store::Result<()> {
        let begun = Instant::now();
        let lease = self.0.lease;
        if let Some(incarnation) = self.current() {
            if store.nodes.renew(&incarnation, lease).await? {
                self.0.life.lock().valid_until = Some(begun + lease);
                return Ok(());
            }
            tracing::warn!(?incarnation, "the lease ran out or was sealed");
        }
        // Never an incarnation twice: a registration whose answer was lost may have been seen.
        let incarnation = Incarnation::random();
        store.nodes.register(&incarnation, &self.0.info, lease).await?;
        tracing::info!(?incarnation, "registered");
        *self.0.life.lock() = Life { incarnation, valid_until: Some(begun + lease) };
        self.0.reborn.send_modify(|lives| *lives += 1);
        Ok(())
    }
}
