//! Brings a node back after its lease or the store was lost: the lease first, so that everything is written
//! under an incarnation that the store knows; then names, then rooms. While the store is away graces stand
//! still. Run by `app.rs`.

use std::time::Instant;

use roomcast_ops::Readiness;
use roomcast_store::Health;

use crate::node::{Node, Standing};
use crate::room::Rooms;
use crate::users::Users;

/// What is recovered.
pub(crate) struct Recovery {
    pub(crate) health: Health,
    pub(crate) node: Node,
    pub(crate) users: Users,
    pub(crate) rooms: Rooms,
    pub(crate) readiness: Readiness,
}

impl Recovery {
    /// Never returns.
    pub(crate) async fn run(self) {
        tokio::join!(self.watch_health(), self.recover());
    }

    /// Tells operators, and looks at once what the loss of the connection means for the lease.
    async fn watch_health(&self) {
        let mut health = self.health.watch();
        loop {
            let up = health.borrow_and_update().up;
            self.readiness.degrade("redis", !up && health.borrow().connections > 0);
            if !up {
                self.node.renew_soon();
            }
            if health.changed().await.is_err() {
                // In memory nothing ever changes.
                return;
            }
        }
    }

    async fn recover(&self) {
        let (mut health, mut standing) = (self.health.watch(), self.node.standing());
        let mut connections = health.borrow_and_update().connections;
        let mut before = Standing::default();
        let mut in_memory = false;
        // A connection was made, and the lease was not renewed since.
        let mut reconnected_at: Option<Instant> = None;
        loop {
            tokio::select! {
                changed = standing.changed() => if changed.is_err() {
                    return;
                },
                changed = health.changed(), if !in_memory => in_memory = changed.is_err(),
            }
            let reach = *health.borrow_and_update();
            if reach.up && std::mem::replace(&mut connections, reach.connections) != reach.connections {
                reconnected_at = Some(Instant::now());
                self.node.renew_soon();
            }
            let now = *standing.borrow_and_update();
            match (before.away_since, now.away_since) {
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
            let known_again =
                reconnected_at.is_some_and(|at| now.renewed_at.is_some_and(|renewed| renewed >= at));
            if known_again || now.lives != before.lives {
                reconnected_at = reconnected_at.filter(|_| !known_again);
                self.users.rewrite().await;
                self.rooms.rewrite().await;
            }
            before = now;
        }
    }
}
