//! What this node knows of sessions that began with long-polling, by session id: which protocol they
//! speak, which WebSocket took them over, which were cut, and which have a connect packet under way.
//! Called by `poll.rs` and `upgrade.rs` (requests) and by `handle.rs` (clients).

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::control::Control;

/// How long a session that was cut is answered as unknown; by then its heartbeat has ended it.
const REFUSED_FOR: Duration = Duration::from_secs(120);
/// How long a session's protocol is remembered: clients upgrade right after their first poll.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// A handle; clones share what is known.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    fresh: HashMap<String, (char, Instant)>,
    upgraded: HashMap<String, Weak<Control>>,
    refused: HashMap<String, Instant>,
    connecting: HashMap<String, oneshot::Sender<()>>,
}

/// Drops what is too old whenever the table is about to grow, so that it costs nothing in between.
fn prune<V>(table: &mut HashMap<String, V>, keep: impl Fn(&V) -> bool) {
    if table.len() == table.capacity() {
        table.retain(|_, value| keep(value));
    }
}

impl Sessions {
    /// A session began, speaking this version of Engine.IO.
    pub(crate) fn began(&self, sid: &str, protocol: char) {
        let mut known = self.0.lock();
        prune(&mut known.fresh, |(_, since)| since.elapsed() < FRESH_FOR);
        known.fresh.insert(sid.to_owned(), (protocol, Instant::now()));
    }

    /// Whether a WebSocket of that version may take the session over, as far as is known.
    pub(crate) fn may_upgrade(&self, sid: &str, protocol: char) -> bool {
        let known = self.0.lock();
        !known.refused.contains_key(sid) && known.fresh.get(sid).is_none_or(|(began, _)| *began == protocol)
    }

    /// A WebSocket takes the session over.
    pub(crate) fn upgraded(&self, sid: &str, control: &Arc<Control>) {
        let mut known = self.0.lock();
        prune(&mut known.upgraded, |control| control.strong_count() > 0);
        known.upgraded.insert(sid.to_owned(), Arc::downgrade(control));
    }

    /// Whether the session was cut.
    pub(crate) fn is_refused(&self, sid: &str) -> bool {
        self.0.lock().refused.contains_key(sid)
    }

    /// A connect packet is about to be handed up: resolves once it is answered.
    pub(crate) fn connecting(&self, sid: &str) -> oneshot::Receiver<()> {
        let (answered, receiver) = oneshot::channel();
        let mut known = self.0.lock();
        prune(&mut known.connecting, |answered| !answered.is_closed());
        known.connecting.insert(sid.to_owned(), answered);
        receiver
    }

    pub(super) fn connect_answered(&self, sid: &str) {
        let mut known = self.0.lock();
        if let Some(answered) = known.connecting.remove(sid) {
            // The request that waited may have gone.
            answered.send(()).unwrap_or_default();
        }
        if let Some(control) = known.upgraded.get(sid).and_then(Weak::upgrade) {
            control.connect_answered();
        }
    }

    pub(super) fn cut(&self, sid: &str) {
        let mut known = self.0.lock();
        if let Some(control) = known.upgraded.remove(sid).and_then(|control| control.upgrade()) {
            control.cut();
        }
        known.connecting.remove(sid);
        prune(&mut known.refused, |since| since.elapsed() < REFUSED_FOR);
        known.refused.insert(sid.to_owned(), Instant::now());
    }
}
