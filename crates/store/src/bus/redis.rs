//! The bus over Redis' sharded pub/sub. The channels that are wanted are kept in `channels.rs`; `single.rs` subscribes
//! to them on one server, `cluster.rs` on the nodes of a cluster. A heartbeat that the node sends to itself proves that
//! the bus delivers. Called by `crate::redis`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use redis::cmd;
use roomcast_ops::Lifecycle;
use roomcast_ops::trace::{Kind, Span};
use roomcast_protocol::{RoomName, UserName};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::channels::Channels;
use super::cluster::Cluster;
use super::single::Single;
use super::{Bus, BusListener};
use crate::envelope;
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::Link;
use crate::nodes::Incarnation;

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// So many heartbeats missed in succession while Redis answers: the connection is open and delivers nothing.
const MAX_MISSED_HEARTBEATS: u64 = 4;

pub(crate) struct RedisBus {
    channels: Arc<Channels>,
    carrier: Carrier,
    /// The channel of the node's private messages, once there is one.
    own: Mutex<Option<OwnChannel>>,
    /// Ends the tasks once the last handle is gone.
    _owned: Arc<DropGuard>,
}

/// The channel of the private messages for this node's users.
struct OwnChannel {
    name: String,
    subscribed: bool,
}

/// What subscribes to the channels, and brings what they carry.
#[derive(Clone)]
enum Carrier {
    Single(Arc<Single>),
    Cluster(Arc<Cluster>),
}

impl Carrier {
    /// Never returns.
    async fn run(&self) {
        match self {
            Self::Single(single) => single.run().await,
            Self::Cluster(cluster) => cluster.run().await,
        }
    }

    /// Returns once the subscription was confirmed.
    async fn subscribe(&self, channel: &str) -> Result<()> {
        match self {
            Self::Single(single) => single.subscribe(channel).await,
            Self::Cluster(cluster) => cluster.subscribe(channel).await,
        }
    }

    async fn unsubscribe(&self, channel: &str) -> Result<()> {
        match self {
            Self::Single(single) => single.unsubscribe(channel).await,
            Self::Cluster(cluster) => {
                cluster.unsubscribe(channel).await;
                Ok(())
            }
        }
    }

    async fn reconnect(&self) {
        match self {
            Self::Single(single) => single.reconnect().await,
            Self::Cluster(cluster) => cluster.reconnect(),
        }
    }
}

impl RedisBus {
    pub(crate) fn open(
        url: &str,
        link: &Link,
        keys: Keys,
        listener: Arc<dyn BusListener>,
        lifecycle: &Lifecycle,
        (end, owned): (&CancellationToken, Arc<DropGuard>),
    ) -> Result<Self> {
        let channels = Arc::new(Channels::new(link, keys, listener));
        let carrier = match link.cluster_nodes() {
            Some(nodes) => {
                let tasks = (lifecycle.clone(), end.clone());
                Carrier::Cluster(Arc::new(Cluster::new(nodes, Arc::clone(&channels), tasks)))
            }
            None => Carrier::Single(Arc::new(Single::new(url, Arc::clone(&channels))?)),
        };
        let (ended, running, sent) = (end.clone(), carrier.clone(), Arc::clone(&channels));
        lifecycle.spawn("redis-bus", async move {
            let work = async { tokio::join!(running.run(), send_heartbeats(&sent, &running)) };
            ended.run_until_cancelled(work).await;
        });
        Ok(Self { channels, carrier, own: Mutex::new(None), _owned: owned })
    }

    /// The channels that are subscribed to.
    pub(crate) fn channels(&self) -> Arc<Channels> {
        Arc::clone(&self.channels)
    }

    fn refuse_while_down(&self) -> Result<()> {
        if self.channels.link.health().now().up {
            return Ok(());
        }
        Err(StoreError::Unavailable("not connected".into()))
    }
}

/// Publishes to a channel of our own. If nothing comes back while Redis answers commands, the connection delivers nothing
/// and does not notice: it is made again.
async fn send_heartbeats(channels: &Channels, carrier: &Carrier) {
    let mut ticks = interval(HEARTBEAT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut number, mut missed) = (0_u64, 0_u64);
    let observer = channels.link.observer();
    loop {
        ticks.tick().await;
        number += 1;
        *channels.heartbeat_sent.lock() = (number, Instant::now());
        let sent: Result<u64> =
            channels.link.command(cmd("SPUBLISH").arg(&channels.heartbeat).arg(number)).await;
        if sent.is_err() {
            observer.bus_heartbeat(None);
            missed = 0;
            continue;
        }
        let mut received = channels.heartbeat_received.subscribe();
        let echo = received.wait_for(|received| *received >= number);
        if timeout(HEARTBEAT_INTERVAL / 2, echo).await.is_ok() {
            missed = 0;
            continue;
        }
        observer.bus_heartbeat(None);
        missed += 1;
        if missed >= MAX_MISSED_HEARTBEATS {
            missed = 0;
            tracing::warn!("pub/sub heartbeat timed out; reconnecting");
            carrier.reconnect().await;
        }
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn subscribe(&self, room: &RoomName) -> Result<()> {
        self.refuse_while_down()?;
        let _span = Span::redis("subscribe", Kind::Client, "SSUBSCRIBE");
        let channel = self.channels.keys.room_channel(room);
        // Wanted first: a reconnect in between subscribes it, too.
        self.channels.want(&channel);
        let subscribed = self.carrier.subscribe(&channel).await;
        if subscribed.is_err() {
            self.channels.forget(&channel);
        }
        subscribed
    }

    async fn unsubscribe(&self, room: &RoomName) -> Result<()> {
        let channel = self.channels.keys.room_channel(room);
        self.channels.forget(&channel);
        self.carrier.unsubscribe(&channel).await
    }

    async fn listen(&self, node: &Incarnation) -> Result<()> {
        let channel = self.channels.keys.node_inbox(node);
        let (former, late) = {
            let mut own = self.own.lock();
            match &*own {
                Some(OwnChannel { name, subscribed }) if *name == channel => {
                    if *subscribed {
                        return Ok(());
                    }
                    (None, true)
                }
                _ => {
                    let new = OwnChannel { name: channel.clone(), subscribed: false };
                    (own.replace(new).map(|former| former.name), false)
                }
            }
        };
        // Wanted also where it cannot be subscribed now: the next reconnect does it.
        self.channels.want(&channel);
        if let Some(former) = &former {
            self.channels.forget(former);
        }
        self.refuse_while_down()?;
        if let Some(former) = former {
            // What it still brings is for nobody.
            self.carrier.unsubscribe(&former).await.unwrap_or_default();
        }
        self.carrier.subscribe(&channel).await?;
        if let Some(own) = self.own.lock().as_mut().filter(|own| own.name == channel) {
            own.subscribed = true;
        }
        if late {
            self.channels.listener.on_gap(None);
        }
        Ok(())
    }

    async fn publish_ephemeral(&self, room: &RoomName, user: &UserName, typing: bool) -> Result<()> {
        let channel = self.channels.keys.room_channel(room);
        self.channels.link.command(cmd("SPUBLISH").arg(channel).arg(envelope::typing(user, typing))).await
    }

    fn subscriptions(&self) -> usize {
        let own = usize::from(self.own.lock().is_some());
        self.channels.count() - 1 - own
    }
}
