//! When members notice what, with a machine that is fast: the ends of stays, and outages of the store and of nodes.

use std::collections::BTreeSet;

use roomcast_protocol::{RoomName, UserName};

use super::client::ClientId;
use super::{GRACE, LEASE, RENEW_EVERY, SECOND, World, room};
use crate::room::Departure;

/// The names of the observers, on the first node and on the second.
const OBSERVERS: [&str; 2] = ["left", "right"];

impl World {
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

    /// One user on each node, who stays in the room and shows who is there.
    async fn observers(&mut self, name: &RoomName) -> [ClientId; 2] {
        let [first, second] = OBSERVERS.map(|named| UserName::parse(named).unwrap());
        [self.connect_and_join(0, &first, 9, name).await, self.connect_and_join(1, &second, 9, name).await]
    }

    /// When leaves are visible.
    pub(super) async fn check_graces(&mut self) {
        let (name, guest) = (room(0), UserName::parse("guest").unwrap());
        let observers = self.observers(&name).await;
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

    /// What members notice of outages.
    pub(super) async fn check_outages(&mut self) {
        let name = room(0);
        let observers = self.observers(&name).await;
        self.check_full_store(observers, &name).await;
        self.check_without_sweeper(observers, &name).await;
        self.check_wiped_store(observers, &name).await;
        self.check_store_wiped_while_unreachable().await;
    }

    /// The store is out of memory for longer than a lease: nodes keep their leases, and users can leave.
    async fn check_full_store(&mut self, observers: [ClientId; 2], name: &RoomName) {
        let [stays, leaves] = ["guest", "other"].map(|named| UserName::parse(named).unwrap());
        let stays_as = self.connect_and_join(1, &stays, 0, name).await;
        let leaves_as = self.connect_and_join(0, &leaves, 0, name).await;
        self.advance(5 * SECOND).await;
        self.memory.set_full(true);
        self.advance(2 * LEASE).await;
        assert_eq!(self.seen_leaving(observers, &stays), 0, "a node keeps its lease while the store is full");
        self.disconnect(leaves_as, Departure::Left);
        self.advance(4 * SECOND).await;
        assert_eq!(self.seen_leaving(observers, &leaves), 2, "users can leave while the store is full");
        self.check("while the store is full").await;
        self.memory.set_full(false);
        self.disconnect(stays_as, Departure::Left);
        self.advance(5 * SECOND).await;
    }

    /// Without a presence service, a node that lost its lease keeps no fact of its former incarnation.
    async fn check_without_sweeper(&mut self, observers: [ClientId; 2], name: &RoomName) {
        let guest = UserName::parse("guest").unwrap();
        let id = self.connect_and_join(0, &guest, 0, name).await;
        self.advance(5 * SECOND).await;
        self.sweeper_stopped = true;
        self.nodes[0].frozen_until = Some(self.now + LEASE + 2 * SECOND);
        self.advance(LEASE + 8 * SECOND).await;
        let seen = self.seen_leaving(observers, &guest);
        self.disconnect(id, Departure::Left);
        self.advance(4 * SECOND).await;
        assert_eq!(
            self.seen_leaving(observers, &guest),
            seen + 2,
            "a new incarnation removes the facts of the former from its rooms"
        );
        self.sweeper_stopped = false;
        self.advance(2 * LEASE).await;
    }

    /// A wiped store is noticed by the next write in a room, not only by the next renewal.
    async fn check_wiped_store(&mut self, [left, right]: [ClientId; 2], name: &RoomName) {
        let [guest, other] = ["guest", "other"].map(|named| UserName::parse(named).unwrap());
        let guests = [
            self.connect_and_join(0, &guest, 0, name).await,
            self.connect_and_join(0, &other, 0, &room(1)).await,
        ];
        self.longest_step = 100;
        self.advance(2 * SECOND).await;
        self.nodes.iter_mut().for_each(|node| node.renew_at = self.now);
        self.advance(SECOND / 5).await;
        self.wipe().await;
        self.join(guests[1], name);
        self.advance(RENEW_EVERY - 3 * SECOND / 2).await;
        let shown = self.clients[&right].rooms[name].as_ref().unwrap();
        let here = [&self.clients[&left].user, &guest, &other];
        assert!(
            here.iter().all(|user| shown.users.contains(*user)),
            "a write that continues others is refused by a wiped store: {shown:?}"
        );
        self.longest_step = 1_000;
        self.advance(2 * LEASE).await;
        guests.into_iter().for_each(|id| self.disconnect(id, Departure::Left));
        self.advance(5 * SECOND).await;
    }

    /// After an outage nothing is written for an incarnation that the store does not know: it would never be swept.
    async fn check_store_wiped_while_unreachable(&mut self) {
        self.set_store(true);
        self.advance(2 * SECOND).await;
        self.wipe().await;
        self.renewals_delayed = true;
        self.set_store(false);
        for _ in 0..3 {
            self.advance(SECOND).await;
            let entries = self.memory.entries();
            let incarnation = |entry: &String| entry.split(' ').nth(1).unwrap().to_owned();
            let is_known = |entry: &&String| entry.starts_with("lease ") || entry.starts_with("sealed ");
            let known: BTreeSet<_> = entries.iter().filter(is_known).map(incarnation).collect();
            let unknown: Vec<_> =
                entries.iter().filter(|entry| !known.contains(&incarnation(entry))).collect();
            assert!(unknown.is_empty(), "a lease is renewed before anything is written again: {unknown:?}");
        }
        self.renewals_delayed = false;
        self.advance(2 * LEASE).await;
    }
}
