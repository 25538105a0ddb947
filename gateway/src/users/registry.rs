//! The names of this node's users: who is here by which secret, what the store knows of it, and what it is to be
//! told. Pure. Called by `users/mod.rs`, which carries out one [`Call`] of a user after the other; whatever
//! becomes of a call, what the store should know stays due until the store took it.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use roomcast_protocol::UserName;
use roomcast_store::{Claim, Hold, Incarnation, Secret, StoreError};

use super::stay::{Departure, Stays};

/// What the store is to be told of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// They are here: claim the name again, however the store lost it.
    Reclaim(Secret, Hold),
    /// Their last connection dropped.
    Grace(Secret),
    /// They are gone.
    Release(Secret),
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Somebody else has the name.
    Taken,
    /// It failed: perhaps it was done all the same.
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

/// What a claim came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Claimed {
    /// The stay that the connection is part of, where the name was granted.
    pub(crate) stay: Option<u64>,
    /// Those who had the name here lost it, and have connections.
    pub(crate) lost: bool,
}

/// What the store knows of a name, as far as this node can tell.
struct Known {
    under: Incarnation,
    /// None where a call's outcome is unknown.
    hold: Option<Hold>,
}

struct Owner {
    /// Never used twice: connections of an owner who lost the name are not counted for the next.
    id: u64,
    secret: Secret,
    known: Known,
}

#[derive(Default)]
struct Entry {
    owner: Option<Owner>,
    /// Claims of others whose outcome is unknown, and nobody is here by them: to be released.
    abandoned: Vec<(Secret, Incarnation)>,
}

pub(crate) struct Registry {
    stays: Stays,
    entries: HashMap<UserName, Entry>,
    /// Users of whom the store may have to be told something.
    stale: BTreeSet<UserName>,
    next_id: u64,
}

impl Registry {
    pub(crate) fn new(grace: Duration) -> Self {
        let stays = Stays::new(grace, None);
        Self { stays, entries: HashMap::new(), stale: BTreeSet::new(), next_id: 0 }
    }

    /// What the store should know.
    fn desired(&self, user: &UserName) -> Option<Hold> {
        let hold = if self.stays.connections(user) > 0 { Hold::Live } else { Hold::Grace };
        self.stays.is_present(user).then_some(hold)
    }

    /// The common case of a second tab: the user is here already, and the store knows. Answers the stay.
    pub(crate) fn arrive_here(
        &mut self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
    ) -> Option<u64> {
        let owner = self.entries.get(user)?.owner.as_ref().filter(|owner| owner.secret == *secret)?;
        let (id, known) = (owner.id, &owner.known);
        if known.under != *node || known.hold != Some(Hold::Live) || self.stays.connections(user) == 0 {
            return None;
        }
        self.stays.arrive(user);
        Some(id)
    }

    /// Before a claim leaves for the store. Should its outcome never be known, the name is released.
    pub(crate) fn begin_claim(&mut self, user: &UserName, secret: &Secret, node: &Incarnation) -> ClaimKind {
        let present = self.stays.is_present(user);
        self.stale.insert(user.clone());
        let entry = self.entries.entry(user.clone()).or_default();
        match entry.owner.as_mut().filter(|owner| owner.secret == *secret) {
            Some(owner) => {
                owner.known = Known { under: node.clone(), hold: None };
                if present { ClaimKind::Return } else { ClaimKind::Arrival }
            }
            None => {
                entry.abandoned.push((secret.clone(), node.clone()));
                ClaimKind::Arrival
            }
        }
    }

    /// After it.
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
            Ok(Claim::Granted) => {
                let lost = entry.owner.is_some() && !same && self.stays.connections(user) > 0;
                let known = Known { under: node.clone(), hold: Some(Hold::Live) };
                let id = match entry.owner.as_mut().filter(|_| same) {
                    Some(owner) => {
                        owner.known = known;
                        owner.id
                    }
                    None => {
                        // The former owner was in grace, chose no secret, and lost the name.
                        self.stays.remove(user);
                        self.next_id += 1;
                        entry.owner = Some(Owner { id: self.next_id, secret: secret.clone(), known });
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

    /// A connection goes.
    pub(crate) fn depart(&mut self, user: &UserName, stay: u64, how: Departure, now: Instant) {
        if self.is_current(user, stay) {
            self.stays.depart(user, how, now);
            self.stale.insert(user.clone());
        }
    }

    /// Whether a connection's stay is still the user's: not where the name was lost.
    pub(crate) fn is_current(&self, user: &UserName, stay: u64) -> bool {
        let owner = self.entries.get(user).and_then(|entry| entry.owner.as_ref());
        owner.is_some_and(|owner| owner.id == stay)
    }

    /// What the store is to be told of a user next. None, and the user is not stale any more.
    pub(crate) fn due(&mut self, user: &UserName, node: &Incarnation) -> Option<Call> {
        let desired = self.desired(user);
        let call = self.entries.get_mut(user).and_then(|entry| {
            // What earlier incarnations hold is swept with them.
            entry.abandoned.retain(|(_, under)| under == node);
            if let Some((secret, _)) = entry.abandoned.first() {
                return Some(Call::Release(secret.clone()));
            }
            let Owner { secret, known, .. } = entry.owner.as_ref()?;
            let known = (known.under == *node).then_some(known.hold);
            match (desired, known) {
                (None, None) => None,
                (None, Some(_)) => Some(Call::Release(secret.clone())),
                (Some(desired), Some(Some(hold))) if desired == hold => None,
                (Some(Hold::Grace), Some(Some(Hold::Live))) => Some(Call::Grace(secret.clone())),
                (Some(hold), _) => Some(Call::Reclaim(secret.clone(), hold)),
            }
        });
        if call.is_none() {
            self.stale.remove(user);
            if desired.is_none() {
                self.entries.remove(user);
            }
        }
        call
    }

    /// What became of it. True where those who had the name here lost it, and have connections.
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
            // A release for another secret leaves the owner's hold, but may have dropped its index entry.
            owner.known = Known { under: node.clone(), hold: None };
        }
        match (call, outcome) {
            (Call::Release(_), Outcome::Done) => {
                entry.abandoned.retain(|(abandoned, _)| abandoned != secret);
                if is_owner && !self.stays.is_present(user) {
                    entry.owner = None;
                }
            }
            (Call::Reclaim(_, hold), Outcome::Done) => self.set_known(user, *hold, node),
            (Call::Grace(_), Outcome::Done) => self.set_known(user, Hold::Grace, node),
            (_, Outcome::Taken) => return self.lose(user),
            (_, Outcome::Failed) => {}
        }
        false
    }

    fn set_known(&mut self, user: &UserName, hold: Hold, node: &Incarnation) {
        if let Some(owner) = self.entries.get_mut(user).and_then(|entry| entry.owner.as_mut()) {
            owner.known = Known { under: node.clone(), hold: Some(hold) };
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

    /// Ends the graces whose time is up.
    pub(crate) fn expire(&mut self, now: Instant) {
        let gone = self.stays.expire(now);
        self.stale.extend(gone);
    }

    /// When the next grace ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.stays.deadline()
    }

    /// The store is away, and was last heard of then.
    pub(crate) fn pause(&mut self, since: Instant) {
        let entries = &self.entries;
        let given_back =
            self.stays.pause(since, |user| entries.get(user).is_none_or(|entry| entry.owner.is_none()));
        self.stale.extend(given_back);
    }

    /// It is back.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.stays.resume(now);
    }

    /// The store may know something else than it was told: everything is to be told again.
    pub(crate) fn doubt_all(&mut self) {
        for (user, entry) in &mut self.entries {
            if let Some(owner) = &mut entry.owner {
                owner.known.hold = None;
            }
            self.stale.insert(user.clone());
        }
    }

    /// Users of whom the store may have to be told something.
    pub(crate) fn stale(&self) -> Vec<UserName> {
        self.stale.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
