//! The leases of nodes. A node holds one lease, which belongs to its current *incarnation*. The sweeper seals an
//! incarnation whose lease ran out, so that it can never be renewed; what it left is removed by
//! [`crate::Presence::sweep`] and [`crate::Names::sweep`]. Called by the gateway's lease task and by the presence
//! service's sweeper.

pub(crate) mod memory;
pub(crate) mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// One life of a node, as a random word that is never used twice.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(Arc<str>);

impl Incarnation {
    /// A new incarnation.
    pub fn random() -> Self {
        Self(format!("{:016x}", rand::random::<u64>()).into())
    }

    /// An incarnation from its word, as stored.
    pub fn new(word: &str) -> Self {
        Self(word.into())
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node publishes about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name, as clients see it in `welcome`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How other nodes reach it, where they can; older releases do not publish it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// The newest layout of message bodies that it reads, `protocol::BODY_VERSION`; 0 for older releases,
    /// which do not publish it.
    #[serde(default)]
    pub body_version: u32,
}

/// How other nodes reach a node's process, also after it lost its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Names the process.
    pub tag: String,
    /// `host:port`.
    pub address: String,
}

/// A node and the rest of its lease.
#[derive(Debug, Clone)]
pub struct NodeLease {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// What it publishes; absent where it published nothing.
    pub info: Option<NodeInfo>,
    /// The time until the lease runs out: zero where it ran out and is not sealed yet.
    pub remaining: Duration,
}

/// An incarnation whose lease ran out, or that was replaced.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// How long ago it was sealed.
    pub age: Duration,
}

/// The nodes of the cluster.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Begins a lease.
    async fn register(&self, node: &Incarnation, info: &NodeInfo, lease: Duration) -> Result<()> {
        self.register_after(&[], node, info, lease).await
    }

    /// Begins a lease for the new incarnation of a node. Its former incarnations are sealed in the same step, also
    /// where the store has no lease of them, so that what they left is swept.
    async fn register_after(
        &self,
        former: &[Incarnation],
        node: &Incarnation,
        info: &NodeInfo,
        lease: Duration,
    ) -> Result<()>;

    /// Renews a lease. False where it ran out or was sealed: the node must register a new incarnation.
    async fn renew(&self, node: &Incarnation, lease: Duration) -> Result<bool>;

    /// Seals every incarnation whose lease ran out; returns all that are sealed and not forgotten yet.
    async fn seal_expired(&self) -> Result<Vec<Sealed>>;

    /// Removes the last entries of a sealed incarnation, after presence and names have forgotten it.
    async fn forget(&self, node: &Incarnation) -> Result<()>;

    /// Every node with a lease.
    async fn list(&self) -> Result<Vec<NodeLease>>;
}
