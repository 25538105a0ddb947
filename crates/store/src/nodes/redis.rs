//! Leases in Redis.

use std::time::Duration;

use async_trait::async_trait;
use redis::cmd;

use super::{Incarnation, NodeInfo, NodeLease, Nodes, Sealed};
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::Link;
use crate::script;

pub(crate) struct RedisNodes {
    link: Link,
    keys: Keys,
}

impl RedisNodes {
    pub(crate) fn new(link: Link, keys: Keys) -> Self {
        Self { link, keys }
    }

    async fn lease(&self, how: &str, node: &Incarnation, lease: Duration, more: &[&[u8]]) -> Result<bool> {
        let ms = lease.as_millis().to_string();
        let mut args = vec![how.as_bytes(), node.as_str().as_bytes(), ms.as_bytes()];
        args.extend(more);
        self.link.script(&script::NODE_LEASE, &self.keys.nodes(), &args).await
    }
}

#[async_trait]
impl Nodes for RedisNodes {
    async fn register_after(
        &self,
        former: &[Incarnation],
        node: &Incarnation,
        info: &NodeInfo,
        lease: Duration,
    ) -> Result<()> {
        let info = serde_json::to_string(info).map_err(|error| StoreError::Settings(error.to_string()))?;
        let mut more = vec![info.as_bytes()];
        more.extend(former.iter().map(|former| former.as_str().as_bytes()));
        self.lease("register", node, lease, &more).await.map(drop)
    }

    async fn renew(&self, node: &Incarnation, lease: Duration) -> Result<bool> {
        self.lease("renew", node, lease, &[]).await
    }

    async fn seal_expired(&self) -> Result<Vec<Sealed>> {
        let answer: Vec<(String, u64)> =
            self.link.script(&script::NODE_SEAL, &self.keys.nodes(), &[]).await?;
        let sealed = |(node, age): (String, u64)| Sealed {
            incarnation: Incarnation::new(&node),
            age: Duration::from_millis(age),
        };
        Ok(answer.into_iter().map(sealed).collect())
    }

    async fn forget(&self, node: &Incarnation) -> Result<()> {
        let [_, sealed, info] = self.keys.nodes();
        let commands = vec![
            cmd("HDEL").arg(info).arg(node.as_str()).take(),
            cmd("ZREM").arg(sealed).arg(node.as_str()).take(),
        ];
        self.link.commands::<()>(commands).await.map(drop)
    }

    async fn list(&self) -> Result<Vec<NodeLease>> {
        let answer: Vec<(String, i64, String)> =
            self.link.script(&script::NODE_LIST, &self.keys.nodes(), &[]).await?;
        let lease = |(node, left, info): (String, i64, String)| NodeLease {
            incarnation: Incarnation::new(&node),
            info: serde_json::from_str(&info).ok(),
            remaining: Duration::from_millis(u64::try_from(left).unwrap_or(0)),
        };
        Ok(answer.into_iter().map(lease).collect())
    }
}
