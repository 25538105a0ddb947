//! The bus over Redis' sharded pub/sub. fred carries it, but none of its conveniences is relied upon:
//! the wanted channels are kept here, subscribed again one by one after every reconnect, and each
//! confirmation awaited; a heartbeat to ourselves through the bus is the proof that it delivers. A slot
//! that moves to another node of a cluster loses its subscriptions without a word (fred drops the push that
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

use super::{Bus, Sink};
use crate::envelope;
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::Link;
use crate::nodes::Incarnation;

/// Messages that may wait between fred's reader and ours; more are a gap, which heals. Their slots are
/// allocated at once: 65,536 of them cost 40 MB.
const CAPACITY: usize = 8_192;
/// Subscriptions under way at once. One channel a command: of several, fred awaits one confirmation.
const AT_ONCE: usize = 512;
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(3);
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// So many beats unheard while Redis answers: the connection is there and delivers nothing.
const DEAF_AFTER: u64 = 4;
const LOOK_AT_SLOTS_EVERY: Duration = Duration::from_secs(2);
/// After this, a client that gave up (its password was refused, say) is started again.
const START_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct RedisBus {
    inner: Arc<Inner>,
    /// Ends the task once the last handle is gone.
    _owned: Arc<DropGuard>,
}

struct Inner {
    client: Client,
    link: Link,
    keys: Keys,
    sink: Arc<dyn Sink>,
    wanted: Mutex<HashSet<String>>,
    beat_channel: String,
    beat_heard: watch::Sender<u64>,
    /// The beat under way, and when it was sent.
    beat_sent: Mutex<(u64, Instant)>,
    slots_moved: Notify,
}

impl RedisBus {
    pub(crate) fn open(
        url: &str,
        link: &Link,
        keys: Keys,
        sink: Arc<dyn Sink>,
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
        // A word of its own, not the node's incarnation: what is proven is this connection.
        let beat_channel = keys.beat(&Incarnation::random());
        let inner = Arc::new(Inner {
            client,
            link: link.clone(),
            keys,
            sink,
            wanted: Mutex::new(HashSet::from([beat_channel.clone()])),
            beat_channel,
            beat_heard: watch::Sender::new(0),
            beat_sent: Mutex::new((0, Instant::now())),
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
                    tasks.beat(),
                    tasks.look_at_slots(),
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
            tracing::warn!(?ended, "the bus gave up connecting: beginning again");
            sleep(START_AGAIN_AFTER).await;
        }
    }

    async fn read(&self, mut messages: tokio::sync::broadcast::Receiver<Message>) {
        loop {
            match messages.recv().await {
                Ok(message) => self.deliver(&message),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "the bus was read too slowly");
                    self.sink.gap(None);
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn deliver(&self, message: &Message) {
        let channel: &str = &message.channel;
        if channel == self.beat_channel {
            let beat = message.value.as_u64().unwrap_or(0);
            let (sent, at) = *self.beat_sent.lock();
            if beat == sent {
                self.link.observer().bus_beat(Some(at.elapsed()));
            }
            self.beat_heard.send_replace(beat);
            return;
        }
        let Some(room) = self.keys.room_of_channel(channel) else {
            return;
        };
        self.link.observer().bus_message();
        let payload = message.value.as_bytes().unwrap_or_default();
        match envelope::parse(payload) {
            Ok(news) => self.sink.news(&room, news),
            Err(error) => {
                tracing::warn!(%error, "news was not understood");
                // It may have been a message: what the log says counts.
                self.sink.gap(Some(&room));
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
                self.sink.gap(None);
                if let Some(lost) = lost.take() {
                    self.link.observer().resubscribed(lost.elapsed());
                }
            }
            // Of the time before, or of one that the next reconnect will speak of.
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
            .map(|channel| async move { self.client.ssubscribe(channel).await.err() })
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .fold(0_usize, |failed, error| {
                tracing::debug!(%error, "a subscription failed");
                std::future::ready(failed + 1)
            })
            .await;
        tracing::info!(channels, failed, "the bus is subscribed");
        failed == 0
    }

    /// Compares who has which slots, where there are any.
    async fn look_at_slots(&self) {
        let mut known = None;
        while self.link.is_cluster() {
            sleep(LOOK_AT_SLOTS_EVERY).await;
            let Ok(slots) = self.link.slots().await else { continue };
            if known.as_ref().is_some_and(|known| *known != slots) {
                tracing::info!("slots moved: subscribing anew");
                self.slots_moved.notify_one();
            }
            known = Some(slots);
        }
    }

    /// Speaks to ourselves through the bus. Silence while Redis answers commands means deafness, which
    /// the connection itself does not notice.
    async fn beat(&self) {
        let mut ticks = interval(BEAT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut beat, mut unheard) = (0_u64, 0_u64);
        loop {
            ticks.tick().await;
            beat += 1;
            *self.beat_sent.lock() = (beat, Instant::now());
            let sent: Result<u64> =
                self.link.command(cmd("SPUBLISH").arg(&self.beat_channel).arg(beat)).await;
            if sent.is_err() {
                self.link.observer().bus_beat(None);
                unheard = 0;
                continue;
            }
            let mut heard = self.beat_heard.subscribe();
            let echo = heard.wait_for(|heard| *heard >= beat);
            if timeout(BEAT_EVERY / 2, echo).await.is_ok() {
                unheard = 0;
                continue;
            }
            self.link.observer().bus_beat(None);
            unheard += 1;
            if unheard >= DEAF_AFTER {
                unheard = 0;
                tracing::warn!("the bus is deaf: connecting anew");
                if let Err(error) = self.client.force_reconnection().await {
                    tracing::debug!(%error, "connecting anew failed");
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

    async fn whisper(&self, room: &RoomName, user: &UserName, typing: bool) -> Result<()> {
        let channel = self.inner.keys.room_channel(room);
        self.inner.link.command(cmd("SPUBLISH").arg(channel).arg(envelope::typing(user, typing))).await
    }

    fn subscriptions(&self) -> usize {
        self.inner.wanted.lock().len() - 1
    }
}
