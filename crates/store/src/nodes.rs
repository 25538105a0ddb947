//! Which nodes live. A node holds one lease, which belongs to this *incarnation* of it; whoever sweeps
//! seals an incarnation whose lease ran out, so that it can never be renewed. What it left is removed beside
//! what it is: by [`crate::Presence::sweep`] and [`crate::Names::sweep`].
//! Called by the gateway's node task and by the presence service's sweeper.

pub(crate) mod memory;
pub(crate) mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// One life of one node: a random word, never used twice.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(Arc<str>);

impl Incarnation {
    /// A new_owner life.
    pub fn random() -> Self {
        Self(format!("{:016x}", rand::random::<u64>()).into())
    }

    /// Takes a word, as the store keeps it, as an incarnation.
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

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name, as clients see it in `welcome`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How other nodes reach it, where they can; older releases say nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// The newest layout of message bodies that it reads, `protocol::BODY_VERSION`; 0 of older releases,
    /// which do not say.
    #[serde(default)]
    pub body_version: u32,
}

/// How a node's process is reached by others, whatever becomes of its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Names the process.
    pub tag: String,
    /// `host:port`.
    pub address: String,
}

/// A node and what is left of its lease.
#[derive(Debug, Clone)]
pub struct NodeLease {
    /// The life.
    pub incarnation: Incarnation,
    /// What it says of itself; absent where it never said.
    pub info: Option<NodeInfo>,
    /// What is left of the lease: zero where it ran out and nobody sealed it yet.
    pub remaining: Duration,
}

/// An incarnation that ended without taking leave.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The life that ended.
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

    /// Begins a lease of a node that goes on as a new incarnation. Its former ones are sealed in the same step,
    /// whether the store knows them or not, so that what they left is swept.
    async fn register_after(
        &self,
        former: &[Incarnation],
        node: &Incarnation,
        info: &NodeInfo,
        lease: Duration,
    ) -> Result<()>;

    /// Renews it. False where it ran out or was sealed: the node must go on as a new incarnation.
    async fn renew(&self, node: &Incarnation, lease: Duration) -> Result<bool>;

    /// Seals every incarnation whose lease ran out; answers all that are sealed and not yet forgotten.
    async fn seal_expired(&self) -> Result<Vec<Sealed>>;

    /// Drops the last traces of a sealed incarnation, once presence and names forgot it.
    async fn forget(&self, node: &Incarnation) -> Result<()>;

    /// Every node with a lease.
    async fn list(&self) -> Result<Vec<NodeLease>>;
}
