//! Recovers a node after it lost its lease or the store lost its data: renews the lease first, so that everything is
//! written under a registered incarnation, then rewrites names, then presence in rooms. Pauses graces while the store
//! is unreachable. Run by `app.rs`; [`Progress`] decides, and is pure.

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
    /// A connection to the store was made, and the lease has not been renewed since.
    reconnected_at: Option<Instant>,
}

/// Steps of a recovery, in the order in which they are to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Renew the lease now.
    pub(crate) renew: bool,
    /// The store is unreachable and last answered then: pause graces.
    pub(crate) pause: Option<Instant>,
    /// The store is reachable again: resume graces.
    pub(crate) resume: bool,
    /// The store may have lost names and presence, and the lease was renewed since: write them again.
    pub(crate) rewrite: bool,
}

impl Progress {
    pub(crate) fn new(connections: u64) -> Self {
        Self { connections, lease: LeaseStatus::default(), reconnected_at: None }
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
        Steps {
            renew: reconnected,
            pause: lease.unreachable_since.filter(|_| before.unreachable_since.is_none()),
            resume: before.unreachable_since.is_some() && lease.unreachable_since.is_none(),
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

    /// Reports an unreachable Redis to operators, and renews the lease at once, to see whether it can be renewed.
    async fn watch_health(&self) {
        let mut health = self.health.watch();
        loop {
            let up = health.borrow_and_update().up;
            self.readiness.degrade("redis", !up && health.borrow().connections > 0);
            if !up {
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
