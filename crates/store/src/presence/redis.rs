//! Presence in Redis: facts of a room in the room's slot, the room index in sixteen slots of its own, and an index of
//! the rooms of each incarnation, for its sweep.

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::{Cmd, cmd};
use roomcast_protocol::{RoomName, UserName};

use super::{Change, MAX_NAMES_PER_EVENT, Presence, RoomState, RoomsPage, SWEEP_STEP, UsersPage, Version};
use crate::error::{Result, StoreError};
use crate::keys::{INDEX_BUCKETS, Keys};
use crate::link::Link;
use crate::nodes::Incarnation;
use crate::script;

pub(crate) struct RedisPresence {
    link: Link,
    keys: Keys,
}

/// What the script that closes a room returns where the room was forgotten.
const FORGOTTEN: u8 = 2;
/// Rooms swept at once.
const SWEEPS_AT_ONCE: usize = 32;
/// Up to this size a room's users are sorted and returned in pages; larger rooms are scanned.
const SORTED_UP_TO: usize = roomcast_protocol::limits::MAX_LISTED_USERS;

impl RedisPresence {
    pub(crate) fn new(link: Link, keys: Keys) -> Self {
        Self { link, keys }
    }

    /// A generation for a room's numbering, used where it has none.
    fn candidate() -> String {
        format!("{:08x}", rand::random::<u32>())
    }

    async fn sweep_room(&self, room: &RoomName, node: &Incarnation) -> Result<usize> {
        let (candidate, channel) = (Self::candidate(), self.keys.room_channel(room));
        let (names, most) = (MAX_NAMES_PER_EVENT.to_string(), SWEEP_STEP.to_string());
        let args = [node.as_str(), &candidate, &channel, &names, &most].map(str::as_bytes);
        let mut facts = 0;
        loop {
            let (removed, forgotten): (usize, bool) =
                self.link.script(&script::PRESENCE_SWEEP, &self.keys.whole_room(room), &args).await?;
            facts += removed;
            if forgotten {
                self.unlist(room).await?;
            }
            if removed < SWEEP_STEP {
                return Ok(facts);
            }
        }
    }

    async fn scan(&self, room: &RoomName, cursor: &str, limit: usize) -> Result<UsersPage> {
        let [users, _, _] = self.keys.presence(room);
        let scan = cmd("HSCAN").arg(&users).arg(cursor).arg("COUNT").arg(limit).take();
        let (next, found): (String, Vec<(String, String)>) = self.link.command(&scan).await?;
        let count = self.link.command(cmd("HLEN").arg(&users)).await?;
        let mut users: Vec<_> =
            found.into_iter().filter_map(|(user, _)| UserName::parse(&user).ok()).collect();
        users.sort();
        users.dedup();
        Ok(UsersPage { count, users, cursor: (next != "0").then(|| format!("s{next}")) })
    }
}

#[async_trait]
impl Presence for RedisPresence {
    async fn write(
        &self,
        room: &RoomName,
        node: &Incarnation,
        sequence: u64,
        change: &Change,
    ) -> Result<bool> {
        let (candidate, channel) = (Self::candidate(), self.keys.room_channel(room));
        let (sequence, most) = (sequence.to_string(), MAX_NAMES_PER_EVENT.to_string());
        let lengths = [change.here.len(), change.gone.len(), change.arrived.len(), change.open.len()];
        let counts = lengths.map(|length| length.to_string());
        let kind = match change {
            Change { whole: true, .. } => "whole",
            Change { continues: true, .. } => "continues",
            Change { .. } => "first",
        };
        let mut args = vec![node.as_str(), &sequence, &candidate, &channel, &most, kind];
        args.extend(counts.iter().map(String::as_str));
        let users = change.here.iter().chain(&change.gone).chain(&change.arrived);
        args.extend(users.map(UserName::as_str));
        args.extend(change.open.iter().flat_map(|(user, dialect)| [user.as_str(), dialect]));
        args.extend(change.former.iter().map(Incarnation::as_str));
        let args: Vec<&[u8]> = args.into_iter().map(str::as_bytes).collect();
        self.link.script(change.script(), &self.keys.presence(room), &args).await
    }

    async fn index(&self, room: &RoomName, node: &Incarnation) -> Result<()> {
        let index = self.keys.index(Keys::index_bucket(room));
        let [_, _, meta] = self.keys.presence(room);
        let commands = vec![
            cmd("SADD").arg(self.keys.node_rooms(node)).arg(room.as_str()).take(),
            cmd("HSETNX").arg(meta).arg(Keys::sequence_field(node)).arg(0).take(),
            cmd("ZADD").arg(index).arg(0).arg(room.as_str()).take(),
        ];
        self.link.commands::<()>(commands).await.map(drop)
    }

    async fn close(&self, room: &RoomName, node: &Incarnation, sequence: u64) -> Result<()> {
        let sequence = sequence.to_string();
        let args = [node.as_str(), &sequence].map(str::as_bytes);
        let closed: u8 =
            self.link.script(&script::PRESENCE_CLOSE, &self.keys.whole_room(room), &args).await?;
        if closed == 0 {
            return Ok(());
        }
        if closed == FORGOTTEN {
            self.unlist(room).await?;
        }
        // Last, so that the sweeper still finds the room where the first step failed.
        self.link.command(cmd("SREM").arg(self.keys.node_rooms(node)).arg(room.as_str())).await
    }

    async fn sweep(&self, node: &Incarnation) -> Result<(usize, usize)> {
        let rooms: Vec<String> = self.link.command(cmd("SMEMBERS").arg(self.keys.node_rooms(node))).await?;
        let rooms: Vec<_> = rooms.into_iter().filter_map(|room| RoomName::try_from(room).ok()).collect();
        let searched = rooms.len();
        let facts = stream::iter(rooms)
            .map(async |room| self.sweep_room(&room, node).await)
            .buffer_unordered(SWEEPS_AT_ONCE)
            .try_fold(0, async |sum, facts| Ok(sum + facts))
            .await?;
        Ok((searched, facts))
    }

    async fn forget(&self, node: &Incarnation) -> Result<()> {
        self.link.command(cmd("DEL").arg(self.keys.node_rooms(node))).await
    }

    async fn read(&self, room: &RoomName, max_users: usize) -> Result<RoomState> {
        type Answer = (String, u64, usize, Option<Vec<String>>);
        let max = max_users.to_string();
        let (generation, number, count, users): Answer = match self
            .link
            .script::<Vec<redis::Value>>(&script::PRESENCE_READ, &self.keys.presence(room), &[max.as_bytes()])
            .await?
        {
            mut short if short.len() == 3 => {
                short.push(redis::Value::Nil);
                parse(short)?
            }
            whole => parse(whole)?,
        };
        let users = users.map(|users| users.iter().filter_map(|user| UserName::parse(user).ok()).collect());
        Ok(RoomState { version: Version { generation, number }, count, users })
    }

    async fn is_present(&self, room: &RoomName, user: &UserName) -> Result<bool> {
        let [users, _, _] = self.keys.presence(room);
        self.link.command(cmd("HEXISTS").arg(users).arg(user.as_str())).await
    }

    async fn users(&self, room: &RoomName, cursor: Option<&str>, limit: usize) -> Result<UsersPage> {
        // Cursors come from clients: an invalid one is ignored.
        let scan = cursor.and_then(|cursor| cursor.strip_prefix('s'));
        if let Some(scan) = scan.filter(|scan| scan.parse::<u64>().is_ok()) {
            return self.scan(room, scan, limit).await;
        }
        let state = self.read(room, SORTED_UP_TO).await?;
        match state.users {
            Some(users) => {
                Ok(UsersPage::of(users, cursor.and_then(|cursor| cursor.strip_prefix('n')), limit))
            }
            None => self.scan(room, "0", limit).await,
        }
    }

    async fn rooms(&self, cursor: Option<&str>, limit: usize) -> Result<RoomsPage> {
        // A cursor is a bucket and the last name taken from it.
        let (mut bucket, mut after) = match cursor.and_then(|cursor| cursor.split_once(':')) {
            Some((bucket, after)) => (bucket.parse().unwrap_or(INDEX_BUCKETS), after.to_owned()),
            None => (0, String::new()),
        };
        let mut rooms = Vec::new();
        while bucket < INDEX_BUCKETS && rooms.len() < limit {
            let from = if after.is_empty() { "-".to_owned() } else { format!("({after}") };
            let range = cmd("ZRANGEBYLEX")
                .arg(self.keys.index(bucket))
                .arg(from)
                .arg("+")
                .arg("LIMIT")
                .arg(0)
                .arg(limit - rooms.len())
                .take();
            let names: Vec<String> = self.link.command(&range).await?;
            let ended = names.len() < limit - rooms.len();
            if let Some(last) = names.last() {
                after.clone_from(last);
            }
            rooms.extend(self.counted(names).await?);
            if ended {
                bucket += 1;
                after.clear();
            }
        }
        Ok(RoomsPage { rooms, cursor: (bucket < INDEX_BUCKETS).then(|| format!("{bucket}:{after}")) })
    }

    async fn rooms_of(&self, user: &UserName, nodes: &[Incarnation]) -> Result<Vec<RoomName>> {
        let mut found = Vec::new();
        for node in nodes {
            let names: Vec<String> =
                self.link.command(cmd("SMEMBERS").arg(self.keys.node_rooms(node))).await?;
            let rooms: Vec<_> = names.iter().filter_map(|name| RoomName::parse(name).ok()).collect();
            let fact = format!("{} {user}", node.as_str());
            let scores: Vec<Cmd> = rooms
                .iter()
                .map(|room| {
                    let [_, facts, _] = self.keys.presence(room);
                    cmd("ZSCORE").arg(facts).arg(&fact).take()
                })
                .collect();
            let scores: Vec<Option<f64>> = self.link.commands(scores).await?;
            found.extend(rooms.into_iter().zip(scores).filter_map(|(room, score)| score.map(|_| room)));
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

impl RedisPresence {
    /// Counts the users of rooms, and removes rooms that were forgotten from the index. A room in use has a presence
    /// meta.
    async fn counted(&self, names: Vec<String>) -> Result<Vec<(RoomName, usize)>> {
        let rooms: Vec<_> = names.iter().filter_map(|name| RoomName::parse(name).ok()).collect();
        let mut commands = Vec::with_capacity(rooms.len() * 2);
        for room in &rooms {
            let [users, _, _] = self.keys.presence(room);
            commands.push(cmd("HLEN").arg(users).take());
            commands.push(self.is_known(room));
        }
        let mut numbers = self.link.commands::<usize>(commands).await?.into_iter();
        let mut counted = Vec::with_capacity(rooms.len());
        for room in rooms {
            match (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) {
                (0, 0) => {
                    self.unlist(&room).await?;
                }
                (count, _) => counted.push((room, count)),
            }
        }
        Ok(counted)
    }

    /// Whether there is anything of a room: the metas of its presence and of its log.
    fn is_known(&self, room: &RoomName) -> Cmd {
        let ([_, _, presence], [log, _, _]) = (self.keys.presence(room), self.keys.log(room));
        cmd("EXISTS").arg(presence).arg(log).take()
    }

    /// Removes a room from the index, and adds it again where it was opened in between.
    async fn unlist(&self, room: &RoomName) -> Result<()> {
        let index = self.keys.index(Keys::index_bucket(room));
        self.link.command::<()>(cmd("ZREM").arg(&index).arg(room.as_str())).await?;
        if self.link.command::<usize>(&self.is_known(room)).await? > 0 {
            self.link.command::<()>(cmd("ZADD").arg(&index).arg(0).arg(room.as_str())).await?;
        }
        Ok(())
    }
}

fn parse<T: redis::FromRedisValue>(values: Vec<redis::Value>) -> Result<T> {
    redis::from_redis_value(redis::Value::Array(values))
        .map_err(|error| StoreError::Corrupt(error.to_string()))
}
