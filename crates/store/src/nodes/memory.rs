//! Leases in memory, step by step what `lua/node_*.lua` do, and the sweep.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Incarnation, NodeInfo, NodeLease, Nodes, SWEEP_STEP, Sealed, Swept};
use crate::error::Result;
use crate::memory::{Memory, State};

pub(crate) struct MemoryNodes(pub(crate) Memory);

/// Who lives, and who is known to be dead.
#[derive(Default)]
pub(crate) struct Leases {
    ends: BTreeMap<Incarnation, Instant>,
    sealed: BTreeMap<Incarnation, Instant>,
    info: BTreeMap<Incarnation, NodeInfo>,
}

#[async_trait]
impl Nodes for MemoryNodes {
    async fn register(&self, node: &Incarnation, info: &NodeInfo, lease: Duration) -> Result<()> {
        let leases = &mut self.0.lock().leases;
        leases.info.insert(node.clone(), info.clone());
        leases.ends.insert(node.clone(), Instant::now() + lease);
        Ok(())
    }

    async fn renew(&self, node: &Incarnation, lease: Duration) -> Result<bool> {
        let leases = &mut self.0.lock().leases;
        let now = Instant::now();
        let lives = leases.ends.get_mut(node).filter(|ends| **ends > now);
        Ok(lives.map(|ends| *ends = now + lease).is_some())
    }

    async fn seal_expired(&self) -> Result<Vec<Sealed>> {
        let Leases { ends, sealed, .. } = &mut self.0.lock().leases;
        let now = Instant::now();
        ends.retain(|node, ends| {
            let lives = *ends > now;
            if !lives {
                sealed.entry(node.clone()).or_insert(now);
            }
            lives
        });
        let age = |(node, at): (&Incarnation, &Instant)| Sealed {
            incarnation: node.clone(),
            age: now.saturating_duration_since(*at),
        };
        Ok(sealed.iter().map(age).collect())
    }

    async fn sweep(&self, node: &Incarnation) -> Result<Swept> {
        let rooms = self.0.lock().rooms.indexed_by(node);
        let mut swept = Swept { rooms: rooms.len(), ..Swept::default() };
        for room in rooms {
            loop {
                let mut state = self.0.lock();
                let State { rooms, subscribers, clock, .. } = &mut *state;
                let removed = rooms.sweep(&room, node, SWEEP_STEP, clock.now(), subscribers);
                swept.facts += removed;
                if removed < SWEEP_STEP {
                    break;
                }
            }
        }
        swept.names = self.0.lock().owners.sweep(node);
        Ok(swept)
    }

    async fn forget(&self, node: &Incarnation) -> Result<()> {
        let mut state = self.0.lock();
        state.rooms.forget(node);
        state.owners.forget(node);
        state.leases.info.remove(node);
        state.leases.sealed.remove(node);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<NodeLease>> {
        let Leases { ends, info, .. } = &self.0.lock().leases;
        let now = Instant::now();
        let lease = |(node, ends): (&Incarnation, &Instant)| NodeLease {
            incarnation: node.clone(),
            info: info.get(node).cloned(),
            remaining: ends.saturating_duration_since(now),
        };
        Ok(ends.iter().map(lease).collect())
    }
}
