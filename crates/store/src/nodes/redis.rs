//! Leases in Redis, and the sweep of what a dead incarnation left: its index says where to look.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::cmd;
use roomcast_protocol::{RoomName, UserName};

use super::{Incarnation, NodeInfo, NodeLease, Nodes, SWEEP_STEP, Sealed, Swept};
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::Link;
use crate::presence::NEWS_NAMES;
use crate::presence::redis::RedisPresence;
use crate::script;

pub(crate) struct RedisNodes {
    link: Link,
    keys: Keys,
}

/// Rooms and names swept at once.
const SWEEPS_AT_ONCE: usize = 32;

impl RedisNodes {
    pub(crate) fn new(link: Link, keys: Keys) -> Self {
        Self { link, keys }
    }

    async fn lease(&self, how: &str, node: &Incarnation, lease: Duration, info: &str) -> Result<bool> {
        let ms = lease.as_millis().to_string();
        let args = [how.as_bytes(), node.as_str().as_bytes(), ms.as_bytes(), info.as_bytes()];
        self.link.script(&script::NODE_LEASE, &self.keys.nodes(), &args).await
    }

    async fn sweep_room(&self, room: &RoomName, node: &Incarnation) -> Result<usize> {
        let (candidate, channel) = (RedisPresence::candidate(), self.keys.room_channel(room));
        let (names, most) = (NEWS_NAMES.to_string(), SWEEP_STEP.to_string());
        let args = [node.as_str(), &candidate, &channel, &names, &most].map(str::as_bytes);
        let mut facts = 0;
        loop {
            let removed: usize =
                self.link.script(&script::PRESENCE_SWEEP, &self.keys.presence(room), &args).await?;
            facts += removed;
            if removed < SWEEP_STEP {
                return Ok(facts);
            }
        }
    }

    async fn sweep_name(&self, user: &UserName, node: &Incarnation) -> Result<bool> {
        let args: [&[u8]; 3] = [b"", node.as_str().as_bytes(), b"gone"];
        self.link.script(&script::NAME_RELEASE, &[self.keys.name(user)], &args).await
    }
}

#[async_trait]
impl Nodes for RedisNodes {
    async fn register(&self, node: &Incarnation, info: &NodeInfo, lease: Duration) -> Result<()> {
        let info = serde_json::to_string(info).map_err(|error| StoreError::Settings(error.to_string()))?;
        self.lease("register", node, lease, &info).await.map(drop)
    }

    async fn renew(&self, node: &Incarnation, lease: Duration) -> Result<bool> {
        self.lease("renew", node, lease, "").await
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

    async fn sweep(&self, node: &Incarnation) -> Result<Swept> {
        let rooms: Vec<String> = self.link.command(cmd("SMEMBERS").arg(self.keys.node_rooms(node))).await?;
        let rooms: Vec<_> = rooms.into_iter().filter_map(|room| RoomName::try_from(room).ok()).collect();
        let looked_through = rooms.len();
        let facts = stream::iter(rooms)
            .map(async |room| self.sweep_room(&room, node).await)
            .buffer_unordered(SWEEPS_AT_ONCE)
            .try_fold(0, async |sum, facts| Ok(sum + facts))
            .await?;
        let names: Vec<String> = self.link.command(cmd("SMEMBERS").arg(self.keys.node_names(node))).await?;
        let names: Vec<_> = names.into_iter().filter_map(|user| UserName::try_from(user).ok()).collect();
        let names = stream::iter(names)
            .map(async |user| self.sweep_name(&user, node).await)
            .buffer_unordered(SWEEPS_AT_ONCE)
            .try_fold(0, async |sum, held| Ok(sum + usize::from(held)))
            .await?;
        Ok(Swept { rooms: looked_through, facts, names })
    }

    async fn forget(&self, node: &Incarnation) -> Result<()> {
        let [_, sealed, info] = self.keys.nodes();
        let commands = vec![
            cmd("DEL").arg(self.keys.node_rooms(node)).arg(self.keys.node_names(node)).take(),
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
