//! The bus in memory: which listeners are subscribed to which room. `deliver` is called by the memory implementations,
//! under the lock of their state, with what they just did.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_protocol::{RoomName, UserName};

use super::{Bus, BusEvent, BusListener};
use crate::error::Result;
use crate::inbox::InboxEvent;
use crate::nodes::Incarnation;
use crate::person::Person;

pub(crate) struct MemoryBus {
    subscribers: Arc<Subscribers>,
    listener: Arc<dyn BusListener>,
    subscriptions: AtomicUsize,
}

/// The listeners that hear of each room, and the one of each node. Its locks are the innermost of the memory
/// implementations.
#[derive(Default)]
pub(crate) struct Subscribers {
    rooms: Mutex<HashMap<RoomName, Vec<Arc<dyn BusListener>>>>,
    nodes: Mutex<HashMap<Incarnation, Arc<dyn BusListener>>>,
}

impl Subscribers {
    pub(crate) fn deliver(&self, room: &RoomName, event: &BusEvent) {
        for listener in self.rooms.lock().get(room).into_iter().flatten() {
            listener.on_event(room, event.clone());
        }
    }

    /// Sends a private message to a node. False where it does not listen.
    pub(crate) fn deliver_private(&self, node: &Incarnation, person: &Person, event: &InboxEvent) -> bool {
        let nodes = self.nodes.lock();
        let listener = nodes.get(node);
        listener.is_some_and(|listener| {
            listener.on_inbox(person, event.clone());
            true
        })
    }

    fn stop_listening(&self, listener: &Arc<dyn BusListener>) {
        self.nodes.lock().retain(|_, other| !Arc::ptr_eq(other, listener));
    }

    /// Removes a listener; answers how many were removed.
    fn remove(listeners: &mut Vec<Arc<dyn BusListener>>, listener: &Arc<dyn BusListener>) -> usize {
        let before = listeners.len();
        listeners.retain(|other| !Arc::ptr_eq(other, listener));
        before - listeners.len()
    }
}

impl MemoryBus {
    pub(crate) fn new(subscribers: Arc<Subscribers>, listener: Arc<dyn BusListener>) -> Self {
        Self { subscribers, listener, subscriptions: AtomicUsize::new(0) }
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        self.subscribers.stop_listening(&self.listener);
        self.subscribers.rooms.lock().retain(|_, listeners| {
            Subscribers::remove(listeners, &self.listener);
            !listeners.is_empty()
        });
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn subscribe(&self, room: &RoomName) -> Result<()> {
        let mut rooms = self.subscribers.rooms.lock();
        let listeners = rooms.entry(room.clone()).or_default();
        if !listeners.iter().any(|listener| Arc::ptr_eq(listener, &self.listener)) {
            listeners.push(Arc::clone(&self.listener));
            self.subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn unsubscribe(&self, room: &RoomName) -> Result<()> {
        let mut rooms = self.subscribers.rooms.lock();
        if let Some(listeners) = rooms.get_mut(room) {
            self.subscriptions.fetch_sub(Subscribers::remove(listeners, &self.listener), Ordering::Relaxed);
            if listeners.is_empty() {
                rooms.remove(room);
            }
        }
        Ok(())
    }

    async fn listen(&self, node: &Incarnation) -> Result<()> {
        self.subscribers.stop_listening(&self.listener);
        self.subscribers.nodes.lock().insert(node.clone(), Arc::clone(&self.listener));
        Ok(())
    }

    async fn publish_ephemeral(&self, room: &RoomName, user: &UserName, typing: bool) -> Result<()> {
        self.subscribers.deliver(room, &BusEvent::Typing { user: user.clone(), typing });
        Ok(())
    }

    fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }
}
