//! Puts the Redis twins together: one connection for commands, one for the bus. Called by
//! [`crate::Store::on_redis`].

use std::sync::Arc;

use roomcast_ops::Lifecycle;

use crate::bus::redis::RedisBus;
use crate::keys::Keys;
use crate::link::{Address, Link};
use crate::log::redis::RedisLog;
use crate::names::redis::RedisNames;
use crate::nodes::redis::RedisNodes;
use crate::presence::redis::RedisPresence;
use crate::{Observer, Result, Settings, Sink, Store};

pub(crate) fn open(
    url: &str,
    settings: &Settings,
    sink: Arc<dyn Sink>,
    observer: Arc<dyn Observer>,
    lifecycle: &Lifecycle,
) -> Result<Store> {
    let keys = Keys::new(&settings.prefix);
    let link = Link::new(Address::parse(url)?, observer);
    let end = lifecycle.hard().child_token();
    let owner = Arc::new(end.clone().drop_guard());
    let bus = RedisBus::open(url, &link, keys.clone(), sink, lifecycle, (&end, Arc::clone(&owner)))?;
    let keep_up = link.clone().keep_up();
    let (ended, task_link) = (end.clone(), link.clone());
    lifecycle.spawn("redis-link", async move { ended.run_until_cancelled(keep_up).await });
    let link = link.owned_by(owner);
    Ok(Store {
        log: Arc::new(RedisLog::new(link.clone(), keys.clone(), settings.retention, settings.gather)),
        presence: Arc::new(RedisPresence::new(link.clone(), keys.clone())),
        names: Arc::new(RedisNames::new(link.clone(), keys.clone(), task_link, lifecycle, end)),
        nodes: Arc::new(RedisNodes::new(link.clone(), keys)),
        bus: Arc::new(bus),
        health: link.health(),
    })
}
