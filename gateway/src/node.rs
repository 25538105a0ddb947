//! This node's lease in the cluster. It is renewed until the process ends; when it ran out (a pause, a partition, a
//! wiped store), the node registers as a new incarnation. Run by `app.rs`; rooms and users read the incarnation under
//! which they may write, and `recovery.rs` watches the status of the lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roomcast_ops::Latch;
use roomcast_protocol::BODY_VERSION;
use roomcast_store::{Incarnation, NodeInfo, Peer, Store, StoreError};
use tokio::sync::{Notify, watch};

/// How many renewals are made within the length of a lease.
const RENEWALS: f64 = 3.75;
/// How long after a failure a renewal is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// A handle; clones share the lease.
#[derive(Clone)]
pub(crate) struct Node(Arc<Inner>);

struct Inner {
    info: NodeInfo,
    lease: Duration,
    state: Mutex<LeaseState>,
    sequence: AtomicU64,
    renew_now: Notify,
    status: watch::Sender<LeaseStatus>,
}

/// The current incarnation of a node, the lease of it, and earlier incarnations that are to be sealed.
pub(crate) struct LeaseState {
    incarnation: Incarnation,
    /// By this node's monotonic clock, counted from before the renewal was sent: never later than by the store's clock.
    valid_until: Option<Instant>,
    /// Whether the store has registered the incarnation, or may have.
    maybe_registered: bool,
    /// Earlier incarnations that this node registered, or may have registered, since the last registration that
    /// succeeded: they are sealed with the next one.
    former: Vec<Incarnation>,
}

impl LeaseState {
    pub(crate) fn new() -> Self {
        let (incarnation, former) = (Incarnation::random(), Vec::new());
        Self { incarnation, valid_until: None, maybe_registered: false, former }
    }

    pub(crate) fn current(&self, now: Instant) -> Option<Incarnation> {
        self.valid_until.filter(|until| *until > now).map(|_| self.incarnation.clone())
    }

    /// The lease was renewed until then.
    pub(crate) fn extend(&mut self, until: Instant) {
        self.valid_until = Some(until);
    }

    /// The incarnation to register next, and the earlier ones that are to be sealed with it. One that the store may
    /// have registered is never used again: the answer to its registration may have been lost.
    pub(crate) fn next_incarnation(&mut self) -> (Incarnation, Vec<Incarnation>) {
        self.valid_until = None;
        if std::mem::replace(&mut self.maybe_registered, true) {
            self.former.push(std::mem::replace(&mut self.incarnation, Incarnation::random()));
        }
        (self.incarnation.clone(), self.former.clone())
    }

    /// The registration certainly did not happen: its incarnation may be used for the next attempt.
    pub(crate) fn not_registered(&mut self) {
        self.maybe_registered = false;
    }

    /// The next incarnation was registered, with a lease until then.
    pub(crate) fn registered(&mut self, until: Instant) {
        self.valid_until = Some(until);
        self.former.clear();
    }
}

/// The status of the lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeaseStatus {
    /// How many incarnations were registered.
    pub(crate) registrations: u64,
    /// When the last successful renewal or registration began.
    pub(crate) renewed_at: Option<Instant>,
    /// Set while renewals fail: when the last successful one began.
    pub(crate) unreachable_since: Option<Instant>,
}

impl LeaseStatus {
    /// A renewal or registration that began then succeeded.
    pub(crate) fn renewed(&mut self, begun: Instant, new_incarnation: bool) {
        self.registrations += u64::from(new_incarnation);
        self.renewed_at = Some(begun);
        self.unreachable_since = None;
    }

    /// A renewal or registration failed. True where the last one had succeeded.
    pub(crate) fn failed(&mut self) -> bool {
        let noticed = self.unreachable_since.is_none() && self.renewed_at.is_some();
        self.unreachable_since = self.unreachable_since.or(self.renewed_at);
        noticed
    }
}

impl Node {
    /// `peer` is how other gateways reach this one.
    pub(crate) fn new(name: String, lease: Duration, peer: Option<Peer>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let info = NodeInfo { name, version, peer, body_version: BODY_VERSION };
        let state = Mutex::new(LeaseState::new());
        let (status, _) = watch::channel(LeaseStatus::default());
        let (sequence, renew_now) = (AtomicU64::new(0), Notify::new());
        Self(Arc::new(Inner { info, lease, state, sequence, renew_now, status }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.info.name
    }

    pub(crate) fn lease(&self) -> Duration {
        self.0.lease
    }

    /// The incarnation under which facts may be written; none while there is no valid lease.
    pub(crate) fn current(&self) -> Option<Incarnation> {
        self.0.state.lock().current(Instant::now())
    }

    /// Numbers writes, so that the store can recognise an older one.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.0.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The status of the lease, from the first registration on.
    pub(crate) fn lease_status(&self) -> watch::Receiver<LeaseStatus> {
        self.0.status.subscribe()
    }

    /// Renews the lease now: the store may have lost it.
    pub(crate) fn renew_soon(&self) {
        self.0.renew_now.notify_one();
    }

    /// Registers, then renews. Never returns.
    pub(crate) async fn keep_lease(self, store: Store, registered: Latch) {
        loop {
            let begun = Instant::now();
            let pause = match self.renew_or_register(&store, begun).await {
                Ok(()) => {
                    registered.open();
                    self.0.lease.div_f64(RENEWALS)
                }
                Err(error) => {
                    tracing::debug!(%error, "the lease was not renewed; trying again");
                    self.0.status.send_if_modified(LeaseStatus::failed);
                    RETRY
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until((begun + pause).into()) => {}
                () = self.0.renew_now.notified() => {}
            }
        }
    }

    /// Makes sure that private messages for users of an incarnation are received. The lease does not depend on it.
    async fn listen(&self, store: &Store, incarnation: &Incarnation) {
        if let Err(error) = store.bus.listen(incarnation).await {
            tracing::debug!(%error, "private messages are not received yet; trying again");
        }
    }

    async fn renew_or_register(&self, store: &Store, begun: Instant) -> roomcast_store::Result<()> {
        let lease = self.0.lease;
        if let Some(incarnation) = self.current() {
            if store.nodes.renew(&incarnation, lease).await? {
                self.0.state.lock().extend(begun + lease);
                self.renewed(begun, false);
                self.listen(store, &incarnation).await;
                return Ok(());
            }
            tracing::warn!(?incarnation, "the lease ran out, was sealed, or is unknown to the store");
        }
        let (incarnation, former) = self.0.state.lock().next_incarnation();
        // Before users can be found under it.
        self.listen(store, &incarnation).await;
        let registered = store.nodes.register_after(&former, &incarnation, &self.0.info, lease).await;
        if let Err(error) = registered {
            if matches!(error, StoreError::Unavailable(_)) {
                self.0.state.lock().not_registered();
            }
            return Err(error);
        }
        tracing::info!(?incarnation, "registered");
        self.0.state.lock().registered(begun + lease);
        self.renewed(begun, true);
        Ok(())
    }

    fn renewed(&self, begun: Instant, new_incarnation: bool) {
        self.0.status.send_modify(|status| status.renewed(begun, new_incarnation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_never_reached_the_store_leave_nothing_to_seal() {
        let mut state = LeaseState::new();
        let (first, former) = state.next_incarnation();
        assert!(former.is_empty());
        state.registered(Instant::now());
        let (second, former) = state.next_incarnation();
        assert_eq!(former, std::slice::from_ref(&first));
        for _ in 0..1_000 {
            state.not_registered();
            assert_eq!(state.next_incarnation(), (second.clone(), vec![first.clone()]));
        }
        // This time the answer is lost.
        let (third, former) = state.next_incarnation();
        assert_ne!(third, second);
        assert_eq!(former, [first, second]);
        state.registered(Instant::now());
        assert_eq!(state.next_incarnation().1, [third]);
    }
}
