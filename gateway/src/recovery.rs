//! Recovers a node after it lost its lease or the store lost its data: renews the lease first, so that everything is
//! written under a registered incarnation, then rewrites names, then presence in rooms. Pauses graces while the store,
//! or a part of it, is unreachable. Run by `app.rs`; [`Progress`] decides, and is pure.

use std::time::Instant;

use roomcast_ops::Readiness;
use roomcast_store::{Connectivity, Health};

use crate::node::{LeaseStatus, Node};
use crate::room::Rooms;
use crate::users::Users;

/// What a recovery has to do next, by what happened to the connection to the store and to the lease.
pub(crate) struct Progress {
    /// How often the store was connected to.
    connections: u64,
    lease: LeaseStatus,
    /// Graces are paused.
    paused: bool,
    /// A connection to the store was made, and the lease has not been renewed since.
    reconnected_at: Option<Instant>,
}

/// Steps of a recovery, in the order in which they are to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Renew the lease now.
    pub(crate) renew: bool,
    /// The store, or a node of a cluster, is unreachable and last answered then: pause graces. Which names a node of a
    /// cluster has is not known here.
    pub(crate) pause: Option<Instant>,
    /// All of the store is reachable again: resume graces.
    pub(crate) resume: bool,
    /// The store may have lost names and presence, and the lease was renewed since: write them again.
    pub(crate) rewrite: bool,
}

impl Progress {
    pub(crate) fn new(connections: u64) -> Self {
        Self { connections, lease: LeaseStatus::default(), paused: false, reconnected_at: None }
    }

    pub(crate) fn next(&mut self, store: Connectivity, lease: LeaseStatus, now: Instant) -> Steps {
        let before = std::mem::replace(&mut self.lease, lease);
        let reconnected =
            store.up && std::mem::replace(&mut self.connections, store.connections) != store.connections;
        if reconnected {
            self.reconnected_at = Some(now);
        }
        let renewed_at = lease.renewed_at;
        let renewed = self.reconnected_at.is_some_and(|at| renewed_at.is_some_and(|renewed| renewed >= at));
        if renewed {
            self.reconnected_at = None;
        }
        let unreachable_since = lease.unreachable_since.or(store.partial_since);
        let paused = std::mem::replace(&mut self.paused, unreachable_since.is_some());
        Steps {
            renew: reconnected,
            pause: unreachable_since.filter(|_| !paused),
            resume: paused && unreachable_since.is_none(),
            rewrite: renewed || lease.registrations != before.registrations,
        }
    }
}

/// The parts of the node that take part in a recovery.
pub(crate) struct Recovery {
    pub(crate) health: Health,
    pub(crate) node: Node,
    pub(crate) users: Users,
    pub(crate) rooms: Rooms,
    pub(crate) readiness: Readiness,
}

impl Recovery {
    /// Runs until the store stops.
    pub(crate) async fn run(self) {
        tokio::join!(self.watch_health(), self.recover());
    }

    /// Reports a Redis of which a part is unreachable to operators, and renews the lease at once, to see whether it can be renewed.
    async fn watch_health(&self) {
        let mut health = self.health.watch();
        loop {
            let store = *health.borrow_and_update();
            self.readiness.degrade("redis", !store.is_whole() && store.connections > 0);
            if !store.up {
                self.node.renew_soon();
            }
            if health.changed().await.is_err() {
                // The store has stopped.
                return;
            }
        }
    }

    async fn recover(&self) {
        let (mut health, mut status) = (self.health.watch(), self.node.lease_status());
        let mut progress = Progress::new(health.borrow_and_update().connections);
        loop {
            let changed = tokio::select! {
                changed = status.changed() => changed,
                changed = health.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            let (store, lease) = (*health.borrow_and_update(), *status.borrow_and_update());
            let steps = progress.next(store, lease, Instant::now());
            if steps.renew {
                self.node.renew_soon();
            }
            if let Some(since) = steps.pause {
                self.users.pause(since);
                self.rooms.pause(since).await;
            }
            if steps.resume {
                self.users.resume();
                self.rooms.resume().await;
            }
            if steps.rewrite {
                self.users.rewrite().await;
                self.rooms.rewrite().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn graces_are_paused_until_every_node_of_a_cluster_answers() {
        let (mut progress, now) = (Progress::new(1), Instant::now());
        let later = now + Duration::from_secs(9);
        let mut lease = LeaseStatus::default();
        lease.renewed(now, false);
        let whole = Connectivity { up: true, partial_since: None, connections: 1 };
        assert_eq!(progress.next(whole, lease, now), Steps::default());
        let partial = Connectivity { partial_since: Some(now), ..whole };
        assert_eq!(progress.next(partial, lease, later), Steps { pause: Some(now), ..Steps::default() });
        assert_eq!(progress.next(partial, lease, later), Steps::default());
        // The node of the lease fails, too, and returns first.
        lease.failed();
        assert_eq!(progress.next(partial, lease, later), Steps::default());
        lease.renewed(later, false);
        assert_eq!(progress.next(partial, lease, later), Steps::default());
        let whole = Connectivity { connections: 2, ..whole };
        let steps = progress.next(whole, lease, later);
        assert_eq!(steps, Steps { renew: true, resume: true, rewrite: true, ..Steps::default() });
    }
}
