//! Leases in memory: the same steps as `lua/node_*.lua`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Incarnation, NodeInfo, NodeLease, Nodes, Sealed};
use crate::capacity::Capacity;
use crate::error::Result;
use crate::script;

pub(crate) struct MemoryNodes(Mutex<Leases>, Capacity);

/// Leases, sealed incarnations, and what each node publishes about itself.
#[derive(Default)]
struct Leases {
    ends: BTreeMap<Incarnation, Instant>,
    sealed: BTreeMap<Incarnation, Instant>,
    info: BTreeMap<Incarnation, NodeInfo>,
}

impl MemoryNodes {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self(Mutex::default(), capacity)
    }

    /// `lease NODE`, `sealed NODE`, `info NODE`.
    pub(crate) fn entries(&self) -> Vec<String> {
        let leases = self.0.lock();
        let lines = |what: &'static str, nodes: Vec<&Incarnation>| {
            nodes.into_iter().map(|node| format!("{what} {node:?}")).collect::<Vec<_>>()
        };
        let leased = lines("lease", leases.ends.keys().collect());
        let sealed = lines("sealed", leases.sealed.keys().collect());
        let info = lines("info", leases.info.keys().collect());
        leased.into_iter().chain(sealed).chain(info).collect()
    }
}

#[async_trait]
impl Nodes for MemoryNodes {
    async fn register_after(
        &self,
        former: &[Incarnation],
        node: &Incarnation,
        info: &NodeInfo,
        lease: Duration,
    ) -> Result<()> {
        self.1.check(&script::NODE_LEASE)?;
        let (leases, now) = (&mut *self.0.lock(), Instant::now());
        leases.info.insert(node.clone(), info.clone());
        for former in former {
            leases.ends.remove(former);
            leases.sealed.entry(former.clone()).or_insert(now);
        }
        leases.ends.insert(node.clone(), now + lease);
        Ok(())
    }

    async fn renew(&self, node: &Incarnation, lease: Duration) -> Result<bool> {
        let leases = &mut *self.0.lock();
        let now = Instant::now();
        let Some(ends) = leases.ends.get_mut(node).filter(|ends| **ends > now) else { return Ok(false) };
        self.1.check(&script::NODE_LEASE)?;
        *ends = now + lease;
        Ok(true)
    }

    /// Also where memory is full, whatever the script is allowed: its first write removes a lease.
    async fn seal_expired(&self) -> Result<Vec<Sealed>> {
        let Leases { ends, sealed, .. } = &mut *self.0.lock();
        let now = Instant::now();
        ends.retain(|node, ends| {
            let valid = *ends > now;
            if !valid {
                sealed.entry(node.clone()).or_insert(now);
            }
            valid
        });
        let age = |(node, at): (&Incarnation, &Instant)| Sealed {
            incarnation: node.clone(),
            age: now.saturating_duration_since(*at),
        };
        Ok(sealed.iter().map(age).collect())
    }

    async fn forget(&self, node: &Incarnation) -> Result<()> {
        let Leases { sealed, info, .. } = &mut *self.0.lock();
        info.remove(node);
        sealed.remove(node);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<NodeLease>> {
        let Leases { ends, info, .. } = &*self.0.lock();
        let now = Instant::now();
        let lease = |(node, ends): (&Incarnation, &Instant)| NodeLease {
            incarnation: node.clone(),
            info: info.get(node).cloned(),
            remaining: ends.saturating_duration_since(now),
        };
        Ok(ends.iter().map(lease).collect())
    }
}
