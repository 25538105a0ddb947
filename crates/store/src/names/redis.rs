//! Owners of names in Redis: one hash for each name, in the name's slot.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::cmd;
use roomcast_ops::Lifecycle;
use roomcast_protocol::UserName;
use tokio_util::sync::CancellationToken;

use super::batch::{ClaimBatcher, ClaimRequest, Kind};
use super::{Claim, Hold, Names, Secret};
use crate::error::Result;
use crate::keys::Keys;
use crate::link::Link;
use crate::nodes::Incarnation;
use crate::person::Person;
use crate::script;

/// What the release script returns where the incarnation holds the name for another secret.
const HELD_FOR_ANOTHER: u8 = 2;
/// Names swept at once.
const SWEEPS_AT_ONCE: usize = 32;

pub(crate) struct RedisNames {
    link: Link,
    keys: Keys,
    batcher: ClaimBatcher,
}

impl RedisNames {
    /// `task_link` is the store's link for its own tasks; an inbox is kept without use for `idle`.
    pub(crate) fn new(
        link: Link,
        (keys, idle): (Keys, Duration),
        task_link: Link,
        lifecycle: &Lifecycle,
        end: CancellationToken,
    ) -> Self {
        let batcher = ClaimBatcher::new(task_link, (keys.clone(), idle), lifecycle, end);
        Self { link, keys, batcher }
    }

    async fn sweep_name(&self, user: &UserName, node: &Incarnation) -> Result<bool> {
        let args: [&[u8]; 3] = [b"", node.as_str().as_bytes(), b"gone"];
        self.link.script(&script::NAME_RELEASE, &[self.keys.name(user)], &args).await
    }

    async fn unindex(&self, user: &UserName, node: &Incarnation) -> Result<()> {
        self.link.command(cmd("SREM").arg(self.keys.node_names(node)).arg(user.as_str())).await
    }

    async fn release_as(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        how: &str,
    ) -> Result<u8> {
        let hash = secret.to_hex();
        let args = [hash.as_bytes(), node.as_str().as_bytes(), how.as_bytes()];
        self.link.script(&script::NAME_RELEASE, &[self.keys.name(user)], &args).await
    }
}

#[async_trait]
impl Names for RedisNames {
    async fn claim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        dead: &[Incarnation],
    ) -> Result<Claim> {
        let (person, node) = (Person { user: user.clone(), secret: secret.clone() }, node.clone());
        self.batcher.claim(ClaimRequest { person, node, kind: Kind::Arrive, dead: dead.to_vec() }).await
    }

    async fn reclaim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        hold: Hold,
    ) -> Result<Claim> {
        let (person, node) = (Person { user: user.clone(), secret: secret.clone() }, node.clone());
        self.batcher.claim(ClaimRequest { person, node, kind: Kind::Repeat(hold), dead: Vec::new() }).await
    }

    async fn grace(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()> {
        self.release_as(user, secret, node, "grace").await.map(drop)
    }

    async fn release(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()> {
        if self.release_as(user, secret, node, "gone").await? == HELD_FOR_ANOTHER {
            return Ok(());
        }
        self.unindex(user, node).await
    }

    async fn sweep(&self, node: &Incarnation) -> Result<usize> {
        let names: Vec<String> = self.link.command(cmd("SMEMBERS").arg(self.keys.node_names(node))).await?;
        let names: Vec<_> = names.into_iter().filter_map(|user| UserName::try_from(user).ok()).collect();
        stream::iter(names)
            .map(async |user| self.sweep_name(&user, node).await)
            .buffer_unordered(SWEEPS_AT_ONCE)
            .try_fold(0, async |sum, held| Ok(sum + usize::from(held)))
            .await
    }

    async fn forget(&self, node: &Incarnation) -> Result<()> {
        self.link.command(cmd("DEL").arg(self.keys.node_names(node))).await
    }

    async fn online(&self, nodes: &[Incarnation]) -> Result<usize> {
        // Hashes instead of names, to save memory: eight bytes for each of a million users.
        let mut seen = HashSet::new();
        for node in nodes {
            let mut cursor = "0".to_owned();
            loop {
                let scan =
                    cmd("SSCAN").arg(self.keys.node_names(node)).arg(&cursor).arg("COUNT").arg(1_000).take();
                let (next, names): (String, Vec<String>) = self.link.command(&scan).await?;
                seen.extend(names.iter().map(|name| hash(name)));
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(seen.len())
    }

    async fn was_taken_over(&self, user: &UserName) -> Result<bool> {
        self.link.command(cmd("HEXISTS").arg(self.keys.name(user)).arg("t")).await
    }

    async fn is_owner(&self, user: &UserName, secret: &Secret) -> Result<bool> {
        let fields: HashMap<String, String> =
            self.link.command(cmd("HGETALL").arg(self.keys.name(user))).await?;
        let is = |field: &str, value: &str| fields.get(field).is_some_and(|stored| stored == value);
        Ok(is("h", &secret.to_hex()) && is("c", "1") && fields.keys().any(|field| field.starts_with("i:")))
    }

    async fn holders(&self, user: &UserName) -> Result<Vec<Incarnation>> {
        let fields: Vec<String> = self.link.command(cmd("HKEYS").arg(self.keys.name(user))).await?;
        Ok(fields.iter().filter_map(|field| field.strip_prefix("i:")).map(Incarnation::new).collect())
    }
}

/// The secret of a name's owner who is online: connected, or with a proved name in grace.
pub(crate) async fn online_owner(link: &Link, keys: &Keys, user: &UserName) -> Result<Option<Secret>> {
    let fields: HashMap<String, String> = link.command(cmd("HGETALL").arg(keys.name(user))).await?;
    let proved = fields.get("c").is_some_and(|proved| proved == "1");
    let holds = |(field, hold): (&String, &String)| field.starts_with("i:") && (proved || hold == "live");
    let secret = fields.get("h").filter(|_| fields.iter().any(holds));
    Ok(secret.and_then(|hash| Secret::from_hex(hash, proved)))
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
