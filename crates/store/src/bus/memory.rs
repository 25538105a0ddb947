//! The bus in memory: who hears of which room. `tell` is called by the twins, under the lock of the
//! state, with what they just did.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use roomcast_protocol::{RoomName, UserName};

use super::{Bus, News, Sink};
use crate::error::Result;
use crate::memory::Memory;

pub(crate) struct MemoryBus {
    memory: Memory,
    sink: Arc<dyn Sink>,
    subscriptions: AtomicUsize,
}

/// The sinks that hear of each room.
#[derive(Default)]
pub(crate) struct Subscribers(HashMap<RoomName, Vec<Arc<dyn Sink>>>);

impl Subscribers {
    pub(crate) fn tell(&self, room: &RoomName, news: &News) {
        for sink in self.0.get(room).into_iter().flatten() {
            sink.news(room, news.clone());
        }
    }

    fn drop_from(sinks: &mut Vec<Arc<dyn Sink>>, sink: &Arc<dyn Sink>) -> usize {
        let before = sinks.len();
        sinks.retain(|other| !Arc::ptr_eq(other, sink));
        before - sinks.len()
    }
}

impl MemoryBus {
    pub(crate) fn new(memory: Memory, sink: Arc<dyn Sink>) -> Self {
        Self { memory, sink, subscriptions: AtomicUsize::new(0) }
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        self.memory.lock().subscribers.0.retain(|_, sinks| {
            Subscribers::drop_from(sinks, &self.sink);
            !sinks.is_empty()
        });
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn subscribe(&self, room: &RoomName) -> Result<()> {
        let mut state = self.memory.lock();
        let sinks = state.subscribers.0.entry(room.clone()).or_default();
        if !sinks.iter().any(|sink| Arc::ptr_eq(sink, &self.sink)) {
            sinks.push(Arc::clone(&self.sink));
            self.subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn unsubscribe(&self, room: &RoomName) -> Result<()> {
        let mut state = self.memory.lock();
        if let Some(sinks) = state.subscribers.0.get_mut(room) {
            self.subscriptions.fetch_sub(Subscribers::drop_from(sinks, &self.sink), Ordering::Relaxed);
            if sinks.is_empty() {
                state.subscribers.0.remove(room);
            }
        }
        Ok(())
    }

    async fn whisper(&self, room: &RoomName, user: &UserName, typing: bool) -> Result<()> {
        self.memory.lock().subscribers.tell(room, &News::Typing { user: user.clone(), typing });
        Ok(())
    }

    fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }
}
