//! Who owns which name. A name belongs to whoever holds its secret, of which only the hash is kept, as
//! long as a connection or its grace lasts. Called by the gateway when a client connects and when a
//! user's last connection on a node ends.

mod batch;
pub(crate) mod memory;
pub(crate) mod redis;

use std::fmt;

use async_trait::async_trait;
use roomcast_protocol::UserName;
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::nodes::Incarnation;

/// A resume secret, reduced to what may be kept.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret {
    /// Half of a SHA-256. As bytes: every connection keeps one or two.
    hash: [u8; 16],
    chosen: bool,
}

impl Secret {
    /// The client chose it.
    pub fn chosen(secret: &str) -> Self {
        Self { hash: Self::hash(secret), chosen: true }
    }

    /// The server made it: its owner may not have kept it.
    pub fn given(secret: &str) -> Self {
        Self { hash: Self::hash(secret), chosen: false }
    }

    fn hash(secret: &str) -> [u8; 16] {
        let digest = Sha256::digest(secret.as_bytes());
        digest.first_chunk().copied().unwrap_or_default()
    }

    /// The hash in hexadecimal digits, as it is stored.
    pub(crate) fn to_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.hash))
    }

    pub(crate) fn is_chosen(&self) -> bool {
        self.chosen
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(chosen: {})", self.chosen)
    }
}

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The name is the claimant's, on this incarnation too.
    Granted,
    /// It is somebody else's, by connections on these incarnations, some of which may be dead.
    Taken(Vec<Incarnation>),
}

/// How a node holds a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// By a connection.
    Live,
    /// By the grace of a connection that dropped.
    Grace,
}

/// The owners of names.
#[async_trait]
pub trait Names: Send + Sync {
    /// Claims a name for a new connection of whoever has the secret. `dead` are incarnations whose lease the
    /// caller knows to have run out: what they hold does not count and is dropped. Where another incarnation
    /// holds the name by grace, this connection is the return of the one that dropped there, and that grace
    /// is over (of one incarnation, where several have graces).
    async fn claim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        dead: &[Incarnation],
    ) -> Result<Claim>;

    /// Says again how a node holds a name: nobody arrived, and no other node's grace is touched.
    async fn reclaim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        hold: Hold,
    ) -> Result<Claim>;

    /// The user's last connection on this node went, and may come back: where the owner chose no
    /// secret, somebody else may now take the name.
    async fn grace(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()>;

    /// The user is gone from this node. Does nothing where the name has another owner by now, be it by this node.
    async fn release(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()>;

    /// Releases all that a dead incarnation held; answers how many names. May run twice.
    async fn sweep(&self, node: &Incarnation) -> Result<usize>;

    /// Drops the index of a dead incarnation's names, after its last sweep.
    async fn forget(&self, node: &Incarnation) -> Result<()>;

    /// How many users have connections or grace on these incarnations: each counts once, wherever it is.
    /// A walk through all their names, so not for every request.
    async fn online(&self, nodes: &[Incarnation]) -> Result<usize>;

    /// The incarnations on which a user has connections or grace.
    async fn holders(&self, user: &UserName) -> Result<Vec<Incarnation>>;
}
