//! Owners of names in Redis: one hash a name, in the name's slot.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use async_trait::async_trait;
use redis::cmd;
use roomcast_protocol::UserName;

use super::{Claim, Names, Secret};
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::Link;
use crate::nodes::Incarnation;
use crate::script;

pub(crate) struct RedisNames {
    link: Link,
    keys: Keys,
}

impl RedisNames {
    pub(crate) fn new(link: Link, keys: Keys) -> Self {
        Self { link, keys }
    }

    async fn unindex(&self, user: &UserName, node: &Incarnation) -> Result<()> {
        self.link.command(cmd("SREM").arg(self.keys.node_names(node)).arg(user.as_str())).await
    }

    async fn let_go(&self, user: &UserName, secret: &Secret, node: &Incarnation, how: &str) -> Result<()> {
        let args = [secret.as_hash().as_bytes(), node.as_str().as_bytes(), how.as_bytes()];
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
        // Before the claim, so that the sweeper finds the name whatever happens in between.
        let index = cmd("SADD").arg(self.keys.node_names(node)).arg(user.as_str()).take();
        self.link.command::<()>(&index).await?;
        let chosen: &[u8] = if secret.is_chosen() { b"1" } else { b"0" };
        let mut args = vec![secret.as_hash().as_bytes(), chosen, node.as_str().as_bytes()];
        args.extend(dead.iter().map(|node| node.as_str().as_bytes()));
        let answer: Vec<String> =
            self.link.script(&script::NAME_CLAIM, &[self.keys.name(user)], &args).await?;
        match answer.split_first() {
            Some((verdict, [])) if verdict == "granted" => Ok(Claim::Granted),
            Some((verdict, holders)) if verdict == "taken" => {
                let holders: Vec<_> = holders.iter().map(|node| Incarnation::new(node)).collect();
                if !holders.contains(node) {
                    self.unindex(user, node).await?;
                }
                Ok(Claim::Taken(holders))
            }
            _ => Err(StoreError::Corrupt(format!("a claim answered {answer:?}"))),
        }
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
