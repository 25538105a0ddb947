//! Subscriptions to a Redis Cluster: one connection to each primary (`node.rs`), and which of them holds which channel.
//! A subscription is held until the node or its connection says that it ended; then it is made again where the slot is
//! now, and the rooms concerned are reported as a gap. Called by `redis.rs`.
//!
//! Where to subscribe is what most connected nodes say: a node that was removed from the cluster, or cut off from
//! it, remembers what was once true. A held subscription is compared with the map of its own node only.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use roomcast_ops::Lifecycle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::channels::{Channels, SUBSCRIBE_TIMEOUT};
use super::exchange::{ConnectionId, Refused, Reports, Request};
use super::node::{self, Opening, QUEUE};
use super::placement::{Failure, Node, State};
use super::slots::SlotMap;
use crate::address::Credentials;
use crate::error::{Result, StoreError};
use crate::partition::slot;

/// How long one node may take to confirm a subscription, before the slot is looked up again.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);
/// Concurrent subscriptions.
const CONCURRENT_SUBSCRIPTIONS: usize = 512;
/// How soon something that failed is tried again: at first, and at last.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// Gaps of more rooms than this are reported as one of all rooms.
const ROOMS_REPORTED_SINGLY: usize = 64;

/// A handle on the subscriptions.
pub(super) struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    /// The nodes that the settings name.
    seeds: Vec<String>,
    credentials: Option<Credentials>,
    channels: Arc<Channels>,
    tasks: (Lifecycle, CancellationToken),
    state: Mutex<State>,
    /// Something was lost, or a node told something new.
    changed: Notify,
}

impl Cluster {
    pub(super) fn new(
        (seeds, credentials): (Vec<String>, Option<Credentials>),
        channels: Arc<Channels>,
        tasks: (Lifecycle, CancellationToken),
    ) -> Self {
        let mut state = State::default();
        for channel in channels.all_wanted() {
            state.lost.insert(channel);
        }
        let (state, changed) = (Mutex::new(state), Notify::new());
        Self { inner: Arc::new(Inner { seeds, credentials, channels, tasks, state, changed }) }
    }

    /// Never returns.
    pub(super) async fn run(&self) {
        let inner = &self.inner;
        let (mut first, mut retry) = (true, RETRY.0);
        loop {
            inner.connect();
            let lost: Vec<String> = inner.state.lock().lost.drain().collect();
            let any = !lost.is_empty();
            if any {
                inner.look();
            }
            let failed = inner.subscribe_again(lost, &mut first).await;
            if any {
                // A replica subscribes like its primary, but may not yet be sent what that publishes: what it tells now
                // shows that the channels are in the wrong place.
                inner.look_now();
            }
            // Not for ever: connections that failed are opened again.
            let wait = if failed { retry } else { RETRY.1 };
            retry = if failed { RETRY.1.min(retry * 2) } else { RETRY.0 };
            timeout(wait, inner.changed.notified()).await.unwrap_or_default();
        }
    }

    /// Returns once the subscription was confirmed by the node that has the slot.
    pub(super) async fn subscribe(&self, channel: &str) -> Result<()> {
        let (deadline, mut retry, mut moved) = (Instant::now() + SUBSCRIBE_TIMEOUT, RETRY.0, None);
        loop {
            match self.inner.attempt(channel, moved.take()).await {
                Ok(()) => return Ok(()),
                Err(refused) if Instant::now() + retry > deadline => {
                    let why = match refused {
                        Refused::Moved(_) => "the slot is being moved".to_owned(),
                        Refused::Error(why) | Refused::Other(why) => why,
                    };
                    return Err(StoreError::Unavailable(why));
                }
                Err(refused) => {
                    if let Refused::Moved(address) = refused {
                        moved = Some(address);
                    }
                    self.inner.look();
                    sleep(retry).await;
                    retry = RETRY.1.min(retry * 2);
                }
            }
        }
    }

    pub(super) async fn unsubscribe(&self, channel: &str) {
        let holder = {
            let mut state = self.inner.state.lock();
            state.lost.remove(channel);
            let Some(id) = state.held.get(channel).copied() else { return };
            state.node(id).map(|(_, node)| node.requests.clone())
        };
        if let Some(holder) = holder {
            // A connection that has ended has no subscription any more.
            holder.send(Request::Unsubscribe(channel.to_owned())).await.unwrap_or_default();
        }
    }

    /// Makes all connections anew.
    pub(super) fn reconnect(&self) {
        let mut state = self.inner.state.lock();
        state.nodes.clear();
        let held = std::mem::take(&mut state.held);
        held.keys().for_each(|channel| state.lose(channel));
        drop(state);
        self.inner.changed.notify_one();
    }
}

impl Inner {
    /// Opens the connections that are missing, and closes those that nobody needs.
    fn connect(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let primaries = state.primaries();
        if primaries.is_empty() {
            for seed in &self.seeds {
                self.open(&mut state, seed);
            }
            return;
        }
        for primary in &primaries {
            self.open(&mut state, primary);
        }
        if primaries.iter().any(|primary| state.nodes.get(primary).is_some_and(|node| node.slots.is_some())) {
            let State { nodes, held, .. } = &mut *state;
            let holders: HashSet<ConnectionId> = held.values().copied().collect();
            nodes.retain(|address, node| primaries.contains(address) || holders.contains(&node.id));
        }
    }

    /// Opens a connection unless there is one, or one failed just now.
    fn open(self: &Arc<Self>, state: &mut State, address: &str) {
        let waits = state.failures.get(address).is_some_and(|failure| Instant::now() < failure.until);
        if waits || state.nodes.contains_key(address) {
            return;
        }
        state.opened += 1;
        let (id, (requests, queue)) = (ConnectionId(state.opened), mpsc::channel(QUEUE));
        state.nodes.insert(address.to_owned(), Node { id, requests, slots: None });
        let opening = Opening {
            id,
            address: address.to_owned(),
            credentials: self.credentials.clone(),
            control: self.channels.control.clone(),
        };
        let (lifecycle, end) = &self.tasks;
        let (end, reports) = (end.clone(), Arc::clone(self));
        lifecycle.spawn("redis-bus-node", async move {
            end.run_until_cancelled(node::serve(opening, queue, reports)).await;
        });
    }

    /// Asks every node for what it knows of the slots, unless that was just done.
    fn look(&self) {
        if self.state.lock().looked.is_none_or(|at| at.elapsed() >= RETRY.0) {
            self.look_now();
        }
    }

    fn look_now(&self) {
        let mut state = self.state.lock();
        state.looked = Some(Instant::now());
        for node in state.nodes.values() {
            // A full queue means that it is asked a lot already.
            node.requests.try_send(Request::Look).unwrap_or_default();
        }
    }

    /// Subscribes to channels whose subscription was lost and that are still wanted, and reports the gap. True where
    /// some could not be subscribed to.
    async fn subscribe_again(self: &Arc<Self>, lost: Vec<String>, first: &mut bool) -> bool {
        let lost: Vec<String> = lost.into_iter().filter(|channel| self.channels.is_wanted(channel)).collect();
        if lost.is_empty() {
            return self.settled();
        }
        let outcomes: Vec<(String, bool)> = stream::iter(lost)
            .map(|channel| async move {
                let subscribed = self.attempt_twice(&channel).await;
                (channel, subscribed)
            })
            .buffer_unordered(CONCURRENT_SUBSCRIPTIONS)
            .collect()
            .await;
        let (subscribed, failed): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|(_, subscribed)| *subscribed);
        let failed: Vec<String> = failed.into_iter().map(|(channel, _)| channel).collect();
        if !subscribed.is_empty() {
            tracing::info!(channels = subscribed.len(), failed = failed.len(), "pub/sub channels subscribed");
            let channels: Vec<String> = subscribed.into_iter().map(|(channel, _)| channel).collect();
            self.report_gap(&channels, std::mem::take(first));
        }
        if failed.is_empty() {
            return self.settled();
        }
        let mut state = self.state.lock();
        failed.iter().for_each(|channel| state.lose(channel));
        true
    }

    /// Reports that nothing is lost any more, where that is so. Always false.
    fn settled(&self) -> bool {
        let mut state = self.state.lock();
        let since = if state.lost.is_empty() { state.lost_since.take() } else { None };
        if since.is_some() {
            state.warned = false;
        }
        drop(state);
        if let Some(since) = since {
            self.channels.link.observer().resubscribed(since.elapsed());
        }
        false
    }

    fn report_gap(&self, channels: &[String], first: bool) {
        let mut rooms = Vec::new();
        let mut everything = first || channels.len() > ROOMS_REPORTED_SINGLY;
        for channel in channels {
            match self.channels.room(channel) {
                Some(room) => rooms.push(room),
                None => everything |= *channel != self.channels.heartbeat,
            }
        }
        if everything {
            return self.channels.listener.on_gap(None);
        }
        rooms.iter().for_each(|room| self.channels.listener.on_gap(Some(room)));
    }

    async fn attempt_twice(self: &Arc<Self>, channel: &str) -> bool {
        match self.attempt(channel, None).await {
            Err(Refused::Moved(address)) => self.attempt(channel, Some(address)).await.is_ok(),
            outcome => outcome.is_ok(),
        }
    }

    /// Asks one node to subscribe to a channel: the one that has its slot, or the one that another named.
    async fn attempt(
        self: &Arc<Self>,
        channel: &str,
        moved: Option<String>,
    ) -> std::result::Result<(), Refused> {
        let unavailable = |why: &str| Refused::Other(why.to_owned());
        let requests = {
            let mut state = self.state.lock();
            let owner = moved.or_else(|| state.owner(slot(channel)));
            let Some(address) = owner else { return Err(unavailable("no node has the slot")) };
            match state.nodes.get(&address) {
                Some(node) if node.slots.is_some() => node.requests.clone(),
                _ => {
                    self.open(&mut state, &address);
                    return Err(unavailable("not connected to the node of the slot"));
                }
            }
        };
        let (done, answer) = oneshot::channel();
        let asked = async {
            let request = Request::Subscribe { channel: channel.to_owned(), done };
            requests.send(request).await.map_err(|_| unavailable("the connection ended"))?;
            answer.await.map_err(|_| unavailable("the connection ended"))?
        };
        let outcome =
            timeout(ATTEMPT_TIMEOUT, asked).await.unwrap_or_else(|_| Err(unavailable("no answer in time")));
        if let Err(refused) = &outcome {
            self.report_refusal(refused);
        }
        outcome
    }
}

impl Inner {
    /// Once an outage a reason that will not pass by itself is a warning.
    fn report_refusal(&self, refused: &Refused) {
        if matches!(refused, Refused::Error(_)) && !std::mem::replace(&mut self.state.lock().warned, true) {
            tracing::warn!(?refused, "pub/sub channels cannot be subscribed; trying again");
        } else {
            tracing::debug!(?refused, "a pub/sub channel could not be subscribed");
        }
    }
}

impl Reports for Inner {
    fn message(&self, channel: &str, payload: &[u8]) {
        self.channels.deliver(channel, payload);
    }

    fn subscribed(&self, connection: ConnectionId, channel: &str) -> bool {
        let mut state = self.state.lock();
        let wanted = self.channels.is_wanted(channel);
        let former = state.held.insert(channel.to_owned(), connection);
        if let Some(former) = former.filter(|former| *former != connection)
            && let Some((_, former)) = state.node(former)
        {
            // Where its queue is full, its next map of slots shows the channel in the wrong place again.
            former.requests.try_send(Request::Unsubscribe(channel.to_owned())).unwrap_or_default();
        }
        wanted
    }

    fn unsubscribed(&self, connection: ConnectionId, channel: &str, asked: bool) {
        let mut state = self.state.lock();
        if state.held.get(channel) != Some(&connection) {
            return;
        }
        state.held.remove(channel);
        if !asked && self.channels.is_wanted(channel) {
            state.lose(channel);
            self.changed.notify_one();
        }
    }

    fn slots(&self, connection: ConnectionId, slots: SlotMap) {
        let mut state = self.state.lock();
        let Some((address, node)) = state.node(connection) else { return };
        let (address, new) = (address.clone(), node.slots.as_ref() != Some(&slots));
        let misplaced = state.misplaced(connection, &address, &slots);
        if let Some((_, node)) = state.node(connection) {
            node.slots = Some(slots);
        }
        state.failures.remove(&address);
        misplaced.iter().for_each(|channel| state.lose(channel));
        if new || !misplaced.is_empty() {
            self.changed.notify_one();
        }
    }

    fn closed(&self, connection: ConnectionId, why: Option<String>) {
        let mut state = self.state.lock();
        let mut lost = state.release(connection);
        lost.retain(|channel| self.channels.is_wanted(channel));
        lost.iter().for_each(|channel| state.lose(channel));
        let address = state.node(connection).map(|(address, _)| address.clone());
        let node = address.and_then(|address| state.nodes.remove_entry(&address));
        if let (Some((address, node)), Some(why)) = (node, why) {
            let (wait, warned) = match state.failures.get(&address) {
                Some(failure) => (RETRY.1.min(failure.wait * 2), failure.warned),
                None => (RETRY.0, false),
            };
            let connected = node.slots.is_some();
            if connected {
                tracing::warn!(
                    node = address,
                    why,
                    channels = lost.len(),
                    "pub/sub connection to a cluster node lost"
                );
            } else if warned {
                tracing::debug!(node = address, why, "cannot connect to a cluster node for pub/sub");
            } else {
                tracing::warn!(
                    node = address,
                    why,
                    "cannot connect to a cluster node for pub/sub; trying again"
                );
            }
            let failure = Failure { until: Instant::now() + wait, wait, warned: !connected };
            state.failures.insert(address, failure);
        }
        drop(state);
        self.changed.notify_one();
    }
}
