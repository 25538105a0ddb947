//! The bus in memory: who hears of which room. `tell` is called by the twins, under the lock
//! of their state, with what they just did.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_protocol::{RoomName, UserName};

use super::{Bus, News, Sink};
use crate::error::Result;

pub(crate) struct MemoryBus {
    subscribers: Arc<Subscribers>,
    sink: Arc<dyn Sink>,
    subscriptions: AtomicUsize,
}

/// The sinks that hear of each room. Its lock is the innermost of the memory twins.
#[derive(Default)]
pub(crate) struct Subscribers(Mutex<HashMap<RoomName, Vec<Arc<dyn Sink>>>>);

impl Subscribers {
    pub(crate) fn tell(&self, room: &RoomName, news: &News) {
        for sink in self.0.lock().get(room).into_iter().flatten() {
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
    pub(crate) fn new(subscribers: Arc<Subscribers>, sink: Arc<dyn Sink>) -> Self {
        Self { subscribers, sink, subscriptions: AtomicUsize::new(0) }
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        self.subscribers.0.lock().retain(|_, sinks| {
            Subscribers::drop_from(sinks, &self.sink);
            !sinks.is_empty()
        });
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn subscribe(&self, room: &RoomName) -> Result<()> {
        let mut rooms = self.subscribers.0.lock();
        let sinks = rooms.entry(room.clone()).or_default();
        if !sinks.iter().any(|sink| Arc::ptr_eq(sink, &self.sink)) {
            sinks.push(Arc::clone(&self.sink));
            self.subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn unsubscribe(&self, room: &RoomName) -> Result<()> {
        let mut rooms = self.subscribers.0.lock();
        if let Some(sinks) = rooms.get_mut(room) {
            self.subscriptions.fetch_sub(Subscribers::drop_from(sinks, &self.sink), Ordering::Relaxed);
            if sinks.is_empty() {
                rooms.remove(room);
            }
        }
        Ok(())
    }

    async fn whisper(&self, room: &RoomName, user: &UserName, typing: bool) -> Result<()> {
        self.subscribers.tell(room, &News::Typing { user: user.clone(), typing });
        Ok(())
    }

    fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }
}
