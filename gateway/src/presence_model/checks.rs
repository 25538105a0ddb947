//! What must hold in the model: after the faults, about timing, and when all users and nodes have left.

use std::collections::BTreeSet;
use std::time::Duration;

use roomcast_protocol::{RoomName, UserName};

use super::client::{ClientId, Shown};
use super::{GRACE, LEASE, SECOND, World, room};
use crate::room::Departure;

impl World {
    /// Names, presence and what clients show must agree with the clients that exist.
    pub(super) async fn check(&mut self, what: &str) {
        for client in self.clients.values() {
            let rivals = self.clients.values().filter(|other| other.user == client.user);
            for other in rivals {
                assert_eq!(other.secret, client.secret, "{what}: two owners of {}", client.user);
            }
        }
        let nodes = [0, 1].map(|node| self.nodes[node].lease.current(self.now).unwrap());
        let mut expected: BTreeSet<String> = BTreeSet::new();
        for by in &nodes {
            expected.extend([format!("lease {by:?}"), format!("info {by:?}")]);
        }
        for client in self.clients.values() {
            let by = &nodes[client.node];
            expected.extend([format!("held {by:?} {}", client.user), format!("name {by:?} {}", client.user)]);
            for name in client.rooms.keys() {
                expected.insert(format!("fact {by:?} {name} {}", client.user));
                expected.extend([format!("sequence {by:?} {name}"), format!("room {by:?} {name}")]);
            }
        }
        let mut found: BTreeSet<String> = self.memory.entries().into_iter().collect();
        if self.unknown_outcome {
            // Rooms whose last write may still be executed keep entries until the incarnation ends.
            let stays = |entry: &String| {
                (entry.starts_with("sequence ") || entry.starts_with("room "))
                    && nodes.iter().any(|by| entry.contains(by.as_str()))
            };
            found.retain(|entry| expected.contains(entry) || !stays(entry));
        }
        assert_eq!(found, expected, "{what}: the store's entries");
        for number in 0..2 {
            let name = room(number);
            let users: BTreeSet<_> = self
                .clients
                .values()
                .filter(|client| client.rooms.contains_key(&name))
                .map(|client| client.user.clone())
                .collect();
            let expected = Shown { count: users.len(), users };
            for (id, client) in &self.clients {
                if let Some(shown) = client.rooms.get(&name) {
                    assert_eq!(shown.as_ref(), Some(&expected), "{what}: what client {id} shows of {name}");
                }
            }
        }
    }

    /// Connects a user and joins a room, as soon as the node has no call for the name in progress.
    pub(super) async fn connect_and_join(
        &mut self,
        node: usize,
        named: &UserName,
        secret: u8,
        name: &RoomName,
    ) -> ClientId {
        for _ in 0..20 {
            if let Some(id) = self.connect(node, named.clone(), secret).await {
                self.join(id, name);
                return id;
            }
            self.advance(SECOND / 10).await;
        }
        panic!("{named} could not connect to node {node}");
    }

    pub(super) fn seen_leaving(&self, observers: [ClientId; 2], user: &UserName) -> usize {
        let of = |id: &ClientId| self.clients[id].seen_leaving.iter().filter(|seen| *seen == user).count();
        observers.iter().map(of).sum()
    }

    /// Checks when leaves are visible, without faults.
    pub(super) async fn check_timing(&mut self) {
        let (name, guest) = (room(0), UserName::parse("guest").unwrap());
        let observed = ["left", "right"].map(|named| UserName::parse(named).unwrap());
        let observers = [
            self.connect_and_join(0, &observed[0], 9, &name).await,
            self.connect_and_join(1, &observed[1], 9, &name).await,
        ];
        // One tab drops, the other leaves, the first returns.
        let first = self.connect_and_join(0, &guest, 0, &name).await;
        let second = self.connect_and_join(0, &guest, 0, &name).await;
        self.advance(5 * SECOND).await;
        self.disconnect(first, Departure::Dropped);
        self.advance(SECOND).await;
        self.disconnect(second, Departure::Left);
        self.advance(5 * SECOND).await;
        let back = self.connect_and_join(0, &guest, 0, &name).await;
        self.advance(2 * GRACE).await;
        assert_eq!(
            self.seen_leaving(observers, &guest),
            0,
            "a tab that leaves does not end the grace of another"
        );

        // A connection drops, returns on the other node, and leaves.
        self.disconnect(back, Departure::Dropped);
        self.advance(3 * SECOND / 2).await;
        let moved = self.connect_and_join(1, &guest, 0, &name).await;
        self.advance(3 * SECOND / 2).await;
        assert_eq!(self.seen_leaving(observers, &guest), 0, "a move to another node is no leave");
        self.disconnect(moved, Departure::Left);
        self.advance(4 * SECOND).await;
        assert_eq!(
            self.seen_leaving(observers, &guest),
            2,
            "a leave acts at once, wherever the user was before"
        );
        // The grace that began on the first node would not have ended yet.
        let rival = self.connect_and_join(0, &guest, 8, &name).await;
        self.advance(SECOND).await;
        self.disconnect(rival, Departure::Left);
        self.advance(5 * SECOND).await;

        // The store is unreachable while a grace would end.
        let id = self.connect_and_join(0, &guest, 0, &name).await;
        self.advance(5 * SECOND).await;
        let seen = self.seen_leaving(observers, &guest);
        self.disconnect(id, Departure::Dropped);
        self.advance(GRACE / 2).await;
        self.set_store(true);
        self.advance(GRACE).await;
        self.set_store(false);
        self.advance(GRACE / 5).await;
        self.connect_and_join(1, &guest, 0, &name).await;
        self.advance(2 * GRACE).await;
        assert_eq!(
            self.seen_leaving(observers, &guest),
            seen,
            "graces are paused while the store is unreachable"
        );
    }

    /// All clients leave, then both nodes end: the store must be empty.
    pub(super) async fn end(&mut self) {
        let all: Vec<_> = self.clients.keys().copied().collect();
        all.into_iter().for_each(|id| self.disconnect(id, Departure::Left));
        self.advance(Duration::from_secs(20)).await;
        self.check("when all have left").await;
        for node in &mut self.nodes {
            node.frozen_until = Some(self.now + Duration::from_secs(3_600));
        }
        self.advance(3 * LEASE).await;
        assert_eq!(self.memory.entries(), [""; 0], "when both nodes have ended");
    }
}
