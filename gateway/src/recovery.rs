//! Recovers a node after it lost its lease or the store lost its data: renews the lease first, so that everything is
//! written under a registered incarnation, then rewrites names, then presence in rooms. Pauses graces while the store
//! is unreachable. Run by `app.rs`.

use std::time::Instant;

use roomcast_ops::Readiness;
use roomcast_store::Health;

use crate::node::{LeaseStatus, Node};
use crate::room::Rooms;
use crate::users::Users;

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
        let mut connections = health.borrow_and_update().connections;
        let mut before = LeaseStatus::default();
        // A connection to the store was made, and the lease has not been renewed since.
        let mut reconnected_at: Option<Instant> = None;
        loop {
            let changed = tokio::select! {
                changed = status.changed() => changed,
                changed = health.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            let redis = *health.borrow_and_update();
            if redis.up && std::mem::replace(&mut connections, redis.connections) != redis.connections {
                reconnected_at = Some(Instant::now());
                self.node.renew_soon();
            }
            let now = *status.borrow_and_update();
            match (before.unreachable_since, now.unreachable_since) {
                (None, Some(since)) => {
                    self.users.pause(since);
                    self.rooms.pause(since).await;
                }
                (Some(_), None) => {
                    self.users.resume();
                    self.rooms.resume().await;
                }
                _ => {}
            }
            let renewed_after_reconnect =
                reconnected_at.is_some_and(|at| now.renewed_at.is_some_and(|renewed| renewed >= at));
            if renewed_after_reconnect || now.registrations != before.registrations {
                reconnected_at = reconnected_at.filter(|_| !renewed_after_reconnect);
                self.users.rewrite().await;
                self.rooms.rewrite().await;
            }
            before = now;
        }
    }
}
