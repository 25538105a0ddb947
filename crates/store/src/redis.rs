//! Assembles the Redis implementations: one connection for commands, one for the bus. Called by
//! [`crate::Store::on_redis`].

use std::sync::Arc;

use roomcast_ops::Lifecycle;

use crate::address::Address;
use crate::bus::BusListener;
use crate::bus::redis::RedisBus;
use crate::error::Result;
use crate::images::redis::RedisImages;
use crate::inbox::redis::RedisInbox;
use crate::keys::Keys;
use crate::layout::WriteLayout;
use crate::link::Link;
use crate::log::redis::RedisLog;
use crate::names::redis::RedisNames;
use crate::nodes::redis::RedisNodes;
use crate::observer::Observer;
use crate::presence::redis::RedisPresence;
use crate::settings::Settings;
use crate::store::Store;

pub(crate) fn open(
    url: &str,
    settings: &Settings,
    listener: Arc<dyn BusListener>,
    observer: Arc<dyn Observer>,
    lifecycle: &Lifecycle,
) -> Result<Store> {
    let keys = Keys::new(&settings.prefix);
    // The tasks' own link does not keep them running; the handles' does.
    let task_link = Link::new(Address::parse(url)?, observer);
    let end = lifecycle.hard().child_token();
    let owner = Arc::new(end.clone().drop_guard());
    let bus = RedisBus::open(url, &task_link, keys.clone(), listener, lifecycle, (&end, Arc::clone(&owner)))?;
    let layout = Arc::new(WriteLayout::default());
    let (link, nodes) = (task_link.clone(), RedisNodes::new(task_link.clone(), keys.clone()));
    let (ended, kept, wait) = (end.clone(), Arc::clone(&layout), settings.upgrade_wait);
    lifecycle.spawn("redis-link", async move {
        let work = async { tokio::join!(link.keep_connected(), kept.keep(nodes, link.health(), wait)) };
        ended.run_until_cancelled(work).await
    });
    let link = task_link.owned_by(owner);
    let images =
        RedisImages::new(link.clone(), keys.clone(), settings.retention.idle, settings.image_store_bytes);
    Ok(Store {
        log: Arc::new(RedisLog::new(
            link.clone(),
            keys.clone(),
            settings,
            (layout, images.clone(), bus.channels()),
        )),
        inbox: Arc::new(RedisInbox::new(link.clone(), keys.clone(), settings, images.clone())),
        images: Arc::new(images),
        presence: Arc::new(RedisPresence::new(link.clone(), keys.clone())),
        names: Arc::new(RedisNames::new(
            link.clone(),
            (keys.clone(), settings.retention.idle),
            task_link,
            lifecycle,
            end,
        )),
        nodes: Arc::new(RedisNodes::new(link.clone(), keys)),
        bus: Arc::new(bus),
        health: link.health(),
    })
}
