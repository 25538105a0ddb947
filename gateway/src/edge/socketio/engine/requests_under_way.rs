//! What the requests of one session are doing: at most one poll, one POST and one probe of a WebSocket at a time.
//! Called by `polling.rs` and `upgrade.rs`.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct RequestsUnderWay {
    polls: AtomicBool,
    posts: AtomicBool,
    probes: AtomicBool,
    /// The probe was answered: the client upgrades once its polls have been answered.
    answered: AtomicBool,
    changed: Notify,
}

/// A request is under way until this is dropped.
pub(crate) struct UnderWay<'a>(&'a AtomicBool);

impl<'a> UnderWay<'a> {
    /// None if another one is under way.
    fn begin(flag: &'a AtomicBool) -> Option<Self> {
        (!flag.swap(true, Ordering::AcqRel)).then_some(Self(flag))
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A WebSocket is being probed until this is dropped.
pub(crate) struct Probe<'a> {
    requests: &'a RequestsUnderWay,
    _under_way: UnderWay<'a>,
}

impl Probe<'_> {
    pub(crate) fn answered(&self) {
        self.requests.answered.store(true, Ordering::Release);
        self.requests.changed.notify_waiters();
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.requests.answered.store(false, Ordering::Release);
    }
}

impl RequestsUnderWay {
    /// A poll begins; none if one is waiting.
    pub(crate) fn begin_poll(&self) -> Option<UnderWay<'_>> {
        UnderWay::begin(&self.polls)
    }

    /// A POST begins; none if one is being handled.
    pub(crate) fn begin_post(&self) -> Option<UnderWay<'_>> {
        UnderWay::begin(&self.posts)
    }

    /// Whether a WebSocket is being probed.
    pub(crate) fn is_probing(&self) -> bool {
        self.probes.load(Ordering::Acquire)
    }

    /// A WebSocket is opened for the session; none if another one is being probed.
    pub(crate) fn begin_probe(&self) -> Option<Probe<'_>> {
        UnderWay::begin(&self.probes).map(|under_way| Probe { requests: self, _under_way: under_way })
    }

    /// Waits until a probe has been answered.
    pub(crate) async fn probed(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.answered.load(Ordering::Acquire) {
                return;
            }
            changed.await;
        }
    }
}
