//! Owners of names in Redis: one hash a name, in the name's slot.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use async_trait::async_trait;
use redis::cmd;
use roomcast_ops::Lifecycle;
use roomcast_protocol::UserName;
use tokio_util::sync::CancellationToken;

use super::together::{Together, Wish};
use super::{Claim, Names, Secret};
use crate::error::Result;
use crate::keys::Keys;
use crate::link::Link;
use crate::nodes::Incarnation;
use crate::script;

pub(crate) struct RedisNames {
    link: Link,
    keys: Keys,
    together: Together,
}

impl RedisNames {
    /// `beneath` is the link as tasks of the store have it.
    pub(crate) fn new(
        link: Link,
        keys: Keys,
        beneath: Link,
        lifecycle: &Lifecycle,
        end: CancellationToken,
    ) -> Self {
        let together = Together::new(beneath, keys.clone(), lifecycle, end);
        Self { link, keys, together }
    }

    async fn unindex(&self, user: &UserName, node: &Incarnation) -> Result<()> {
        self.link.command(cmd("SREM").arg(self.keys.node_names(node)).arg(user.as_str())).await
    }

    async fn let_go(&self, user: &UserName, secret: &Secret, node: &Incarnation, how: &str) -> Result<()> {
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
        let (user, secret, node) = (user.clone(), secret.clone(), node.clone());
        self.together.claim(Wish { user, secret, node, dead: dead.to_vec() }).await
    }

    async fn grace(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()> {
        self.let_go(user, secret, node, "grace").await
    }

    async fn release(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()> {
        self.let_go(user, secret, node, "gone").await?;
        self.unindex(user, node).await
    }

    async fn online(&self, nodes: &[Incarnation]) -> Result<usize> {
        // Their hashes, not the names: eight bytes each, of a million users too.
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

    async fn holders(&self, user: &UserName) -> Result<Vec<Incarnation>> {
        let fields: Vec<String> = self.link.command(cmd("HKEYS").arg(self.keys.name(user))).await?;
        Ok(fields.iter().filter_map(|field| field.strip_prefix("i:")).map(Incarnation::new).collect())
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
