//! A node of the model: the state machines of a gateway, whose calls to the store are made step by step.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use roomcast_protocol::{RoomName, UserName};
use roomcast_store::{
    BusEvent, BusListener, Connectivity, Incarnation, Memory, NodeInfo, Opened, RoomState, Store, StoreError,
};

use super::client::ClientId;
use super::{Fault, GRACE, LEASE, RENEW_EVERY, RETRY, World};
use crate::node::{LeaseState, LeaseStatus};
use crate::recovery::Progress;
use crate::room::state::Room;
use crate::room::{Departure, Write, WriteOutcome};
use crate::users::registry::{Call, Outcome, Registry};

/// The bus events that a node has received.
#[derive(Default)]
pub(super) struct Inbox(pub(super) Mutex<VecDeque<(RoomName, BusEvent)>>);

impl BusListener for Inbox {
    fn on_event(&self, room: &RoomName, event: BusEvent) {
        self.0.lock().push_back((room.clone(), event));
    }

    fn on_gap(&self, _: Option<&RoomName>) {}
}

/// A call of a room to the store, or its result, that waits to be processed.
pub(super) enum Work {
    Open,
    Opened(Option<(Opened, RoomState, Option<Incarnation>)>),
    Close(Vec<Incarnation>),
    Closed,
    Write(Write),
    Wrote(WriteOutcome),
    Read,
    State(Option<RoomState>),
}

pub(super) struct RoomEntry {
    pub(super) room: Room<ClientId>,
    pub(super) wake_at: Option<Instant>,
}

pub(super) struct Node {
    pub(super) store: Store,
    pub(super) inbox: Arc<Inbox>,
    pub(super) lease: LeaseState,
    pub(super) sequence: u64,
    pub(super) registry: Registry,
    /// Calls for names that were executed, with outcomes that the node has not received yet.
    pub(super) calls_in_progress: BTreeMap<UserName, (Call, Incarnation, Outcome)>,
    pub(super) entries: HashMap<RoomName, RoomEntry>,
    pub(super) work: VecDeque<(RoomName, Work)>,
    pub(super) renew_at: Instant,
    pub(super) lease_status: LeaseStatus,
    /// How often it connected to the store.
    pub(super) connections: u64,
    pub(super) recovery: Progress,
    pub(super) missed_events: bool,
    pub(super) frozen_until: Option<Instant>,
}

impl Node {
    pub(super) fn new(memory: &Memory, now: Instant) -> Self {
        let inbox = Arc::<Inbox>::default();
        Self {
            store: memory.node(inbox.clone()),
            inbox,
            lease: LeaseState::new(),
            sequence: 0,
            registry: Registry::new(GRACE),
            calls_in_progress: BTreeMap::new(),
            entries: HashMap::new(),
            work: VecDeque::new(),
            renew_at: now,
            lease_status: LeaseStatus::default(),
            connections: 0,
            recovery: Progress::new(0),
            missed_events: false,
            frozen_until: None,
        }
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

impl World {
    pub(super) fn is_running(&self, node: usize) -> bool {
        self.nodes[node].frozen_until.is_none()
    }

    pub(super) async fn name_call(
        &mut self,
        node: usize,
        user: &UserName,
        call: &Call,
        by: &Incarnation,
    ) -> Outcome {
        let fault = self.next_fault();
        if fault == Fault::NotExecuted {
            return Outcome::Failed;
        }
        let names = self.nodes[node].store.names.clone();
        let granted = match call {
            Call::Reclaim(secret, hold) => {
                names.reclaim(user, secret, by, *hold).await.map(|claim| claim.is_granted())
            }
            Call::Grace(secret) => names.grace(user, secret, by).await.map(|()| true),
            Call::Release(secret) => names.release(user, secret, by).await.map(|()| true),
        };
        match granted {
            _ if fault != Fault::None => Outcome::Failed,
            Ok(true) => Outcome::Done,
            Ok(false) => Outcome::Taken,
            Err(_) => Outcome::Failed,
        }
    }

    pub(super) fn finish_name_call(
        &mut self,
        node: usize,
        user: &UserName,
        call: &Call,
        by: &Incarnation,
        outcome: Outcome,
    ) {
        if self.nodes[node].registry.done(user, call, by, outcome) {
            self.name_lost(node, user);
        }
    }

    pub(super) fn name_lost(&mut self, node: usize, user: &UserName) {
        let mut losers: Vec<_> =
            self.clients.iter().filter(|(_, client)| client.node == node && client.user == *user).collect();
        losers.retain(|(_, client)| !self.nodes[node].registry.is_current(user, client.stay));
        let losers: Vec<_> = losers.into_iter().map(|(id, _)| *id).collect();
        losers.into_iter().for_each(|id| self.disconnect(id, Departure::Dropped));
    }

    /// Does what `Users::sync_locked` does.
    pub(super) async fn sync(&mut self, node: usize, user: &UserName) -> bool {
        loop {
            let Some(by) = self.nodes[node].lease.current(self.now) else { return false };
            let Some(call) = self.nodes[node].registry.due(user, &by) else { return true };
            let outcome = self.name_call(node, user, &call, &by).await;
            self.finish_name_call(node, user, &call, &by, outcome);
            if outcome == Outcome::Failed {
                return false;
            }
        }
    }

    /// Does what `node.rs` does.
    pub(super) async fn renew(&mut self, node: usize) {
        let (begun, store) = (self.now, self.nodes[node].store.clone());
        let (mut answered, mut new_incarnation) = (false, false);
        let mut current = self.nodes[node].lease.current(begun);
        if let Some(by) = &current {
            let fault = self.next_fault();
            let mut renewed = Err(StoreError::Unavailable("down".into()));
            if fault != Fault::NotExecuted {
                renewed = store.nodes.renew(by, LEASE).await;
            }
            match renewed {
                Ok(true) if fault == Fault::None => {
                    answered = true;
                    self.nodes[node].lease.extend(begun + LEASE);
                }
                Ok(false) if fault == Fault::None => current = None,
                _ => {}
            }
        }
        if current.is_none() {
            let (fault, (next, former)) = (self.next_fault(), self.nodes[node].lease.next_incarnation());
            let info = NodeInfo { name: "n".into(), version: "1".into(), peer: None, body_version: 1 };
            let mut registered = Err(StoreError::Unknown("down".into()));
            if fault != Fault::NotExecuted {
                registered = store.nodes.register_after(&former, &next, &info, LEASE).await;
            }
            answered = fault == Fault::None && registered.is_ok();
            new_incarnation = answered;
            if answered {
                self.nodes[node].lease.registered(begun + LEASE);
            } else if matches!(registered, Err(StoreError::Unavailable(_))) {
                self.nodes[node].lease.not_registered();
            }
        }
        let status = &mut self.nodes[node].lease_status;
        if answered {
            status.renewed(begun, new_incarnation);
        } else {
            status.failed();
        }
        self.nodes[node].renew_at = begun + if answered { RENEW_EVERY } else { RETRY };
        self.recover(node);
    }

    /// Does what `recovery.rs` decides.
    fn recover(&mut self, node: usize) {
        let (now, entry) = (self.now, &mut self.nodes[node]);
        let store =
            Connectivity { up: !self.store_down, partial_since: None, connections: entry.connections };
        let steps = entry.recovery.next(store, entry.lease_status, now);
        if steps.renew {
            entry.renew_at = now;
        }
        if let Some(since) = steps.pause {
            entry.registry.pause(since);
            self.each_room(node, |room| room.pause(since, now));
        }
        if steps.resume {
            self.nodes[node].registry.resume(now);
            self.each_room(node, |room| room.resume(now));
        }
        if steps.rewrite {
            self.nodes[node].registry.mark_all_unknown();
            self.each_room(node, |room| room.rewrite(now));
        }
    }

    pub(super) async fn tick(&mut self, node: usize) {
        let now = self.now;
        if self.nodes[node].frozen_until.is_some_and(|until| until > now) {
            return;
        }
        self.nodes[node].frozen_until = None;
        self.recover(node);
        if self.nodes[node].renew_at <= now && !self.renewals_delayed {
            self.renew(node).await;
        }
        self.nodes[node].registry.expire(now);
        for name in self.nodes[node].registry.out_of_sync() {
            if self.nodes[node].calls_in_progress.contains_key(&name) || self.is_delayed(20) {
                continue;
            }
            let Some(by) = self.nodes[node].lease.current(now) else { continue };
            if let Some(call) = self.nodes[node].registry.due(&name, &by) {
                let outcome = self.name_call(node, &name, &call, &by).await;
                self.nodes[node].calls_in_progress.insert(name, (call, by, outcome));
            }
        }
        for (name, (call, by, outcome)) in std::mem::take(&mut self.nodes[node].calls_in_progress) {
            if self.is_delayed(30) {
                self.nodes[node].calls_in_progress.insert(name, (call, by, outcome));
            } else {
                self.finish_name_call(node, &name, &call, &by, outcome);
            }
        }
        for _ in 0..self.nodes[node].work.len() {
            let Some((name, work)) = self.nodes[node].work.pop_front() else { break };
            if self.is_delayed(30) {
                self.nodes[node].work.push_back((name, work));
            } else {
                self.work(node, name, work).await;
            }
        }
        let mut due: Vec<_> = self.nodes[node].entries.iter_mut().collect();
        due.retain(|(_, entry)| entry.wake_at.is_some_and(|at| at <= now));
        let mut due: Vec<RoomName> = due
            .into_iter()
            .map(|(name, entry)| {
                entry.wake_at = None;
                name.clone()
            })
            .collect();
        due.sort();
        due.iter().for_each(|name| self.with(node, name, |room| room.timer(now)));
        self.deliver_events(node);
    }
}
