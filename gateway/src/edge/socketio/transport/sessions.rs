//! The sessions of this node that began with long-polling, by session id: their protocol version, the WebSocket that
//! they upgraded to, whether they were closed, and whether a connect packet is being answered. Called by `poll.rs` and
//! `upgrade.rs` (requests) and by `handle.rs` (clients).

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::control::Control;

/// How long a closed session is answered as unknown; by then its heartbeat has ended it.
const CLOSED_FOR: Duration = Duration::from_secs(120);
/// How long a session's protocol is remembered: clients upgrade right after their first poll.
const OPENED_FOR: Duration = Duration::from_secs(60);

/// A handle; clones share the tables.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    opened: HashMap<String, (char, Instant)>,
    upgraded: HashMap<String, Weak<Control>>,
    closed: HashMap<String, Instant>,
    connecting: HashMap<String, oneshot::Sender<()>>,
}

/// Drops old entries when the table is about to grow, so that it costs nothing in between.
fn prune<V>(table: &mut HashMap<String, V>, keep: impl Fn(&V) -> bool) {
    if table.len() == table.capacity() {
        table.retain(|_, value| keep(value));
    }
}

impl Sessions {
    /// A session was opened, with this version of Engine.IO.
    pub(crate) fn opened(&self, sid: &str, protocol: char) {
        let mut tables = self.0.lock();
        prune(&mut tables.opened, |(_, since)| since.elapsed() < OPENED_FOR);
        tables.opened.insert(sid.to_owned(), (protocol, Instant::now()));
    }

    /// Whether the session may upgrade to a WebSocket of that version; unknown sessions may.
    pub(crate) fn may_upgrade(&self, sid: &str, protocol: char) -> bool {
        let tables = self.0.lock();
        !tables.closed.contains_key(sid)
            && tables.opened.get(sid).is_none_or(|(opened_as, _)| *opened_as == protocol)
    }

    /// The session upgrades to a WebSocket.
    pub(crate) fn upgraded(&self, sid: &str, control: &Arc<Control>) {
        let mut tables = self.0.lock();
        prune(&mut tables.upgraded, |control| control.strong_count() > 0);
        tables.upgraded.insert(sid.to_owned(), Arc::downgrade(control));
    }

    /// Whether the gateway closed the session.
    pub(crate) fn is_closed(&self, sid: &str) -> bool {
        self.0.lock().closed.contains_key(sid)
    }

    /// A connect packet is about to be passed to socketioxide; the receiver resolves once it is answered.
    pub(crate) fn connecting(&self, sid: &str) -> oneshot::Receiver<()> {
        let (answered, receiver) = oneshot::channel();
        let mut tables = self.0.lock();
        prune(&mut tables.connecting, |answered| !answered.is_closed());
        tables.connecting.insert(sid.to_owned(), answered);
        receiver
    }

    pub(super) fn connect_answered(&self, sid: &str) {
        let mut tables = self.0.lock();
        if let Some(answered) = tables.connecting.remove(sid) {
            // The waiting request may have ended.
            answered.send(()).unwrap_or_default();
        }
        if let Some(control) = tables.upgraded.get(sid).and_then(Weak::upgrade) {
            control.connect_answered();
        }
    }

    pub(super) fn close(&self, sid: &str) {
        let mut tables = self.0.lock();
        if let Some(control) = tables.upgraded.remove(sid).and_then(|control| control.upgrade()) {
            control.abort();
        }
        tables.connecting.remove(sid);
        prune(&mut tables.closed, |since| since.elapsed() < CLOSED_FOR);
        tables.closed.insert(sid.to_owned(), Instant::now());
    }
}
