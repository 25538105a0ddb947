//! Users with connections on this node: claims their names in the store, which keeps the owner of each name in the
//! cluster, and releases them. Called by `chat/sign_in.rs` when a client connects, by the holder of a [`NameHold`]
//! when it disconnects, and by `recovery.rs`. `registry.rs` decides which calls are due; they are made here.

pub(crate) mod registry;
pub(crate) mod stay;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use roomcast_ops::sleep_until;
use roomcast_protocol::{Code, Position, Refusal, UserName};
use roomcast_store::{Claim, Incarnation, Person, Secret, Store, StoreError};
use tokio::sync::Notify;

use crate::node::Node;
use registry::{Call, ClaimKind, Outcome, Registry};
use stay::Departure;

/// How long a connect waits for an unreachable store before its transport is closed.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a claim is tried again while it is uncertain whether the owner's node is alive.
const HOLDER_RETRY: Duration = Duration::from_millis(500);
/// How long after a failure calls to the store are tried again.
const SYNC_RETRY: Duration = Duration::from_millis(500);

/// About how many users can have calls to the store in progress at once.
const LOCKS: usize = 64;
/// Users whose calls are made at once, where many are out of sync.
const SYNC_AT_ONCE: usize = 64;

/// The time by tokio's clock, which tests advance.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Why a claim of a name failed.
#[derive(Debug)]
pub(crate) enum ClaimError {
    /// Permanently: stock clients do not try again.
    Refused(Refusal),
    /// Temporarily: the transport is closed, and a stock client reconnects by itself.
    RetryLater,
}

/// Called when a user of this node lost the name to another owner: must close all the user's connections.
pub(crate) type OnNameLost = Arc<dyn Fn(&UserName) + Send + Sync>;

/// A handle; clones share the registry.
#[derive(Clone)]
pub(crate) struct Users(Arc<Inner>);

struct Inner {
    store: Store,
    node: Node,
    on_name_lost: OnNameLost,
    registry: Mutex<Registry>,
    /// A grace began, or a call to the store is due.
    changed: Notify,
    /// Calls of one user are made one after the other: a release that overtook a claim would free the name of a
    /// connected user.
    locks: [tokio::sync::Mutex<()>; LOCKS],
}

/// One connection's hold on its user's name. Dropped without [`NameHold::release`], the connection counts as dropped
/// and its grace begins.
pub(crate) struct NameHold {
    users: Users,
    user: UserName,
    secret: Secret,
    stay: u64,
    inbox: Option<ClaimedInbox>,
    released: bool,
}

/// The inbox of a name's owner at the moment of the claim.
#[derive(Debug, Clone)]
pub(crate) struct ClaimedInbox {
    /// The position of the newest message, as [`Claim::Granted`] has it.
    pub(crate) position: Position,
    /// Before the claim: what the bus lost since may concern this inbox.
    pub(crate) since: Instant,
}

/// The result of one claim.
enum Attempt {
    Granted(NameHold),
    Taken(Vec<Incarnation>),
}

impl Users {
    pub(crate) fn new(store: Store, node: Node, grace: Duration, on_name_lost: OnNameLost) -> Self {
        let registry = Mutex::new(Registry::new(grace));
        let locks = std::array::from_fn(|_| tokio::sync::Mutex::new(()));
        Self(Arc::new(Inner { store, node, on_name_lost, registry, changed: Notify::new(), locks }))
    }

    /// Claims a name for one more connection of the owner of the secret.
    pub(crate) async fn claim(&self, user: &UserName, secret: Secret) -> Result<NameHold, ClaimError> {
        self.claim_from(user, secret, Trust::Lease).await
    }

    /// Claims a name for one connection that proves nothing, under a secret of its own. If another node has the name, its
    /// next renewal is awaited: nothing else tells the owner, who reconnects after that node crashed, from another user.
    pub(crate) async fn claim_open(&self, user: &UserName, secret: Secret) -> Result<NameHold, ClaimError> {
        self.claim_from(user, secret, Trust::Renewal(None)).await
    }

    async fn claim_from(
        &self,
        user: &UserName,
        secret: Secret,
        mut trust: Trust,
    ) -> Result<NameHold, ClaimError> {
        let deadline = now() + CLAIM_TIMEOUT + self.0.node.lease();
        let mut dead: Vec<Incarnation> = Vec::new();
        loop {
            match self.try_claim(user, &secret, &dead).await {
                Ok(Attempt::Granted(hold)) => return Ok(hold),
                Ok(Attempt::Taken(holders)) => match self.holder_state(&holders).await {
                    Ok(HolderState::Alive(left))
                        if !self.holds(&holders) && !trust.is_satisfied(left) && now() < deadline =>
                    {
                        tokio::time::sleep(HOLDER_RETRY).await;
                    }
                    Ok(HolderState::Alive(_)) => {
                        let why = format!("{user} is online; choose another name");
                        return Err(ClaimError::Refused(Refusal::new(Code::UsernameTaken, why)));
                    }
                    Ok(HolderState::Dead) => dead = holders,
                    // The owner's node has not renewed its lease lately: wait until it does or the lease runs out.
                    Ok(HolderState::Uncertain) if now() < deadline => {
                        tokio::time::sleep(HOLDER_RETRY).await;
                    }
                    Ok(HolderState::Uncertain) | Err(_) => return Err(ClaimError::RetryLater),
                },
                Err(error) => {
                    tracing::debug!(%error, "a name could not be claimed; trying again while the store is reachable");
                    if !self.0.store.health.wait_up(CLAIM_TIMEOUT).await || now() > deadline {
                        return Err(ClaimError::RetryLater);
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Whether this node, which certainly runs, is among the holders of a name.
    fn holds(&self, holders: &[Incarnation]) -> bool {
        self.0.node.current().is_some_and(|own| holders.contains(&own))
    }

    async fn lock(&self, user: &UserName) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let lock = hasher.finish() as usize % LOCKS;
        #[expect(clippy::indexing_slicing, reason = "a remainder is below its divisor")]
        self.0.locks[lock].lock().await
    }

    fn current(&self) -> Result<Incarnation, StoreError> {
        self.0.node.current().ok_or_else(|| StoreError::Unavailable("this node has no lease".into()))
    }

    /// One claim; where it is granted, the registry has one more connection of the user.
    async fn try_claim(
        &self,
        user: &UserName,
        secret: &Secret,
        dead: &[Incarnation],
    ) -> Result<Attempt, StoreError> {
        let _lock = self.lock(user).await;
        let node = self.current()?;
        // First the calls that are due: the store decides the claim by what it has recorded.
        self.sync_locked(user).await?;
        let arrived = self.0.registry.lock().arrive_here(user, secret, &node);
        if let Some(stay) = arrived {
            return Ok(Attempt::Granted(self.hold(user, secret, (stay, None))));
        }
        let kind = self.0.registry.lock().begin_claim(user, secret, &node);
        // Also where this future is dropped: the store may have granted the name, and a call is due.
        let mut wake = WakeOnDrop(Some(&self.0.changed));
        let (names, since) = (&self.0.store.names, now());
        let claim = match kind {
            ClaimKind::Arrival => names.claim(user, secret, &node, dead).await,
            ClaimKind::Return => names.reclaim(user, secret, &node, roomcast_store::Hold::Live).await,
        };
        let claimed = self.0.registry.lock().end_claim(user, secret, &node, &claim);
        // From now on the connection counts: it must end also where this future is dropped.
        let inbox = match &claim {
            Ok(Claim::Granted { inbox }) => inbox.clone().map(|position| ClaimedInbox { position, since }),
            _ => None,
        };
        let hold = claimed.stay.map(|stay| self.hold(user, secret, (stay, inbox)));
        if claimed.lost {
            self.name_lost(user);
        }
        // Nothing is due, unless the node has another incarnation by now.
        if claim.is_ok() && self.sync_locked(user).await.is_ok() {
            wake.0 = None;
        }
        match (hold, claim?) {
            (Some(hold), _) => Ok(Attempt::Granted(hold)),
            (None, Claim::Taken(holders)) => Ok(Attempt::Taken(holders)),
            (None, Claim::Granted { .. }) => {
                Err(StoreError::Unavailable("the name was lost right after it was granted".into()))
            }
        }
    }

    fn hold(&self, user: &UserName, secret: &Secret, (stay, inbox): (u64, Option<ClaimedInbox>)) -> NameHold {
        let (users, user, secret) = (self.clone(), user.clone(), secret.clone());
        NameHold { users, user, secret, stay, inbox, released: false }
    }

    fn name_lost(&self, user: &UserName) {
        tracing::warn!("another owner claimed the name while this node had no lease; disconnecting the user");
        (self.0.on_name_lost)(user);
    }

    async fn holder_state(&self, holders: &[Incarnation]) -> Result<HolderState, StoreError> {
        let leases = self.0.store.nodes.list().await?;
        let left = |holder: &Incarnation| {
            leases.iter().find(|node| node.incarnation == *holder).map(|node| node.remaining)
        };
        let longest = holders.iter().filter_map(left).max().unwrap_or_default();
        // A running node renews when about a quarter of the lease has passed: half of it is a safe limit.
        Ok(match longest {
            Duration::ZERO => HolderState::Dead,
            left if left < self.0.node.lease() / 2 => HolderState::Uncertain,
            left => HolderState::Alive(left),
        })
    }

    /// Makes the calls to the store that are due for a user.
    async fn sync(&self, user: &UserName) -> Result<(), StoreError> {
        let _lock = self.lock(user).await;
        self.sync_locked(user).await
    }

    async fn sync_locked(&self, user: &UserName) -> Result<(), StoreError> {
        loop {
            let node = self.current()?;
            let due = self.0.registry.lock().due(user, &node);
            let Some(call) = due else { return Ok(()) };
            let names = &self.0.store.names;
            let granted = match &call {
                Call::Reclaim(secret, hold) => {
                    names.reclaim(user, secret, &node, *hold).await.map(|claim| claim.is_granted())
                }
                Call::Grace(secret) => names.grace(user, secret, &node).await.map(|()| true),
                Call::Release(secret) => names.release(user, secret, &node).await.map(|()| true),
            };
            let outcome = match &granted {
                Ok(true) => Outcome::Done,
                Ok(false) => Outcome::Taken,
                Err(_) => Outcome::Failed,
            };
            let lost = self.0.registry.lock().done(user, &call, &node, outcome);
            if lost {
                self.name_lost(user);
            }
            granted?;
        }
    }

    /// Makes the calls that are due for all users that are out of sync. What failed stays due; its first error is
    /// returned once all were tried, so that one user cannot hold up the others and no call is dropped half-way.
    async fn sync_all(&self) -> Result<(), StoreError> {
        let out_of_sync = self.0.registry.lock().out_of_sync();
        let mut syncs =
            stream::iter(out_of_sync).map(async |user| self.sync(&user).await).buffer_unordered(SYNC_AT_ONCE);
        let mut result = Ok(());
        while let Some(synced) = syncs.next().await {
            result = result.and(synced);
        }
        result
    }

    /// Ends graces, and repeats calls to the store that failed. Never returns.
    pub(crate) async fn keep_in_sync(self) {
        let mut retry_at: Option<Instant> = None;
        loop {
            let due = self.0.registry.lock().deadline().into_iter().chain(retry_at).min();
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = sleep_until(due) => {}
            }
            let time = now();
            self.0.registry.lock().expire(time);
            if retry_at.is_some_and(|at| at > time) {
                continue;
            }
            retry_at = self.sync_all().await.err().map(|error| {
                tracing::debug!(%error, "names are not in sync with the store; trying again");
                now() + SYNC_RETRY
            });
        }
    }

    /// The store may have lost names of this node, or keep some that are out of date: claims and releases all again.
    pub(crate) async fn rewrite(&self) {
        self.0.registry.lock().mark_all_unknown();
        let mut wake = WakeOnDrop(Some(&self.0.changed));
        match self.sync_all().await {
            Ok(()) => wake.0 = None,
            Err(error) => tracing::debug!(%error, "not all names were claimed again; trying again"),
        }
    }

    /// The store is unreachable and last answered at `since`: graces are paused.
    pub(crate) fn pause(&self, since: Instant) {
        self.0.registry.lock().pause(since);
    }

    /// The store is reachable again.
    pub(crate) fn resume(&self) {
        self.0.registry.lock().resume(now());
        self.0.changed.notify_one();
    }
}

struct WakeOnDrop<'a>(Option<&'a Notify>);

impl Drop for WakeOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(notify) = self.0 {
            notify.notify_one();
        }
    }
}

/// What shows that the holder of a name is alive.
enum Trust {
    /// Its lease is fresh.
    Lease,
    /// It renews its lease while the claim waits: the time left when it was last read.
    Renewal(Option<Duration>),
}

impl Trust {
    fn is_satisfied(&mut self, left: Duration) -> bool {
        match self {
            Self::Lease => true,
            Self::Renewal(before) => before.replace(left).is_some_and(|before| left > before),
        }
    }
}

enum HolderState {
    /// The longest time left of their leases.
    Alive(Duration),
    Uncertain,
    Dead,
}

impl NameHold {
    /// The user.
    pub(crate) fn user(&self) -> &UserName {
        &self.user
    }

    /// The user as the owner of an inbox.
    pub(crate) fn person(&self) -> Person {
        Person { user: self.user.clone(), secret: self.secret.clone() }
    }

    /// The user's inbox when the name was claimed, where that is known.
    pub(crate) fn take_inbox(&mut self) -> Option<ClaimedInbox> {
        self.inbox.take()
    }

    /// Whether another owner has the name by now.
    pub(crate) fn is_lost(&self) -> bool {
        !self.users.0.registry.lock().is_current(&self.user, self.stay)
    }

    /// The connection has ended.
    pub(crate) async fn release(mut self, how: Departure) {
        self.released = true;
        self.depart(how);
        // To wait for the end of a grace, or to repeat what could not be written, also where this future is dropped.
        let _wake = WakeOnDrop(Some(&self.users.0.changed));
        if let Err(error) = self.users.sync(&self.user).await {
            tracing::debug!(%error, "a user's departure was not written; trying again");
        }
    }

    fn depart(&self, how: Departure) {
        self.users.0.registry.lock().depart(&self.user, self.stay, how, now());
    }
}

impl Drop for NameHold {
    fn drop(&mut self) {
        // The connect was aborted: it counts as a dropped connection, whose grace begins.
        if !self.released {
            self.depart(Departure::Dropped);
            self.users.0.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_renewal_shows_that_the_holder_of_an_open_name_is_alive() {
        let seconds = Duration::from_secs;
        assert!(Trust::Lease.is_satisfied(seconds(14)));
        let mut trust = Trust::Renewal(None);
        for left in [14, 13, 13, 12] {
            assert!(!trust.is_satisfied(seconds(left)), "{left} s left");
        }
        assert!(trust.is_satisfied(seconds(15)));
    }
}
