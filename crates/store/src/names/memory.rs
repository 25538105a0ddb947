//! Owners of names in memory: the same steps as `lua/name_*.lua`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_protocol::UserName;

use super::{Claim, Hold, Names, Secret};
use crate::capacity::Capacity;
use crate::error::Result;
use crate::inbox::messages::Inboxes;
use crate::nodes::Incarnation;
use crate::person::Person;
use crate::script;

pub(crate) struct MemoryNames {
    owners: Mutex<Owners>,
    inboxes: Arc<Inboxes>,
    capacity: Capacity,
}

/// The owner of each name.
#[derive(Default)]
struct Owners {
    names: HashMap<UserName, Owner>,
    /// Names that an incarnation may hold, for its sweep.
    of_node: HashMap<Incarnation, BTreeSet<UserName>>,
}

struct Owner {
    hash: [u8; 16],
    proved: bool,
    taken_over: bool,
    holders: BTreeMap<Incarnation, Hold>,
}

impl Owners {
    fn claim(
        &mut self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        (hold, arrives): (Hold, bool),
        dead: &[Incarnation],
    ) -> Claim {
        self.of_node.entry(node.clone()).or_default().insert(user.clone());
        let (hash, proved) = (secret.hash, secret.is_proved());
        let new_owner = || Owner { hash, proved, taken_over: false, holders: BTreeMap::new() };
        let owner = self.names.entry(user.clone()).or_insert_with(new_owner);
        owner.holders.retain(|holder, _| !dead.contains(holder));
        if owner.hash != secret.hash {
            // An open name is nobody's once its connection is gone: in grace it is free.
            let counts = |hold: Hold| hold == Hold::Live || owner.proved;
            let holders = owner.holders.iter().filter(|(_, hold)| counts(**hold));
            let holders: Vec<_> = holders.map(|(node, _)| node.clone()).collect();
            if !holders.is_empty() {
                if !owner.holders.contains_key(node) {
                    self.of_node.entry(node.clone()).or_default().remove(user);
                }
                return Claim::Taken(holders);
            }
            *owner = Owner { taken_over: true, ..new_owner() };
        }
        let elsewhere = |(holder, hold): (&Incarnation, &Hold)| {
            (*hold == Hold::Grace && holder != node).then(|| holder.clone())
        };
        if arrives && let Some(returned) = owner.holders.iter().find_map(elsewhere) {
            owner.holders.remove(&returned);
        }
        owner.holders.insert(node.clone(), hold);
        Claim::Granted { inbox: None }
    }

    /// Changes a node's hold to a grace, or removes it; without `secret`, for any owner. False where it had none.
    fn release(&mut self, user: &UserName, secret: Option<&Secret>, node: &Incarnation, grace: bool) -> bool {
        let Some(owner) = self.names.get_mut(user) else { return false };
        if secret.is_some_and(|secret| secret.hash != owner.hash) {
            return false;
        }
        if grace {
            return owner.holders.get_mut(node).map(|hold| *hold = Hold::Grace).is_some();
        }
        let held = owner.holders.remove(node).is_some();
        if owner.holders.is_empty() {
            self.names.remove(user);
        }
        held
    }

    fn sweep(&mut self, node: &Incarnation) -> usize {
        let names: Vec<_> = self.of_node.get(node).into_iter().flatten().cloned().collect();
        names.iter().filter(|user| self.release(user, None, node, false)).count()
    }
}

impl MemoryNames {
    pub(crate) fn new(inboxes: Arc<Inboxes>, capacity: Capacity) -> Self {
        Self { owners: Mutex::default(), inboxes, capacity }
    }

    /// The secret of a name's owner who is online, and where that user is connected: as `Owner` of `redis.rs`.
    pub(crate) fn owner(&self, user: &UserName) -> Option<(Secret, Vec<Incarnation>)> {
        let owners = self.owners.lock();
        let owner = owners.names.get(user)?;
        let live = owner.holders.iter().filter(|(_, hold)| **hold == Hold::Live);
        let live: Vec<_> = live.map(|(node, _)| node.clone()).collect();
        let online = !live.is_empty() || owner.proved && !owner.holders.is_empty();
        online.then(|| (Secret::of_hash(owner.hash, owner.proved), live))
    }

    /// `held NODE USER`, `name NODE USER`.
    pub(crate) fn entries(&self) -> Vec<String> {
        let (owners, mut entries) = (self.owners.lock(), Vec::new());
        for (user, owner) in &owners.names {
            // An owner without a holder must have been removed.
            entries.extend(owner.holders.is_empty().then(|| format!("held by no node {user}")));
            entries.extend(owner.holders.keys().map(|node| format!("held {node:?} {user}")));
        }
        for (node, users) in &owners.of_node {
            entries.extend(users.iter().map(|user| format!("name {node:?} {user}")));
        }
        entries
    }
}

#[async_trait]
impl Names for MemoryNames {
    async fn claim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        dead: &[Incarnation],
    ) -> Result<Claim> {
        self.capacity.check(&script::NAME_CLAIM)?;
        let person = Person { user: user.clone(), secret: secret.clone() };
        let claim = || self.owners.lock().claim(user, secret, node, (Hold::Live, true), dead);
        Ok(match self.inboxes.head_with(&person, claim) {
            (inbox, Claim::Granted { .. }) => Claim::Granted { inbox: Some(inbox) },
            (_, taken) => taken,
        })
    }

    async fn reclaim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        hold: Hold,
    ) -> Result<Claim> {
        self.capacity.check(&script::NAME_CLAIM)?;
        Ok(self.owners.lock().claim(user, secret, node, (hold, false), &[]))
    }

    async fn grace(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()> {
        self.capacity.check(&script::NAME_RELEASE)?;
        self.owners.lock().release(user, Some(secret), node, true);
        Ok(())
    }

    async fn release(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()> {
        let mut owners = self.owners.lock();
        owners.release(user, Some(secret), node, false);
        let holds = owners.names.get(user).is_some_and(|owner| owner.holders.contains_key(node));
        if !holds && let Some(names) = owners.of_node.get_mut(node) {
            names.remove(user);
        }
        Ok(())
    }

    async fn sweep(&self, node: &Incarnation) -> Result<usize> {
        Ok(self.owners.lock().sweep(node))
    }

    async fn forget(&self, node: &Incarnation) -> Result<()> {
        self.owners.lock().of_node.remove(node);
        Ok(())
    }

    async fn online(&self, nodes: &[Incarnation]) -> Result<usize> {
        let owners = self.owners.lock();
        let names: BTreeSet<_> = nodes.iter().filter_map(|node| owners.of_node.get(node)).flatten().collect();
        Ok(names.len())
    }

    async fn was_taken_over(&self, user: &UserName) -> Result<bool> {
        Ok(self.owners.lock().names.get(user).is_some_and(|owner| owner.taken_over))
    }

    async fn is_owner(&self, user: &UserName, secret: &Secret) -> Result<bool> {
        let owns = |owner: &Owner| owner.proved && owner.hash == secret.hash && !owner.holders.is_empty();
        Ok(self.owners.lock().names.get(user).is_some_and(owns))
    }

    async fn holders(&self, user: &UserName) -> Result<Vec<Incarnation>> {
        let owners = self.owners.lock();
        let owner = owners.names.get(user);
        Ok(owner.map(|owner| owner.holders.keys().cloned().collect()).unwrap_or_default())
    }
}
