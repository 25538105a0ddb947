//! Rooms of a node of the model: carries out their effects as `room/worker.rs` and `room/store_tasks.rs` do, and
//! passes bus events to them.

use rand::Rng as _;
use roomcast_protocol::RoomName;
use roomcast_protocol::limits::MAX_LISTED_USERS;
use roomcast_store::{Incarnation, Opened, RoomState};

use super::client::{ClientId, Shown};
use super::node::Work;
use super::{Fault, SECOND, World};
use crate::room::effect::Effect;
use crate::room::state::Room;
use crate::room::{Write, WriteOutcome};

pub(super) type Effects = Vec<Effect<ClientId>>;

impl World {
    pub(super) fn with(
        &mut self,
        node: usize,
        name: &RoomName,
        act: impl FnOnce(&mut Room<ClientId>) -> Effects,
    ) {
        if let Some(entry) = self.nodes[node].entries.get_mut(name) {
            let effects = act(&mut entry.room);
            self.apply_effects(node, name, effects);
        }
    }

    pub(super) fn each_room(&mut self, node: usize, act: impl Fn(&mut Room<ClientId>) -> Effects) {
        let mut names: Vec<_> = self.nodes[node].entries.keys().cloned().collect();
        names.sort();
        names.iter().for_each(|name| self.with(node, name, &act));
    }

    pub(super) fn apply_effects(&mut self, node: usize, name: &RoomName, effects: Effects) {
        for effect in effects {
            let work = match effect {
                Effect::AddMember { pending: client, joined } => {
                    if let Some(shown) =
                        self.clients.get_mut(&client).and_then(|client| client.rooms.get_mut(name))
                    {
                        *shown = Some(Shown::of(&joined.online));
                    }
                    continue;
                }
                Effect::RefuseJoin { pending } => {
                    if let Some(client) = self.clients.get_mut(&pending) {
                        client.rooms.remove(name);
                    }
                    continue;
                }
                Effect::SendPresence(update) => {
                    for client in self.clients.values_mut().filter(|client| client.node == node) {
                        if let Some(Some(shown)) = client.rooms.get_mut(name) {
                            client.seen_leaving.extend(shown.apply(&update));
                        }
                    }
                    continue;
                }
                Effect::WakeAt(at) => {
                    if let Some(entry) = self.nodes[node].entries.get_mut(name) {
                        entry.wake_at = Some(entry.wake_at.map_or(at, |other| other.min(at)));
                    }
                    continue;
                }
                Effect::Drop => {
                    self.nodes[node].entries.remove(name);
                    continue;
                }
                Effect::Open => Work::Open,
                Effect::Close { writers } => Work::Close(writers),
                Effect::Write(write) => Work::Write(write),
                Effect::ReadPresence => Work::Read,
                _ => continue,
            };
            self.nodes[node].work.push_back((name.clone(), work));
        }
    }

    /// Does what `room/store_tasks.rs` does, and passes its results to the room.
    pub(super) async fn work(&mut self, node: usize, name: RoomName, work: Work) {
        let now = self.now;
        let answer = match work {
            Work::Opened(opened) => {
                let unreachable = self.nodes[node].lease_status.unreachable_since;
                return self.with(node, &name, |room| room.opened(opened, unreachable, now));
            }
            Work::Closed => return self.with(node, &name, Room::closed),
            Work::Wrote(outcome) => return self.with(node, &name, |room| room.wrote(outcome, now)),
            Work::State(state) => return self.with(node, &name, |room| room.presence(state, now)),
            Work::Open => Work::Opened(self.open(node, &name).await),
            Work::Close(writers) => {
                self.close(node, &name, writers).await;
                Work::Closed
            }
            Work::Write(write) => Work::Wrote(self.write(node, &name, write).await),
            Work::Read => {
                let (fault, presence) = (self.next_fault(), self.nodes[node].store.presence.clone());
                let state = presence.read(&name, MAX_LISTED_USERS).await.unwrap();
                Work::State((fault == Fault::None).then_some(state))
            }
        };
        self.nodes[node].work.push_back((name, answer));
    }

    pub(super) async fn open(
        &mut self,
        node: usize,
        name: &RoomName,
    ) -> Option<(Opened, RoomState, Option<Incarnation>)> {
        let (fault, store) = (self.next_fault(), self.nodes[node].store.clone());
        if fault == Fault::NotExecuted {
            return None;
        }
        store.bus.subscribe(name).await.unwrap();
        // The index entry of a room that could not be opened is kept until the incarnation ends.
        self.unknown_outcome |= fault != Fault::None;
        let indexed = self.nodes[node].lease.current(self.now);
        if let Some(by) = &indexed {
            store.presence.index(name, by).await.ok()?;
        }
        let opened = store.log.open(name, 10).await.unwrap();
        let state = store.presence.read(name, MAX_LISTED_USERS).await.unwrap();
        (fault == Fault::None).then_some((opened, state, indexed))
    }

    pub(super) async fn close(&mut self, node: usize, name: &RoomName, writers: Vec<Incarnation>) {
        let store = self.nodes[node].store.clone();
        store.bus.unsubscribe(name).await.unwrap();
        for writer in writers {
            let (fault, sequence) = (self.next_fault(), self.nodes[node].next_sequence());
            if fault != Fault::NotExecuted {
                store.presence.close(name, &writer, sequence).await.unwrap();
            } else {
                self.unknown_outcome = true;
            }
        }
    }

    pub(super) async fn write(&mut self, node: usize, name: &RoomName, write: Write) -> WriteOutcome {
        let Some(by) = self.nodes[node].lease.current(self.now) else { return WriteOutcome::NotTried };
        let Some(change) = write.under(&by) else { return WriteOutcome::NotTried };
        let (fault, presence) = (self.next_fault(), self.nodes[node].store.presence.clone());
        if fault == Fault::NotExecuted {
            return WriteOutcome::Failed { under: by, unknown: false };
        }
        if !change.continues && presence.index(name, &by).await.is_err() {
            return WriteOutcome::Failed { under: by, unknown: false };
        }
        let sequence = self.nodes[node].next_sequence();
        if fault == Fault::ExecutedLate {
            let at = self.now + self.random.random_range(1..10) * SECOND;
            self.late_writes.push((at, name.clone(), by.clone(), sequence, change));
            self.unknown_outcome = true;
            return WriteOutcome::Failed { under: by, unknown: true };
        }
        match presence.write(name, &by, sequence, &change).await {
            _ if fault == Fault::AnswerLost => {
                self.unknown_outcome = true;
                WriteOutcome::Failed { under: by, unknown: true }
            }
            Err(_) => WriteOutcome::Failed { under: by, unknown: false },
            Ok(true) => WriteOutcome::Accepted(by),
            Ok(false) => {
                self.nodes[node].renew_at = self.now;
                WriteOutcome::Refused(by)
            }
        }
    }

    pub(super) fn deliver_events(&mut self, node: usize) {
        let now = self.now;
        if std::mem::take(&mut self.nodes[node].missed_events) {
            self.each_room(node, |room| room.gap(now));
        }
        loop {
            if self.is_delayed(10) {
                return;
            }
            let Some((name, event)) = self.nodes[node].inbox.0.lock().pop_front() else { return };
            if self.faults && self.chance(5) {
                self.nodes[node].missed_events = true;
                continue;
            }
            self.with(node, &name, |room| room.on_bus_event(event, now));
        }
    }
}
