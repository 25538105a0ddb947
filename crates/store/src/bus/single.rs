//! Subscriptions to one server, over fred. Its automatic resubscription is not relied upon: after every reconnect all
//! wanted channels are subscribed again, one by one, and each confirmation is awaited. Called by `redis.rs`; a cluster
//! has `cluster.rs` in its place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{Config, ReconnectPolicy, Server, TcpConfig};
use fred::types::{Builder, Message};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::channels::{Channels, SUBSCRIBE_TIMEOUT};
use crate::error::{Result, StoreError};

/// Messages that may wait between fred's reader and ours; more are a gap, which heals. Their slots are
/// allocated at once: 65,536 of them cost 40 MB.
const CAPACITY: usize = 8_192;
/// Concurrent subscriptions. One channel a command: of several, fred awaits one confirmation.
const CONCURRENT_SUBSCRIPTIONS: usize = 512;
/// How soon failed subscriptions are tried again: at first, and at last.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// After this, a client that gave up (its password was refused, say) is started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Single {
    client: Client,
    channels: Arc<Channels>,
}

impl Single {
    pub(super) fn new(url: &str, channels: Arc<Channels>) -> Result<Self> {
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
        Ok(Self { client: builder.build().map_err(settings)?, channels })
    }

    /// Never returns.
    pub(super) async fn run(&self) {
        let (messages, reconnects, errors) =
            (self.client.message_rx(), self.client.reconnect_rx(), self.client.error_rx());
        tokio::join!(self.keep_connected(), self.read(messages), self.keep_subscribed(reconnects, errors));
    }

    pub(super) async fn subscribe(&self, channel: &str) -> Result<()> {
        self.client.ssubscribe(channel).await.map_err(|error| unavailable(&error))
    }

    pub(super) async fn unsubscribe(&self, channel: &str) -> Result<()> {
        self.client.sunsubscribe(channel.to_owned()).await.map_err(|error| unavailable(&error))
    }

    /// Makes the connection anew.
    pub(super) async fn reconnect(&self) {
        if let Err(error) = self.client.force_reconnection().await {
            tracing::debug!(%error, "pub/sub reconnection failed");
        }
    }

    /// fred reconnects by itself, for ever, but for errors that it takes for final.
    async fn keep_connected(&self) {
        loop {
            let ended = AbortOnDropHandle::new(self.client.connect()).await;
            tracing::warn!(?ended, "pub/sub client stopped reconnecting; restarting it");
            sleep(RESTART_AFTER).await;
        }
    }

    async fn read(&self, mut messages: Receiver<Message>) {
        loop {
            match messages.recv().await {
                Ok(message) => {
                    self.channels.deliver(&message.channel, message.value.as_bytes().unwrap_or_default())
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(
                        missed,
                        "pub/sub messages dropped: receive buffer full; rooms re-read their logs"
                    );
                    self.channels.listener.on_gap(None);
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn keep_subscribed(
        &self,
        mut reconnects: Receiver<Server>,
        mut errors: Receiver<(fred::error::Error, Option<Server>)>,
    ) {
        let mut lost: Option<Instant> = None;
        loop {
            if self.client.wait_for_connect().await.is_ok() {
                let mut retry = RETRY.0;
                let mut warned = false;
                while !self.subscribe_all(&mut warned).await {
                    sleep(retry).await;
                    retry = RETRY.1.min(retry * 2);
                }
                self.channels.listener.on_gap(None);
                if let Some(lost) = lost.take() {
                    self.channels.link.observer().resubscribed(lost.elapsed());
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

    /// False where some could not be subscribed to. The first reason of an outage is a warning, unless `warned`.
    async fn subscribe_all(&self, warned: &mut bool) -> bool {
        let wanted: Vec<String> = self.channels.all_wanted();
        let channels = wanted.len();
        let failed = stream::iter(wanted)
            .map(|channel| async move { self.resubscribe(channel).await.err() })
            .buffer_unordered(CONCURRENT_SUBSCRIPTIONS)
            .filter_map(std::future::ready)
            .fold(0_usize, |failed, error| {
                if std::mem::replace(warned, true) {
                    tracing::debug!(%error, "a pub/sub channel could not be subscribed");
                } else {
                    tracing::warn!(%error, "pub/sub channels cannot be subscribed; trying again");
                }
                std::future::ready(failed + 1)
            })
            .await;
        if failed == 0 {
            tracing::info!(channels, "pub/sub channels subscribed");
        }
        failed == 0
    }

    /// Subscribes one wanted channel. It may be unsubscribed meanwhile, and subscribed again: what we sent may
    /// be carried out after what was sent for that, so we send until it agrees with what is wanted now. What is
    /// missed in between belongs to the gap that is reported once all channels are subscribed.
    async fn resubscribe(&self, channel: String) -> std::result::Result<(), fred::error::Error> {
        let is_wanted = || self.channels.is_wanted(&channel);
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
}

fn unavailable(error: &fred::error::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
