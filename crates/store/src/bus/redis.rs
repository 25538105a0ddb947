//! The bus over Redis' sharded pub/sub. fred carries it, but its automatic resubscription is not relied upon:
//! the wanted channels are kept here, subscribed again one by one after every reconnect, and each
//! confirmation awaited; a heartbeat that the node sends to itself proves that the bus delivers. A slot
//! that moves to another node of a cluster loses its subscriptions without notice (fred drops the push that
//! says so): a changed slot map counts as a reconnect.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{Config, ReconnectPolicy, Server, TcpConfig};
use fred::types::{Builder, Message};
use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use redis::cmd;
use roomcast_ops::Lifecycle;
use roomcast_ops::trace::{Kind, Span};
use roomcast_protocol::{RoomName, UserName};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::{Bus, BusListener};
use crate::envelope;
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::Link;
use crate::nodes::Incarnation;

/// Messages that may wait between fred's reader and ours; more are a gap, which heals. Their slots are
/// allocated at once: 65,536 of them cost 40 MB.
const CAPACITY: usize = 8_192;
/// Concurrent subscriptions. One channel a command: of several, fred awaits one confirmation.
const CONCURRENT_SUBSCRIPTIONS: usize = 512;
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(3);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// So many heartbeats missed in succession while Redis answers: the connection is open and delivers nothing.
const MAX_MISSED_HEARTBEATS: u64 = 4;
const SLOT_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// After this, a client that gave up (its password was refused, say) is started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct RedisBus {
    inner: Arc<Inner>,
    /// Ends the task once the last handle is gone.
    _owned: Arc<DropGuard>,
}

struct Inner {
    client: Client,
    link: Link,
    keys: Keys,
    listener: Arc<dyn BusListener>,
    wanted: Mutex<HashSet<String>>,
    /// The channel of the node's private messages, once there is one.
    own: Mutex<Option<OwnChannel>>,
    heartbeat_channel: String,
    heartbeat_received: watch::Sender<u64>,
    /// The number of the newest heartbeat, and when it was sent.
    heartbeat_sent: Mutex<(u64, Instant)>,
    slots_moved: Notify,
}

/// The channel of the private messages for this node's users.
struct OwnChannel {
    name: String,
    subscribed: bool,
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
        let settings = |error: fred::error::Error| StoreError::Settings(error.to_string());
        let mut config = Config::from_url(url).map_err(settings)?;
        config.fail_fast = false;
        let mut builder = Builder::from_config(config);
        builder
            .with_performance_config(|performance| {
                performance.broadcast_channel_capacity = CAPACITY;
                performance.default_command_timeout = SUBSCRIBE_TIMEOUT;
            })
            .with_connection_config(|connection| {
                connection.connection_timeout = Duration::from_secs(1);
                connection.internal_command_timeout = SUBSCRIBE_TIMEOUT;
                connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
            })
            .set_policy(ReconnectPolicy::new_exponential(0, 20, 1_000, 2));
        let client = builder.build().map_err(settings)?;
        // Not the node's incarnation but a random one: what is proven is this connection.
        let heartbeat_channel = keys.heartbeat(&Incarnation::random());
        let inner = Arc::new(Inner {
            client,
            link: link.clone(),
            keys,
            listener,
            wanted: Mutex::new(HashSet::from([heartbeat_channel.clone()])),
            own: Mutex::new(None),
            heartbeat_channel,
            heartbeat_received: watch::Sender::new(0),
            heartbeat_sent: Mutex::new((0, Instant::now())),
            slots_moved: Notify::new(),
        });
        let (tasks, end) = (Arc::clone(&inner), end.clone());
        lifecycle.spawn("redis-bus", async move {
            let messages = tasks.client.message_rx();
            let (reconnects, errors) = (tasks.client.reconnect_rx(), tasks.client.error_rx());
            let work = async {
                tokio::join!(
                    tasks.keep_connected(),
                    tasks.read(messages),
                    tasks.keep_subscribed(reconnects, errors),
                    tasks.send_heartbeats(),
                    tasks.check_slots(),
                );
            };
            end.run_until_cancelled(work).await;
        });
        Ok(Self { inner, _owned: owned })
    }
}

impl Inner {
    /// fred reconnects by itself, for ever, but for errors that it takes for final.
    async fn keep_connected(&self) {
        loop {
            let ended = AbortOnDropHandle::new(self.client.connect()).await;
            tracing::warn!(?ended, "pub/sub client stopped reconnecting; restarting it");
            sleep(RESTART_AFTER).await;
        }
    }

    async fn read(&self, mut messages: tokio::sync::broadcast::Receiver<Message>) {
        loop {
            match messages.recv().await {
                Ok(message) => self.deliver(&message),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(
                        missed,
                        "pub/sub messages dropped: receive buffer full; rooms re-read their logs"
                    );
                    self.listener.on_gap(None);
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn deliver(&self, message: &Message) {
        let channel: &str = &message.channel;
        if channel == self.heartbeat_channel {
            let number = message.value.as_u64().unwrap_or(0);
            let (sent, at) = *self.heartbeat_sent.lock();
            if number == sent {
                self.link.observer().bus_heartbeat(Some(at.elapsed()));
            }
            self.heartbeat_received.send_replace(number);
            return;
        }
        let payload = message.value.as_bytes().unwrap_or_default();
        let Some(room) = self.keys.room_of_channel(channel) else {
            return self.deliver_private(payload);
        };
        self.link.observer().bus_message();
        match envelope::parse(payload) {
            Ok(event) => self.listener.on_event(&room, event),
            Err(error) => {
                tracing::warn!(%error, "unreadable pub/sub message; the room re-reads its log");
                // It may have been a message, which the log has.
                self.listener.on_gap(Some(&room));
            }
        }
    }

    /// The only channel besides those of rooms and the heartbeat's is that of the node's private messages.
    fn deliver_private(&self, payload: &[u8]) {
        match envelope::parse_private(payload) {
            Ok((person, event)) => self.listener.on_inbox(&person, event),
            Err(error) => {
                tracing::warn!(%error, "unreadable private message from pub/sub; everything is read again");
                self.listener.on_gap(None);
            }
        }
    }

    async fn keep_subscribed(
        &self,
        mut reconnects: tokio::sync::broadcast::Receiver<Server>,
        mut errors: tokio::sync::broadcast::Receiver<(fred::error::Error, Option<Server>)>,
    ) {
        let mut lost: Option<Instant> = None;
        loop {
            if self.client.wait_for_connect().await.is_ok() {
                while !self.subscribe_all().await {
                    sleep(Duration::from_millis(50)).await;
                }
                self.listener.on_gap(None);
                if let Some(lost) = lost.take() {
                    self.link.observer().resubscribed(lost.elapsed());
                }
            }
            // Errors of before, or of a connection that the next reconnect replaces.
            while errors.try_recv().is_ok() {}
            loop {
                tokio::select! {
                    // Lagged means that there were several: once is enough for all.
                    reconnected = reconnects.recv() => if matches!(reconnected, Err(RecvError::Closed)) {
                        return;
                    } else {
                        break;
                    },
                    () = self.slots_moved.notified() => break,
                    error = errors.recv() => match error {
                        Err(RecvError::Closed) => return,
                        _ => lost = lost.or(Some(Instant::now())),
                    }
                }
            }
            lost = lost.or(Some(Instant::now()));
            while reconnects.try_recv().is_ok() {}
        }
    }

    async fn subscribe_all(&self) -> bool {
        let wanted: Vec<String> = self.wanted.lock().iter().cloned().collect();
        let channels = wanted.len();
        let failed = stream::iter(wanted)
            .map(|channel| async move { self.resubscribe(channel).await.err() })
            .buffer_unordered(CONCURRENT_SUBSCRIPTIONS)
            .filter_map(std::future::ready)
            .fold(0_usize, |failed, error| {
                tracing::debug!(%error, "subscribing to a channel failed");
                std::future::ready(failed + 1)
            })
            .await;
        tracing::info!(channels, failed, "pub/sub channels subscribed");
        failed == 0
    }

    /// Subscribes one wanted channel. It may be unsubscribed meanwhile, and subscribed again: what we sent may
    /// be carried out after what was sent for that, so we send until it agrees with what is wanted now. What is
    /// missed in between belongs to the gap that is reported once all channels are subscribed.
    async fn resubscribe(&self, channel: String) -> std::result::Result<(), fred::error::Error> {
        let is_wanted = || self.wanted.lock().contains(&channel);
        loop {
            let wanted = is_wanted();
            if wanted {
                self.client.ssubscribe(channel.clone()).await?;
            } else {
                self.client.sunsubscribe(channel.clone()).await?;
            }
            if is_wanted() == wanted {
                return Ok(());
            }
        }
    }

    /// Compares which node of a cluster has which slots with what it was before.
    async fn check_slots(&self) {
        let mut known = None;
        while self.link.is_cluster() {
            sleep(SLOT_CHECK_INTERVAL).await;
            let Ok(slots) = self.link.slots().await else { continue };
            if known.as_ref().is_some_and(|known| *known != slots) {
                tracing::info!("cluster slots moved; resubscribing");
                self.slots_moved.notify_one();
            }
            known = Some(slots);
        }
    }

    /// Publishes to a channel of our own. If nothing comes back while Redis answers commands, the connection
    /// delivers nothing and does not notice: it is made again.
    async fn send_heartbeats(&self) {
        let mut ticks = interval(HEARTBEAT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut number, mut missed) = (0_u64, 0_u64);
        loop {
            ticks.tick().await;
            number += 1;
            *self.heartbeat_sent.lock() = (number, Instant::now());
            let sent: Result<u64> =
                self.link.command(cmd("SPUBLISH").arg(&self.heartbeat_channel).arg(number)).await;
            if sent.is_err() {
                self.link.observer().bus_heartbeat(None);
                missed = 0;
                continue;
            }
            let mut received = self.heartbeat_received.subscribe();
            let echo = received.wait_for(|received| *received >= number);
            if timeout(HEARTBEAT_INTERVAL / 2, echo).await.is_ok() {
                missed = 0;
                continue;
            }
            self.link.observer().bus_heartbeat(None);
            missed += 1;
            if missed >= MAX_MISSED_HEARTBEATS {
                missed = 0;
                tracing::warn!("pub/sub heartbeat timed out; reconnecting");
                if let Err(error) = self.client.force_reconnection().await {
                    tracing::debug!(%error, "pub/sub reconnection failed");
                }
            }
        }
    }
}

fn unavailable(error: &fred::error::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[async_trait]
impl Bus for RedisBus {
    async fn subscribe(&self, room: &RoomName) -> Result<()> {
        if !self.inner.link.health().now().up {
            return Err(StoreError::Unavailable("not connected".into()));
        }
        let _span = Span::redis("subscribe", Kind::Client, "SSUBSCRIBE");
        let channel = self.inner.keys.room_channel(room);
        // Wanted first: a reconnect in between subscribes it, too.
        self.inner.wanted.lock().insert(channel.clone());
        let subscribed = self.inner.client.ssubscribe(channel.clone()).await;
        if subscribed.is_err() {
            self.inner.wanted.lock().remove(&channel);
        }
        subscribed.map_err(|error| unavailable(&error))
    }

    async fn unsubscribe(&self, room: &RoomName) -> Result<()> {
        let channel = self.inner.keys.room_channel(room);
        self.inner.wanted.lock().remove(&channel);
        self.inner.client.sunsubscribe(channel).await.map_err(|error| unavailable(&error))
    }

    async fn listen(&self, node: &Incarnation) -> Result<()> {
        let channel = self.inner.keys.node_inbox(node);
        let (former, late) = {
            let mut own = self.inner.own.lock();
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
        {
            // Wanted also where it cannot be subscribed now: the next reconnect does it.
            let mut wanted = self.inner.wanted.lock();
            wanted.insert(channel.clone());
            former.iter().for_each(|former| {
                wanted.remove(former);
            });
        }
        if !self.inner.link.health().now().up {
            return Err(StoreError::Unavailable("not connected".into()));
        }
        if let Some(former) = former {
            // What it still brings is for nobody.
            self.inner.client.sunsubscribe(former).await.unwrap_or_default();
        }
        self.inner.client.ssubscribe(channel.clone()).await.map_err(|error| unavailable(&error))?;
        if let Some(own) = self.inner.own.lock().as_mut().filter(|own| own.name == channel) {
            own.subscribed = true;
        }
        if late {
            self.inner.listener.on_gap(None);
        }
        Ok(())
    }

    async fn publish_ephemeral(&self, room: &RoomName, user: &UserName, typing: bool) -> Result<()> {
        let channel = self.inner.keys.room_channel(room);
        self.inner.link.command(cmd("SPUBLISH").arg(channel).arg(envelope::typing(user, typing))).await
    }

    fn subscriptions(&self) -> usize {
        let own = usize::from(self.inner.own.lock().is_some());
        self.inner.wanted.lock().len() - 1 - own
    }
}
