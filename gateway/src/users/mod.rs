//! Users with connections on this node: who may have which name, and that the store knows it. Called by
//! `socket/connect.rs` when a client comes and when it goes, and by `recovery.rs`; `registry.rs` decides, here
//! its decisions are carried out. The store keeps who owns a name in the cluster.

pub(crate) mod registry;
pub(crate) mod stay;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use roomcast_protocol::{Code, Refusal, UserName};
use roomcast_store::{Claim, Incarnation, Secret, Store, StoreError};
use tokio::sync::Notify;

use crate::node::Node;
use registry::{Call, ClaimKind, Outcome, Registry};
use stay::Departure;

/// How long a connect waits for a store that cannot be reached before its transport is closed.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a name is tried again whose owner's node seems dead.
const HOLDER_RETRY: Duration = Duration::from_millis(500);
/// When the store is told again what it could not be told.
const SYNC_RETRY: Duration = Duration::from_millis(500);

/// Users whose calls to the store may be under way at once, about.
const LOCKS: usize = 64;
/// Users that the store is told of at once, where it is to be told of many.
const SYNC_AT_ONCE: usize = 64;

/// Why a client does not get the name.
#[derive(Debug)]
pub(crate) enum ClaimError {
    /// For good: stock clients do not try again.
    Refused(Refusal),
    /// For now: its transport is closed, and the stock client tries again by itself.
    RetryLater,
}

/// What is done when a user of this node lost the name to somebody else: all their connections are cut.
pub(crate) type OnNameLost = Arc<dyn Fn(&UserName) + Send + Sync>;

/// A handle; clones share the registry.
#[derive(Clone)]
pub(crate) struct Users(Arc<Inner>);

struct Inner {
    store: Store,
    node: Node,
    on_name_lost: OnNameLost,
    registry: Mutex<Registry>,
    /// Something became due: a grace began, or a call is to be repeated.
    changed: Notify,
    /// One user's calls reach the store one after the other: a release that overtook a claim would free the
    /// name of somebody who is there.
    locks: [tokio::sync::Mutex<()>; LOCKS],
}

/// A user's hold on a name for one connection; dropped without [`NameHold::release`], it vanishes into grace.
pub(crate) struct NameHold {
    users: Users,
    user: UserName,
    stay: u64,
    released: bool,
}

/// What a try to claim a name came to.
enum Attempt {
    Granted(u64),
    Taken(Vec<Incarnation>),
}

impl Users {
    pub(crate) fn new(store: Store, node: Node, grace: Duration, on_name_lost: OnNameLost) -> Self {
        let registry = Mutex::new(Registry::new(grace));
        let locks = std::array::from_fn(|_| tokio::sync::Mutex::new(()));
        Self(Arc::new(Inner { store, node, on_name_lost, registry, changed: Notify::new(), locks }))
    }

    /// Takes a name for one more connection of whoever has the secret.
    pub(crate) async fn take(&self, user: &UserName, secret: Secret) -> Result<NameHold, ClaimError> {
        let deadline = Instant::now() + CLAIM_TIMEOUT + self.0.node.lease();
        let mut dead: Vec<Incarnation> = Vec::new();
        loop {
            match self.try_claim(user, &secret, &dead).await {
                Ok(Attempt::Granted(stay)) => {
                    return Ok(NameHold { users: self.clone(), user: user.clone(), stay, released: false });
                }
                Ok(Attempt::Taken(holders)) => match self.judge(&holders).await {
                    Ok(Holders::Alive) => {
                        let why = format!("{user} is online; choose another name");
                        return Err(ClaimError::Refused(Refusal::new(Code::UsernameTaken, why)));
                    }
                    Ok(Holders::Dead) => dead = holders,
                    // The owner's node does not renew its lease: the answer must wait until it runs out.
                    Ok(Holders::Doubtful) if Instant::now() < deadline => {
                        tokio::time::sleep(HOLDER_RETRY).await;
                    }
                    Ok(Holders::Doubtful) | Err(_) => return Err(ClaimError::RetryLater),
                },
                Err(error) => {
                    tracing::debug!(%error, "a name could not be claimed");
                    if !self.0.store.health.wait_up(CLAIM_TIMEOUT).await || Instant::now() > deadline {
                        return Err(ClaimError::RetryLater);
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
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

    /// One claim, and the user's place here with it.
    async fn try_claim(
        &self,
        user: &UserName,
        secret: &Secret,
        dead: &[Incarnation],
    ) -> Result<Attempt, StoreError> {
        let _lock = self.lock(user).await;
        let node = self.current()?;
        // First what is due of those who are here, or were: the claim is judged by what the store knows.
        self.sync_locked(user).await?;
        let arrived = self.0.registry.lock().arrive_here(user, secret, &node);
        if let Some(stay) = arrived {
            return Ok(Attempt::Granted(stay));
        }
        let kind = self.0.registry.lock().begin_claim(user, secret, &node);
        // However this ends, and be it by being dropped: the store may have granted the name.
        let mut wake = WakeOnDrop(Some(&self.0.changed));
        let names = &self.0.store.names;
        let claim = match kind {
            ClaimKind::Arrival => names.claim(user, secret, &node, dead).await,
            ClaimKind::Return => names.reclaim(user, secret, &node, roomcast_store::Hold::Live).await,
        };
        let claimed = self.0.registry.lock().end_claim(user, secret, &node, &claim);
        if claimed.lost {
            self.name_lost(user);
        }
        // Nothing, unless the node goes on as another incarnation by now.
        if claim.is_ok() && self.sync_locked(user).await.is_ok() {
            wake.0 = None;
        }
        match (claimed.stay, claim?) {
            (Some(stay), _) => Ok(Attempt::Granted(stay)),
            (None, Claim::Taken(holders)) => Ok(Attempt::Taken(holders)),
            (None, Claim::Granted) => Err(StoreError::Unavailable("the name was lost at once".into())),
        }
    }

    fn name_lost(&self, user: &UserName) {
        tracing::warn!("a name was taken while its owner's node had no lease; the owner is disconnected");
        (self.0.on_name_lost)(user);
    }

    async fn judge(&self, holders: &[Incarnation]) -> Result<Holders, StoreError> {
        let leases = self.0.store.nodes.list().await?;
        let left = |holder: &Incarnation| {
            leases.iter().find(|node| node.incarnation == *holder).map(|node| node.remaining)
        };
        let longest = holders.iter().filter_map(left).max().unwrap_or_default();
        // A living node's lease is never less than three quarters whole, give or take a slow renewal.
        Ok(match longest {
            Duration::ZERO => Holders::Dead,
            left if left < self.0.node.lease() / 2 => Holders::Doubtful,
            _ => Holders::Alive,
        })
    }

    /// Tells the store what it should know of a user.
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
            let answer = match &call {
                Call::Reclaim(secret, hold) => names.reclaim(user, secret, &node, *hold).await,
                Call::Grace(secret) => names.grace(user, secret, &node).await.map(|()| Claim::Granted),
                Call::Release(secret) => names.release(user, secret, &node).await.map(|()| Claim::Granted),
            };
            let outcome = match &answer {
                Ok(Claim::Granted) => Outcome::Done,
                Ok(Claim::Taken(_)) => Outcome::Taken,
                Err(_) => Outcome::Failed,
            };
            let lost = self.0.registry.lock().done(user, &call, &node, outcome);
            if lost {
                self.name_lost(user);
            }
            answer?;
        }
    }

    /// Tells the store what it should know of everybody of whom it may know something else. Stops at the first
    /// failure: what is left stays due.
    async fn sync_stale(&self) -> Result<(), StoreError> {
        let stale = self.0.registry.lock().stale();
        let mut syncs =
            stream::iter(stale).map(async |user| self.sync(&user).await).buffer_unordered(SYNC_AT_ONCE);
        while let Some(synced) = syncs.next().await {
            synced?;
        }
        Ok(())
    }

    /// Ends graces, and repeats what the store could not be told. Runs for ever.
    pub(crate) async fn keep_in_sync(self) {
        let mut retry_at: Option<Instant> = None;
        loop {
            let due = self.0.registry.lock().deadline().into_iter().chain(retry_at).min();
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = sleep_until(due) => {}
            }
            let now = Instant::now();
            self.0.registry.lock().expire(now);
            if retry_at.is_some_and(|at| at > now) {
                continue;
            }
            retry_at = self.sync_stale().await.err().map(|error| {
                tracing::debug!(%error, "names are not in sync with the store; trying again");
                Instant::now() + SYNC_RETRY
            });
        }
    }

    /// The store may know something else of this node than is true: says everything anew.
    pub(crate) async fn rewrite(&self) {
        self.0.registry.lock().doubt_all();
        if let Err(error) = self.sync_stale().await {
            tracing::debug!(%error, "names were not all claimed anew; trying again");
            self.0.changed.notify_one();
        }
    }

    /// The store is away, and was last heard of then: graces stand still.
    pub(crate) fn pause(&self, since: Instant) {
        self.0.registry.lock().pause(since);
    }

    /// The store is back.
    pub(crate) fn resume(&self) {
        self.0.registry.lock().resume(Instant::now());
        self.0.changed.notify_one();
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
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

enum Holders {
    Alive,
    Doubtful,
    Dead,
}

impl NameHold {
    /// Whose name it is.
    pub(crate) fn user(&self) -> &UserName {
        &self.user
    }

    /// Whether somebody else took the name meanwhile.
    pub(crate) fn is_lost(&self) -> bool {
        !self.users.0.registry.lock().is_current(&self.user, self.stay)
    }

    /// The connection went.
    pub(crate) async fn release(mut self, how: Departure) {
        self.released = true;
        self.depart(how);
        if let Err(error) = self.users.sync(&self.user).await {
            tracing::debug!(%error, "a user's departure was not written; trying again");
        }
        // For the grace, or for what could not be written.
        self.users.0.changed.notify_one();
    }

    fn depart(&self, how: Departure) {
        self.users.0.registry.lock().depart(&self.user, self.stay, how, Instant::now());
    }
}

impl Drop for NameHold {
    fn drop(&mut self) {
        // A connection that never came to be: its user, if there is no other, is in grace.
        if !self.released {
            self.depart(Departure::Dropped);
            self.users.0.changed.notify_one();
        }
    }
}
