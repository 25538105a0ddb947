//! Users with connections on this node: who may have which name, how many connections each has, and the
//! grace in which a user who vanished may come back. Called by `socket/connect.rs` when a client comes
//! and when it goes; the store keeps who owns a name in the cluster.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roomcast_protocol::{Code, Refusal, UserName};
use roomcast_store::{Claim, Incarnation, Secret, Store, StoreError};
use tokio::sync::Notify;

use crate::node::Node;
use crate::room::Departure;

/// How long a connect waits for a store that cannot be reached before its transport is closed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a name is tried again whose owner's node seems dead.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Users whose claims and releases may be under way at once, about.
const TURNS: usize = 64;

/// Why a client does not get the name.
#[derive(Debug)]
pub(crate) enum NotYours {
    /// For good: stock clients do not try again.
    Refused(Refusal),
    /// For now: its transport is closed, and the stock client tries again by itself.
    Later,
}

/// A handle; clones share the registry.
#[derive(Clone)]
pub(crate) struct Users(Arc<Inner>);

struct Inner {
    store: Store,
    node: Node,
    grace: Duration,
    here: Mutex<Here>,
    vanished: Notify,
    /// One user's claims and releases reach the store one after the other: a release that overtook a
    /// claim would free the name of somebody who is there.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

#[derive(Default)]
struct Here {
    users: HashMap<UserName, Presence>,
    /// Ends of graces, oldest first; one whose user came back is stale.
    graces: VecDeque<(Instant, UserName)>,
}

struct Presence {
    secret: Secret,
    connections: usize,
    grace_until: Option<Instant>,
}

/// A user's hold on a name for one connection; dropped without [`Held::release`], it vanishes into grace.
pub(crate) struct Held {
    users: Users,
    user: UserName,
    secret: Secret,
    released: bool,
}

impl Users {
    pub(crate) fn new(store: Store, node: Node, grace: Duration) -> Self {
        let here = Mutex::default();
        let turns = std::array::from_fn(|_| tokio::sync::Mutex::new(()));
        Self(Arc::new(Inner { store, node, grace, here, vanished: Notify::new(), turns }))
    }

    /// Takes a name for one more connection of whoever has the secret.
    pub(crate) async fn take(&self, user: &UserName, secret: Secret) -> Result<Held, NotYours> {
        self.claim(user, &secret).await?;
        Ok(Held { users: self.clone(), user: user.clone(), secret, released: false })
    }

    async fn turn(&self, user: &UserName) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let turn = hasher.finish() as usize % TURNS;
        #[expect(clippy::indexing_slicing, reason = "a remainder is below its divisor")]
        self.0.turns[turn].lock().await
    }

    /// The common case of a second tab: the user is here already, and the store knows.
    fn take_here(&self, user: &UserName, secret: &Secret) -> bool {
        let mut here = self.0.here.lock();
        let known = here
            .users
            .get_mut(user)
            .filter(|present| present.secret == *secret && present.grace_until.is_none());
        known.is_some_and(|present| {
            present.connections += 1;
            true
        })
    }

    fn settle_here(&self, user: &UserName, secret: &Secret) {
        let mut here = self.0.here.lock();
        let fresh = || Presence { secret: secret.clone(), connections: 0, grace_until: None };
        let present = here.users.entry(user.clone()).or_insert_with(fresh);
        if present.secret != *secret {
            // The former owner was in grace, chose no secret, and lost the name.
            *present = fresh();
        }
        present.connections += 1;
        present.grace_until = None;
    }

    async fn claim(&self, user: &UserName, secret: &Secret) -> Result<(), NotYours> {
        let deadline = Instant::now() + PATIENCE + self.0.node.lease();
        let mut dead: Vec<Incarnation> = Vec::new();
        loop {
            match self.try_claim(user, secret, &dead).await {
                Ok(None) => return Ok(()),
                Ok(Some(holders)) => match self.judge(&holders).await {
                    Ok(Holders::Alive) => {
                        let why = format!("{user} is online; choose another name");
                        return Err(NotYours::Refused(Refusal::new(Code::UsernameTaken, why)));
                    }
                    Ok(Holders::Dead) => dead = holders,
                    // The owner's node does not renew its lease: the answer must wait until it runs out.
                    Ok(Holders::Doubtful) if Instant::now() < deadline => {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                    Ok(Holders::Doubtful) | Err(_) => return Err(NotYours::Later),
                },
                Err(error) => {
                    tracing::debug!(%error, "a name could not be claimed");
                    if !self.0.store.health.wait_up(PATIENCE).await || Instant::now() > deadline {
                        return Err(NotYours::Later);
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// One claim, and the user's place here with it. None: granted. Some: who holds the name.
    async fn try_claim(
        &self,
        user: &UserName,
        secret: &Secret,
        dead: &[Incarnation],
    ) -> Result<Option<Vec<Incarnation>>, StoreError> {
        let _turn = self.turn(user).await;
        if self.take_here(user, secret) {
            return Ok(None);
        }
        match self.ask(user, secret, dead).await? {
            Claim::Taken(holders) => Ok(Some(holders)),
            Claim::Granted => {
                self.settle_here(user, secret);
                Ok(None)
            }
        }
    }

    async fn ask(&self, user: &UserName, secret: &Secret, dead: &[Incarnation]) -> Result<Claim, StoreError> {
        let node = self.0.node.current();
        let node = node.ok_or_else(|| StoreError::Unavailable("this node has no lease".into()))?;
        self.0.store.names.claim(user, secret, &node, dead).await
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

    /// A connection went: one fewer, and the store is told where it was the last.
    async fn depart(&self, user: &UserName, secret: &Secret, how: Departure) {
        if !self.depart_here(user, secret, how) {
            return;
        }
        let _turn = self.turn(user).await;
        let back = self.0.here.lock().users.get(user).is_some_and(|present| present.connections > 0);
        let Some(node) = self.0.node.current().filter(|_| !back) else { return };
        let names = &self.0.store.names;
        let told = match how {
            Departure::Left => names.release(user, secret, &node).await,
            Departure::Vanished => names.grace(user, secret, &node).await,
        };
        if let Err(error) = told {
            // The sweeper lets the name go with the incarnation, and a new claim asks the store anyway.
            tracing::debug!(%error, "a name's owner could not be marked as gone");
        }
    }

    /// Whether that was the user's last connection here.
    fn depart_here(&self, user: &UserName, secret: &Secret, how: Departure) -> bool {
        let mut here = self.0.here.lock();
        let Some(present) = here.users.get_mut(user).filter(|present| present.secret == *secret) else {
            return false;
        };
        present.connections = present.connections.saturating_sub(1);
        if present.connections > 0 {
            return false;
        }
        if how == Departure::Left {
            here.users.remove(user);
        } else {
            let until = Instant::now() + self.0.grace;
            present.grace_until = Some(until);
            here.graces.push_back((until, user.clone()));
            self.0.vanished.notify_one();
        }
        true
    }

    /// Lets go of names whose grace ends. Runs for ever.
    pub(crate) async fn end_graces(self) {
        loop {
            let next = self.0.here.lock().graces.front().map(|(until, _)| *until);
            match next {
                None => self.0.vanished.notified().await,
                Some(until) => tokio::time::sleep_until(until.into()).await,
            }
            for (user, secret) in self.ended(Instant::now()) {
                let _turn = self.turn(&user).await;
                let back = self.0.here.lock().users.contains_key(&user);
                let Some(node) = self.0.node.current().filter(|_| !back) else { continue };
                if let Err(error) = self.0.store.names.release(&user, &secret, &node).await {
                    tracing::debug!(%error, "a name was not let go");
                }
            }
        }
    }

    fn ended(&self, now: Instant) -> Vec<(UserName, Secret)> {
        let mut here = self.0.here.lock();
        let mut ended = Vec::new();
        while let Some((until, user)) = here.graces.pop_front_if(|(until, _)| *until <= now) {
            let over = here.users.get(&user).is_some_and(|present| present.grace_until == Some(until));
            if over && let Some(present) = here.users.remove(&user) {
                ended.push((user, present.secret));
            }
        }
        ended
    }

    /// Claims every name anew, for the node goes on as a new incarnation or the store lost what it knew.
    pub(crate) async fn claim_anew(&self) {
        let here: Vec<(UserName, Secret)> = {
            let here = self.0.here.lock();
            here.users.iter().map(|(user, present)| (user.clone(), present.secret.clone())).collect()
        };
        for (user, secret) in here {
            match self.ask(&user, &secret, &[]).await {
                Ok(Claim::Granted) => {}
                Ok(Claim::Taken(_)) => tracing::warn!("a name was taken while its owner was cut off"),
                Err(error) => {
                    tracing::debug!(%error, "a name was not claimed anew");
                    return;
                }
            }
        }
    }
}

enum Holders {
    Alive,
    Doubtful,
    Dead,
}

impl Held {
    /// Whose name it is.
    pub(crate) fn user(&self) -> &UserName {
        &self.user
    }

    /// The connection went.
    pub(crate) async fn release(mut self, how: Departure) {
        self.released = true;
        self.users.depart(&self.user, &self.secret, how).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A connection that never came to be: its user, if there is no other, is in grace.
        if !self.released {
            self.users.depart_here(&self.user, &self.secret, Departure::Vanished);
        }
    }
}
