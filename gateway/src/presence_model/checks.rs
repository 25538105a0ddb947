//! What must hold in the model: after the faults, and when all users and nodes have left.

use std::collections::BTreeSet;
use std::time::Duration;

use super::client::Shown;
use super::{LEASE, World, room};
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
