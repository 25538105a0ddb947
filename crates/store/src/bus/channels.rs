//! The channels that this node wants, and where what they bring goes: to the listener, or, for the heartbeat that the
//! node sends to itself, to whoever waits for it. Shared by `redis.rs` and what carries the subscriptions, `single.rs` or
//! `cluster.rs`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roomcast_protocol::RoomName;
use tokio::sync::watch;

use super::BusListener;
use crate::envelope;
use crate::keys::Keys;
use crate::link::Link;
use crate::nodes::Incarnation;

/// How long a subscription may take.
pub(super) const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) struct Channels {
    pub(super) link: Link,
    pub(super) keys: Keys,
    pub(super) listener: Arc<dyn BusListener>,
    wanted: Mutex<HashSet<String>>,
    pub(super) heartbeat: String,
    /// The ordinary channel on which gateways tell each other what the others must look at.
    pub(super) control: String,
    pub(super) heartbeat_received: watch::Sender<u64>,
    /// The number of the newest heartbeat, and when it was sent.
    pub(super) heartbeat_sent: Mutex<(u64, Instant)>,
}

impl Channels {
    pub(super) fn new(link: &Link, keys: Keys, listener: Arc<dyn BusListener>) -> Self {
        // Not the node's incarnation but a random one: what is proven is this connection.
        let control = keys.control();
        let heartbeat = keys.heartbeat(&Incarnation::random());
        Self {
            link: link.clone(),
            keys,
            listener,
            wanted: Mutex::new(HashSet::from([heartbeat.clone()])),
            heartbeat,
            control,
            heartbeat_received: watch::Sender::new(0),
            heartbeat_sent: Mutex::new((0, Instant::now())),
        }
    }

    pub(super) fn want(&self, channel: &str) {
        self.wanted.lock().insert(channel.to_owned());
    }

    pub(super) fn forget(&self, channel: &str) {
        self.wanted.lock().remove(channel);
    }

    pub(super) fn is_wanted(&self, channel: &str) -> bool {
        self.wanted.lock().contains(channel)
    }

    pub(super) fn all_wanted(&self) -> Vec<String> {
        self.wanted.lock().iter().cloned().collect()
    }

    /// How many, the heartbeat's included.
    pub(super) fn count(&self) -> usize {
        self.wanted.lock().len()
    }

    /// The room of a channel; none for others.
    pub(super) fn room(&self, channel: &str) -> Option<RoomName> {
        self.keys.room_of_channel(channel)
    }

    /// Takes what a channel brought.
    pub(super) fn deliver(&self, channel: &str, payload: &[u8]) {
        if channel == self.heartbeat {
            let number =
                std::str::from_utf8(payload).ok().and_then(|number| number.parse().ok()).unwrap_or(0);
            let (sent, at) = *self.heartbeat_sent.lock();
            if number == sent {
                self.link.observer().bus_heartbeat(Some(at.elapsed()));
            }
            self.heartbeat_received.send_replace(number);
            return;
        }
        if channel == self.control {
            return self.reread(payload);
        }
        let Some(room) = self.room(channel) else {
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

    /// Something was published in a room without a receiver, although this node is subscribed: the slot is about to move,
    /// and was published where its keys are already, but not yet its subscriptions. Every gateway reads the room again.
    pub(crate) async fn published_unheard(&self, room: &RoomName) {
        let channel = self.keys.room_channel(room);
        if !self.link.is_cluster() || !self.is_wanted(&channel) {
            return;
        }
        self.listener.on_gap(Some(room));
        let sent = self.link.command::<()>(redis::cmd("PUBLISH").arg(&self.control).arg(channel)).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "gateways could not be told of a message that nobody received");
        }
    }

    /// A message of a room was published where nobody was subscribed: it is in the log.
    fn reread(&self, payload: &[u8]) {
        let room = std::str::from_utf8(payload).ok().and_then(|channel| self.room(channel));
        if let Some(room) = room.filter(|room| self.is_wanted(&self.keys.room_channel(room))) {
            self.listener.on_gap(Some(&room));
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
}
