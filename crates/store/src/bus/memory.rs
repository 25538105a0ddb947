//! The bus in memory: which listeners are subscribed to which room. `deliver` is called by the memory twins,
//! under the lock of the state, with what they just did.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use roomcast_protocol::{RoomName, UserName};

use super::{Bus, BusEvent, BusListener};
use crate::error::Result;
use crate::memory::Memory;

pub(crate) struct MemoryBus {
    memory: Memory,
    listener: Arc<dyn BusListener>,
    subscriptions: AtomicUsize,
}

/// The listeners of each room.
#[derive(Default)]
pub(crate) struct Subscribers(HashMap<RoomName, Vec<Arc<dyn BusListener>>>);

impl Subscribers {
    pub(crate) fn deliver(&self, room: &RoomName, event: &BusEvent) {
        for listener in self.0.get(room).into_iter().flatten() {
            listener.on_event(room, event.clone());
        }
    }

    /// Removes a listener; answers how many were removed.
    fn remove(listeners: &mut Vec<Arc<dyn BusListener>>, listener: &Arc<dyn BusListener>) -> usize {
        let before = listeners.len();
        listeners.retain(|other| !Arc::ptr_eq(other, listener));
        before - listeners.len()
    }
}

impl MemoryBus {
    pub(crate) fn new(memory: Memory, listener: Arc<dyn BusListener>) -> Self {
        Self { memory, listener, subscriptions: AtomicUsize::new(0) }
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        self.memory.lock().subscribers.0.retain(|_, listeners| {
            Subscribers::remove(listeners, &self.listener);
            !listeners.is_empty()
        });
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn subscribe(&self, room: &RoomName) -> Result<()> {
        let mut state = self.memory.lock();
        let listeners = state.subscribers.0.entry(room.clone()).or_default();
        if !listeners.iter().any(|listener| Arc::ptr_eq(listener, &self.listener)) {
            listeners.push(Arc::clone(&self.listener));
            self.subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn unsubscribe(&self, room: &RoomName) -> Result<()> {
        let mut state = self.memory.lock();
        if let Some(listeners) = state.subscribers.0.get_mut(room) {
            self.subscriptions.fetch_sub(Subscribers::remove(listeners, &self.listener), Ordering::Relaxed);
            if listeners.is_empty() {
                state.subscribers.0.remove(room);
            }
        }
        Ok(())
    }

    async fn publish_ephemeral(&self, room: &RoomName, user: &UserName, typing: bool) -> Result<()> {
        let event = BusEvent::Typing { user: user.clone(), typing };
        self.memory.lock().subscribers.deliver(room, &event);
        Ok(())
    }

    fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }
}
