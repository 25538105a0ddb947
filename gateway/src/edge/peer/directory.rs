//! Maps the tags of session ids to gateways, from the node list in the store. The list is read periodically and when a
//! tag is unknown, but rate-limited, so that forged tags cannot cause load. Called by `mod.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use roomcast_store::Nodes;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::owner::Owner;
use super::sid::Tag;

/// Minimum pause between two reads of the node list.
const LIST_PAUSE: Duration = Duration::from_millis(250);
/// How long a request with an unknown tag waits for the next read of the node list.
const FIND_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a gateway is kept after it disappeared from the node list: its lease may have run out while the process is
/// still alive. If it is not, dialling it fails.
const KEEP_FOR: Duration = Duration::from_secs(60);

pub(super) struct Directory {
    nodes: Arc<dyn Nodes>,
    own: Tag,
    known: Mutex<HashMap<Tag, (Arc<Owner>, Instant)>>,
    refresh_requested: Notify,
    /// Number of refreshes started.
    started: AtomicU64,
    /// Number of the last refresh that finished.
    finished: watch::Sender<u64>,
}

impl Directory {
    pub(super) fn new(nodes: Arc<dyn Nodes>, own: Tag) -> Self {
        Self {
            nodes,
            own,
            known: Mutex::default(),
            refresh_requested: Notify::new(),
            started: AtomicU64::new(0),
            finished: watch::channel(0).0,
        }
    }

    /// The gateway with this tag; refreshes the directory if it is unknown.
    pub(super) async fn find(&self, tag: Tag) -> Option<Arc<Owner>> {
        if let Some(owner) = self.known(tag) {
            return Some(owner);
        }
        // A refresh that started before now may have read the list too early, so wait for the next one.
        let started = self.started.load(Ordering::Acquire);
        let mut finished = self.finished.subscribe();
        self.refresh_requested.notify_one();
        let refreshed =
            tokio::time::timeout(FIND_TIMEOUT, finished.wait_for(|finished| *finished > started)).await;
        if refreshed.is_err() {
            tracing::debug!(%tag, "node list was not refreshed in time to find a session's gateway");
        }
        self.known(tag)
    }

    /// All known gateways.
    pub(super) fn all(&self) -> Vec<Arc<Owner>> {
        self.known.lock().values().map(|(owner, _)| Arc::clone(owner)).collect()
    }

    /// Refreshes the directory for ever: at this interval, and when a tag is unknown.
    pub(super) async fn keep(&self, every: Duration) {
        loop {
            let refresh = self.started.fetch_add(1, Ordering::AcqRel) + 1;
            match self.nodes.list().await {
                Ok(leases) => {
                    let peers = leases.into_iter().filter_map(|lease| lease.info?.peer);
                    self.update(peers.filter_map(|peer| Some((Tag::parse(&peer.tag)?, peer.address))));
                }
                Err(error) => tracing::debug!(%error, "failed to list nodes"),
            }
            self.finished.send_replace(refresh);
            tokio::time::sleep(LIST_PAUSE).await;
            // Continues when the interval is over or a refresh is requested.
            tokio::time::timeout(every, self.refresh_requested.notified()).await.unwrap_or_default();
        }
    }

    fn known(&self, tag: Tag) -> Option<Arc<Owner>> {
        self.known.lock().get(&tag).map(|(owner, _)| Arc::clone(owner))
    }

    fn update(&self, peers: impl Iterator<Item = (Tag, String)>) {
        let now = Instant::now();
        let mut known = self.known.lock();
        for (tag, address) in peers.filter(|(tag, _)| *tag != self.own) {
            let (_, seen) = known.entry(tag).or_insert_with(|| (Arc::new(Owner::new(tag, address)), now));
            *seen = now;
        }
        known.retain(|_, (_, seen)| now.duration_since(*seen) < KEEP_FOR);
    }
}

#[cfg(test)]
mod tests {
    use roomcast_store::{IgnoreEvents, Incarnation, Memory, NodeInfo, Peer, Settings, Store};

    use super::*;

    fn store() -> Store {
        Memory::new(&Settings::default()).node(Arc::new(IgnoreEvents))
    }

    async fn register(store: &Store, tag: Tag, lease: Duration) {
        let peer = Some(Peer { tag: tag.to_string(), address: "127.0.0.1:1".into() });
        let info = NodeInfo { name: "n".into(), version: "1".into(), peer, body_version: 1 };
        store.nodes.register(&Incarnation::random(), &info, lease).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_gateway_is_found_and_one_whose_lease_ran_out_is_kept_for_a_while() {
        let (store, tag) = (store(), Tag::random());
        let directory = Directory::new(Arc::clone(&store.nodes), Tag::random());
        let finding = async {
            tokio::time::sleep(LIST_PAUSE * 4).await;
            register(&store, tag, LIST_PAUSE).await;
            assert_eq!(directory.find(tag).await.map(|owner| owner.tag), Some(tag), "at once");
            tokio::time::sleep(KEEP_FOR / 2).await;
            store.nodes.seal_expired().await.unwrap();
            assert!(store.nodes.list().await.unwrap().is_empty());
            assert!(directory.find(tag).await.is_some(), "the process may still be alive");
            tokio::time::sleep(KEEP_FOR).await;
            assert!(directory.find(tag).await.is_none());
        };
        tokio::select! {
            () = directory.keep(KEEP_FOR / 10) => {}
            () = finding => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn forged_tags_cannot_cause_frequent_reads_of_the_node_list() {
        let (store, own) = (store(), Tag::random());
        register(&store, own, KEEP_FOR).await;
        let directory = Directory::new(Arc::clone(&store.nodes), own);
        let start = Instant::now();
        let forging = async {
            for _ in 0..40 {
                assert!(directory.find(Tag::random()).await.is_none());
            }
            assert!(directory.find(own).await.is_none(), "a gateway does not forward to itself");
        };
        tokio::select! {
            () = directory.keep(KEEP_FOR) => {}
            () = forging => {}
        }
        let reads = u128::from(directory.started.load(Ordering::Relaxed));
        assert!(reads <= start.elapsed().as_millis() / LIST_PAUSE.as_millis() + 1, "{reads} reads");
        assert!(start.elapsed() < FIND_TIMEOUT * 41);
    }
}
