//! The owners of names. A name belongs to the owner of a secret, of which only the hash is stored, as long as the
//! user has a connection or a grace. Called by the gateway when a client connects and when a user's last connection
//! on a node ends.

mod batch;
pub(crate) mod memory;
pub(crate) mod redis;

use std::fmt;
use std::hash::{Hash, Hasher};

use async_trait::async_trait;
use roomcast_protocol::{Position, UserName};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::nodes::Incarnation;

/// A resume secret, as its hash. Two are equal where their hashes are: a client may send back the secret that the
/// server generated for it.
#[derive(Clone)]
pub struct Secret {
    /// Half of a SHA-256. Bytes, to save memory: every connection keeps one or two.
    hash: [u8; 16],
    proved: bool,
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Secret {}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl Secret {
    /// A secret that its owner has, whoever made it: it proves the name.
    pub fn proved(secret: &str) -> Self {
        Self { hash: Self::digest(secret), proved: true }
    }

    /// A secret that nobody has: the name is open, and nobody's once its connection is gone.
    pub fn open(secret: &str) -> Self {
        Self { hash: Self::digest(secret), proved: false }
    }

    fn digest(secret: &str) -> [u8; 16] {
        let digest = Sha256::digest(secret.as_bytes());
        digest.first_chunk().copied().unwrap_or_default()
    }

    /// Identifies the person who has this secret under this name: another name, or another secret, is another person.
    pub fn person(&self, user: &UserName) -> String {
        let digest = Sha256::new().chain_update(self.hash).chain_update(user.as_str()).finalize();
        let half: [u8; 16] = digest.first_chunk().copied().unwrap_or_default();
        format!("{:032x}", u128::from_be_bytes(half))
    }

    /// The hash in hexadecimal digits, as it is stored.
    pub(crate) fn to_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.hash))
    }

    /// A secret from its hash.
    pub(crate) fn of_hash(hash: [u8; 16], proved: bool) -> Self {
        Self { hash, proved }
    }

    /// A secret from its hash in hexadecimal digits.
    pub(crate) fn from_hex(hash: &str, proved: bool) -> Option<Self> {
        Some(Self::of_hash(u128::from_str_radix(hash, 16).ok()?.to_be_bytes(), proved))
    }

    pub(crate) fn is_proved(&self) -> bool {
        self.proved
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(proved: {})", self.proved)
    }
}

/// The result of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The name belongs to the secret, and this incarnation holds it, too.
    Granted {
        /// The position of the newest message in the person's inbox at that moment, so that a connect needs no read of
        /// its own; offset 0 where it is empty, in no particular epoch. None where it is to be read.
        inbox: Option<Position>,
    },
    /// The name has another owner and is held by these incarnations, some of which may be dead.
    Taken(Vec<Incarnation>),
}

impl Claim {
    /// Whether the name belongs to the secret.
    pub fn is_granted(&self) -> bool {
        matches!(self, Self::Granted { .. })
    }
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
    /// Claims a name for a new connection of the owner of the secret. `dead` are incarnations whose lease has run
    /// out, as the caller has read: their holds are ignored and removed. Where another incarnation holds the name by
    /// grace, this connection is the return of the one that dropped there and ends that grace (one of them, where
    /// there are several).
    async fn claim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        dead: &[Incarnation],
    ) -> Result<Claim>;

    /// Writes again how a node holds a name. No connection arrived, and graces of other nodes stay.
    async fn reclaim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        hold: Hold,
    ) -> Result<Claim>;

    /// The user's last connection on this node dropped and may return. An open name may be claimed by another owner
    /// from now on.
    async fn grace(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()>;

    /// The user is gone from this node. Does nothing where the name has another owner by now, also one on this node.
    async fn release(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()>;

    /// Releases all names that a dead incarnation held; returns how many. May run twice.
    async fn sweep(&self, node: &Incarnation) -> Result<usize>;

    /// Drops the index of a dead incarnation's names, after its last sweep.
    async fn forget(&self, node: &Incarnation) -> Result<()>;

    /// How many users have connections or graces on these incarnations, each counted once. Reads all their names, so it
    /// must not be called for every request.
    async fn online(&self, nodes: &[Incarnation]) -> Result<usize>;

    /// Whether the name's owner took it over from another one, who was in grace or on a node that died: rooms may still
    /// have that other as present.
    async fn was_taken_over(&self, user: &UserName) -> Result<bool>;

    /// Whether a name is held at present, by the owner of this secret, which must be a proved one.
    async fn is_owner(&self, user: &UserName, secret: &Secret) -> Result<bool>;

    /// The incarnations on which a user has connections or a grace.
    async fn holders(&self, user: &UserName) -> Result<Vec<Incarnation>>;
}
