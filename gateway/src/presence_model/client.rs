//! Clients of the model: they connect to a node, join rooms, and apply the lists and presence updates that they
//! receive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roomcast_protocol::ack::Online;
use roomcast_protocol::{RoomName, UserName};
use roomcast_store::{Claim, Hold, Incarnation, StoreError};

use super::node::RoomEntry;
use super::{Fault, GRACE, World, secret};
use crate::hub::UserList;
use crate::room::effect::JoinAttempt;
use crate::room::state::Room;
use crate::room::{Departure, PresenceUpdate, RoomTiming};
use crate::users::registry::ClaimKind;

pub(super) type ClientId = u64;

/// What a client shows of a room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shown {
    pub(super) users: BTreeSet<UserName>,
    pub(super) count: usize,
}

pub(super) struct Client {
    pub(super) node: usize,
    pub(super) user: UserName,
    pub(super) secret: u8,
    pub(super) stay: u64,
    /// What it shows of each room; none until the join is answered.
    pub(super) rooms: BTreeMap<RoomName, Option<Shown>>,
    /// Users that it saw leave.
    pub(super) seen_leaving: Vec<UserName>,
}

impl Shown {
    pub(super) fn of(Online { count, users }: &Online<UserList>) -> Self {
        Self { count: *count, users: users.iter().cloned().collect() }
    }

    /// Applies an update; returns who left.
    pub(super) fn apply(&mut self, update: &PresenceUpdate) -> Vec<UserName> {
        match update {
            PresenceUpdate::Snapshot(online) => {
                let next = Self::of(online);
                let left = self.users.difference(&next.users).cloned().collect();
                *self = next;
                left
            }
            PresenceUpdate::Differences { joined, left, count } => {
                self.count = *count;
                self.users.extend(joined.iter().cloned());
                let shown = left.iter().filter(|user| self.users.remove(*user));
                shown.cloned().collect()
            }
        }
    }
}

impl World {
    /// Does what `Users::claim` does, with at most one repetition that drops holders without a lease.
    pub(super) async fn connect(
        &mut self,
        node: usize,
        user: UserName,
        secret_number: u8,
    ) -> Option<ClientId> {
        let secret = secret(secret_number);
        if !self.is_running(node) || self.nodes[node].calls_in_progress.contains_key(&user) {
            return None;
        }
        let mut dead = Vec::new();
        for _ in 0..2 {
            if !self.sync(node, &user).await {
                return None;
            }
            let by = self.nodes[node].lease.current(self.now)?;
            let mut stay = self.nodes[node].registry.arrive_here(&user, &secret, &by);
            if stay.is_none() {
                let kind = self.nodes[node].registry.begin_claim(&user, &secret, &by);
                let (fault, names) = (self.next_fault(), self.nodes[node].store.names.clone());
                let mut claim = Err(StoreError::Unavailable("down".into()));
                if fault != Fault::NotExecuted {
                    claim = match kind {
                        ClaimKind::Arrival => names.claim(&user, &secret, &by, &dead).await,
                        ClaimKind::Return => names.reclaim(&user, &secret, &by, Hold::Live).await,
                    };
                    if fault != Fault::None {
                        claim = Err(StoreError::Unknown("lost".into()));
                    }
                }
                let claimed = self.nodes[node].registry.end_claim(&user, &secret, &by, &claim);
                if claimed.lost {
                    self.name_lost(node, &user);
                }
                stay = claimed.stay;
                if let Ok(Claim::Taken(holders)) = claim {
                    let leases = self.nodes[node].store.nodes.list().await.unwrap();
                    let alive = |holder: &Incarnation| {
                        leases.iter().any(|lease| lease.incarnation == *holder && !lease.remaining.is_zero())
                    };
                    if holders.iter().any(alive) {
                        return None;
                    }
                    dead = holders;
                    continue;
                }
            }
            let stay = stay?;
            self.next_client += 1;
            let client = Client {
                node,
                user,
                secret: secret_number,
                stay,
                rooms: BTreeMap::new(),
                seen_leaving: Vec::new(),
            };
            self.clients.insert(self.next_client, client);
            return Some(self.next_client);
        }
        None
    }

    pub(super) fn disconnect(&mut self, id: ClientId, how: Departure) {
        let rooms: Vec<_> = self.clients[&id].rooms.keys().cloned().collect();
        rooms.into_iter().for_each(|room| self.leave(id, &room, how));
        let client = self.clients.remove(&id).unwrap();
        let now = self.now;
        self.nodes[client.node].registry.depart(&client.user, client.stay, how, now);
    }

    pub(super) fn join(&mut self, id: ClientId, name: &RoomName) {
        let now = self.now;
        let client = self.clients.get_mut(&id).unwrap();
        let (node, user) = (client.node, client.user.clone());
        client.rooms.entry(name.clone()).or_default();
        let timing = RoomTiming { grace: GRACE, touch: Duration::from_secs(3_600) };
        let fresh = || RoomEntry { room: Room::new(name.clone(), timing), wake_at: None };
        let entry = self.nodes[node].entries.entry(name.clone()).or_insert_with(fresh);
        let attempt = JoinAttempt { id, user: Some(user), open_in: None, since: None, limit: 0, pending: id };
        let effects = entry.room.enter(attempt, now);
        self.apply_effects(node, name, effects);
    }

    pub(super) fn leave(&mut self, id: ClientId, name: &RoomName, how: Departure) {
        let now = self.now;
        let client = self.clients.get_mut(&id).unwrap();
        client.rooms.remove(name);
        let node = client.node;
        self.with(node, name, |room| room.leave(id, how, now));
    }
}
