//! The names of this node's users: their connections, the secret of each owner, what the store has recorded, and which
//! calls to it are due. Pure. Called by `users/mod.rs`, which makes one [`Call`] of a user after the other; a call
//! stays due until the store has accepted it.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use roomcast_protocol::UserName;
use roomcast_store::{Claim, Hold, Incarnation, Secret, StoreError};

use super::stay::{Departure, Stays};

/// A call to the store that is due for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// The user is present: claim the name again, which the store may have lost.
    Reclaim(Secret, Hold),
    /// The user's last connection dropped.
    Grace(Secret),
    /// The user is gone.
    Release(Secret),
}

/// The outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Another owner has the name.
    Taken,
    /// It failed; the store may have executed it.
    Failed,
}

/// Which claim a connection needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimKind {
    /// It may be the return of a connection that dropped on another node.
    Arrival,
    /// It is the return of one that dropped here.
    Return,
}

/// The result of a claim.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Claimed {
    /// The stay that the connection is part of, where the name was granted.
    pub(crate) stay: Option<u64>,
    /// The former owner on this node lost the name and still has connections.
    pub(crate) lost: bool,
}

/// This node's hold on a name, as the store has recorded it.
struct Stored {
    under: Incarnation,
    /// None where a call's outcome is unknown.
    hold: Option<Hold>,
}

struct Owner {
    /// Never used twice: connections of an owner who lost the name do not count for the next owner.
    id: u64,
    secret: Secret,
    stored: Stored,
}

#[derive(Default)]
struct Entry {
    owner: Option<Owner>,
    /// Claims by other secrets whose outcome is unknown and which no connection uses: to be released.
    abandoned: Vec<(Secret, Incarnation)>,
}

pub(crate) struct Registry {
    stays: Stays,
    entries: HashMap<UserName, Entry>,
    /// Users for whom a call may be due.
    out_of_sync: BTreeSet<UserName>,
    next_id: u64,
}

impl Registry {
    pub(crate) fn new(grace: Duration) -> Self {
        let stays = Stays::new(grace, None);
        Self { stays, entries: HashMap::new(), out_of_sync: BTreeSet::new(), next_id: 0 }
    }

    /// How the store should record the user.
    fn desired(&self, user: &UserName) -> Option<Hold> {
        let hold = if self.stays.connections(user) > 0 { Hold::Live } else { Hold::Grace };
        self.stays.is_present(user).then_some(hold)
    }

    /// The common case of a second tab: the user is connected here and the store has recorded it, so no call is needed.
    /// Returns the stay.
    pub(crate) fn arrive_here(
        &mut self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
    ) -> Option<u64> {
        let owner = self.entries.get(user)?.owner.as_ref().filter(|owner| owner.secret == *secret)?;
        let (id, stored) = (owner.id, &owner.stored);
        if stored.under != *node || stored.hold != Some(Hold::Live) || self.stays.connections(user) == 0 {
            return None;
        }
        self.stays.arrive(user);
        Some(id)
    }

    /// Must be called before a claim is sent to the store. If its outcome stays unknown, the name is released.
    pub(crate) fn begin_claim(&mut self, user: &UserName, secret: &Secret, node: &Incarnation) -> ClaimKind {
        let present = self.stays.is_present(user);
        self.out_of_sync.insert(user.clone());
        let entry = self.entries.entry(user.clone()).or_default();
        match entry.owner.as_mut().filter(|owner| owner.secret == *secret) {
            Some(owner) => {
                owner.stored = Stored { under: node.clone(), hold: None };
                if present { ClaimKind::Return } else { ClaimKind::Arrival }
            }
            None => {
                entry.abandoned.push((secret.clone(), node.clone()));
                ClaimKind::Arrival
            }
        }
    }

    /// Takes the store's answer to a claim.
    pub(crate) fn end_claim(
        &mut self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        claim: &Result<Claim, StoreError>,
    ) -> Claimed {
        let entry = self.entries.entry(user.clone()).or_default();
        let nothing_done = matches!(claim, Err(StoreError::Unavailable(_)));
        if claim.is_ok() || nothing_done {
            entry.abandoned.retain(|(abandoned, under)| abandoned != secret || under != node);
        }
        let same = entry.owner.as_ref().is_some_and(|owner| owner.secret == *secret);
        match claim {
            Ok(Claim::Granted { .. }) => {
                let lost = entry.owner.is_some() && !same && self.stays.connections(user) > 0;
                let stored = Stored { under: node.clone(), hold: Some(Hold::Live) };
                let id = match entry.owner.as_mut().filter(|_| same) {
                    Some(owner) => {
                        owner.stored = stored;
                        owner.id
                    }
                    None => {
                        // The former owner was in grace and lost the name, which was open.
                        self.stays.remove(user);
                        self.next_id += 1;
                        entry.owner = Some(Owner { id: self.next_id, secret: secret.clone(), stored });
                        self.next_id
                    }
                };
                self.stays.arrive(user);
                Claimed { stay: Some(id), lost }
            }
            Ok(Claim::Taken(_)) if same => Claimed { stay: None, lost: self.lose(user) },
            Ok(Claim::Taken(_)) | Err(_) => Claimed::default(),
        }
    }

    /// A connection has ended.
    pub(crate) fn depart(&mut self, user: &UserName, stay: u64, how: Departure, now: Instant) {
        if self.is_current(user, stay) {
            self.stays.depart(user, how, now);
            self.out_of_sync.insert(user.clone());
        }
    }

    /// Whether a stay is still the user's: false where the name was lost.
    pub(crate) fn is_current(&self, user: &UserName, stay: u64) -> bool {
        let owner = self.entries.get(user).and_then(|entry| entry.owner.as_ref());
        owner.is_some_and(|owner| owner.id == stay)
    }

    /// The next call that is due for a user. None where the user is in sync.
    pub(crate) fn due(&mut self, user: &UserName, node: &Incarnation) -> Option<Call> {
        let desired = self.desired(user);
        let call = self.entries.get_mut(user).and_then(|entry| {
            // Holds of earlier incarnations are swept with them.
            entry.abandoned.retain(|(_, under)| under == node);
            if let Some((secret, _)) = entry.abandoned.first() {
                return Some(Call::Release(secret.clone()));
            }
            let Owner { secret, stored, .. } = entry.owner.as_ref()?;
            let stored = (stored.under == *node).then_some(stored.hold);
            match (desired, stored) {
                (None, None) => None,
                (None, Some(_)) => Some(Call::Release(secret.clone())),
                (Some(desired), Some(Some(hold))) if desired == hold => None,
                (Some(Hold::Grace), Some(Some(Hold::Live))) => Some(Call::Grace(secret.clone())),
                (Some(hold), _) => Some(Call::Reclaim(secret.clone(), hold)),
            }
        });
        if call.is_none() {
            self.out_of_sync.remove(user);
            if desired.is_none() {
                self.entries.remove(user);
            }
        }
        call
    }

    /// The outcome of a call. True where the owner on this node lost the name and still has connections.
    pub(crate) fn done(
        &mut self,
        user: &UserName,
        call: &Call,
        node: &Incarnation,
        outcome: Outcome,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(user) else { return false };
        let (Call::Reclaim(secret, _) | Call::Grace(secret) | Call::Release(secret)) = call;
        let is_owner = entry.owner.as_ref().is_some_and(|owner| owner.secret == *secret);
        if let Some(owner) = &mut entry.owner {
            // A release for another secret keeps the owner's hold, but may have dropped its index entry.
            owner.stored = Stored { under: node.clone(), hold: None };
        }
        match (call, outcome) {
            (Call::Release(_), Outcome::Done) => {
                entry.abandoned.retain(|(abandoned, _)| abandoned != secret);
                if is_owner && !self.stays.is_present(user) {
                    entry.owner = None;
                }
            }
            (Call::Reclaim(_, hold), Outcome::Done) => self.set_stored(user, *hold, node),
            (Call::Grace(_), Outcome::Done) => self.set_stored(user, Hold::Grace, node),
            (_, Outcome::Taken) => return self.lose(user),
            (_, Outcome::Failed) => {}
        }
        false
    }

    fn set_stored(&mut self, user: &UserName, hold: Hold, node: &Incarnation) {
        if let Some(owner) = self.entries.get_mut(user).and_then(|entry| entry.owner.as_mut()) {
            owner.stored = Stored { under: node.clone(), hold: Some(hold) };
        }
    }

    fn lose(&mut self, user: &UserName) -> bool {
        let connected = self.stays.connections(user) > 0;
        self.stays.remove(user);
        if let Some(entry) = self.entries.get_mut(user) {
            entry.owner = None;
        }
        connected
    }

    /// Ends the graces that are over.
    pub(crate) fn expire(&mut self, now: Instant) {
        let gone = self.stays.expire(now);
        self.out_of_sync.extend(gone);
    }

    /// When the next grace ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.stays.deadline()
    }

    /// The store is unreachable and last answered at `since`.
    pub(crate) fn pause(&mut self, since: Instant) {
        let entries = &self.entries;
        let restored =
            self.stays.pause(since, |user| entries.get(user).is_none_or(|entry| entry.owner.is_none()));
        self.out_of_sync.extend(restored);
    }

    /// The store is reachable again.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.stays.resume(now);
    }

    /// What the store has recorded may have changed: a call is due for every user.
    pub(crate) fn mark_all_unknown(&mut self) {
        for (user, entry) in &mut self.entries {
            if let Some(owner) = &mut entry.owner {
                owner.stored.hold = None;
            }
            self.out_of_sync.insert(user.clone());
        }
    }

    /// Users for whom a call may be due.
    pub(crate) fn out_of_sync(&self) -> Vec<UserName> {
        self.out_of_sync.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
