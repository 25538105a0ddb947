//! Which gateway a session's tag means: what the nodes say of themselves, read now and then and whenever
//! a tag is not known, but never more often than a forger of tags should be able to make us. Called by
//! `mod.rs`.

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

/// Between two looks, at least.
const LIST_PAUSE: Duration = Duration::from_millis(250);
/// How long somebody with an unknown tag waits for a look.
const FIND_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a gateway is remembered that the nodes no longer tell of: its lease may have run out while
/// the process goes on. Whether it does, dialling it tells.
const KEEP_FOR: Duration = Duration::from_secs(60);

pub(super) struct Directory {
    nodes: Arc<dyn Nodes>,
    own: Tag,
    known: Mutex<HashMap<Tag, (Arc<Owner>, Instant)>>,
    asked: Notify,
    begun: AtomicU64,
    /// The last look that ended.
    ended: watch::Sender<u64>,
}

impl Directory {
    pub(super) fn new(nodes: Arc<dyn Nodes>, own: Tag) -> Self {
        Self {
            nodes,
            own,
            known: Mutex::default(),
            asked: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::channel(0).0,
        }
    }

    /// The gateway with this tag.
    pub(super) async fn find(&self, tag: Tag) -> Option<Arc<Owner>> {
        if let Some(owner) = self.known(tag) {
            return Some(owner);
        }
        // A look that began before now may have come too early: the next one counts.
        let begun = self.begun.load(Ordering::Acquire);
        let mut ended = self.ended.subscribe();
        self.asked.notify_one();
        let looked = tokio::time::timeout(FIND_TIMEOUT, ended.wait_for(|ended| *ended > begun)).await;
        if looked.is_err() {
            tracing::debug!(%tag, "whose session it is was not learned in time");
        }
        self.known(tag)
    }

    /// Everybody who is known.
    pub(super) fn all(&self) -> Vec<Arc<Owner>> {
        self.known.lock().values().map(|(owner, _)| Arc::clone(owner)).collect()
    }

    /// Looks, for ever: every so often, and when it is asked.
    pub(super) async fn keep(&self, every: Duration) {
        loop {
            let look = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
            match self.nodes.list().await {
                Ok(leases) => {
                    let peers = leases.into_iter().filter_map(|lease| lease.info?.peer);
                    self.learn(peers.filter_map(|peer| Some((Tag::parse(&peer.tag)?, peer.address))));
                }
                Err(error) => tracing::debug!(%error, "the gateways could not be listed"),
            }
            self.ended.send_replace(look);
            tokio::time::sleep(LIST_PAUSE).await;
            // Time is up, or somebody asked: either way.
            tokio::time::timeout(every, self.asked.notified()).await.unwrap_or_default();
        }
    }

    fn known(&self, tag: Tag) -> Option<Arc<Owner>> {
        self.known.lock().get(&tag).map(|(owner, _)| Arc::clone(owner))
    }

    fn learn(&self, peers: impl Iterator<Item = (Tag, String)>) {
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
    use roomcast_protocol::RoomName;
    use roomcast_store::{BusEvent, BusListener, Incarnation, Memory, NodeInfo, Peer, Settings, Store};

    use super::*;

    struct Deaf;
    impl BusListener for Deaf {
        fn on_event(&self, _: &RoomName, _: BusEvent) {}
        fn on_gap(&self, _: Option<&RoomName>) {}
    }

    fn store() -> Store {
        Memory::new(&Settings::default()).node(Arc::new(Deaf))
    }

    async fn register(store: &Store, tag: Tag, lease: Duration) {
        let peer = Some(Peer { tag: tag.to_string(), address: "127.0.0.1:1".into() });
        let info = NodeInfo { name: "n".into(), version: "1".into(), peer, body_version: 1 };
        store.nodes.register(&Incarnation::random(), &info, lease).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_came_is_found_and_one_whose_lease_ran_out_is_remembered_for_a_while() {
        let (store, tag) = (store(), Tag::random());
        let directory = Directory::new(Arc::clone(&store.nodes), Tag::random());
        let looking = async {
            tokio::time::sleep(LIST_PAUSE * 4).await;
            register(&store, tag, LIST_PAUSE).await;
            assert_eq!(directory.find(tag).await.map(|owner| owner.tag), Some(tag), "at once");
            tokio::time::sleep(KEEP_FOR / 2).await;
            store.nodes.seal_expired().await.unwrap();
            assert!(store.nodes.list().await.unwrap().is_empty());
            assert!(directory.find(tag).await.is_some(), "the process may live");
            tokio::time::sleep(KEEP_FOR).await;
            assert!(directory.find(tag).await.is_none());
        };
        tokio::select! {
            () = directory.keep(KEEP_FOR / 10) => {}
            () = looking => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_forger_of_tags_cannot_make_it_look_often() {
        let (store, own) = (store(), Tag::random());
        register(&store, own, KEEP_FOR).await;
        let directory = Directory::new(Arc::clone(&store.nodes), own);
        let begin = Instant::now();
        let forging = async {
            for _ in 0..40 {
                assert!(directory.find(Tag::random()).await.is_none());
            }
            assert!(directory.find(own).await.is_none(), "nobody forwards to itself");
        };
        tokio::select! {
            () = directory.keep(KEEP_FOR) => {}
            () = forging => {}
        }
        let looks = u128::from(directory.begun.load(Ordering::Relaxed));
        assert!(looks <= begin.elapsed().as_millis() / LIST_PAUSE.as_millis() + 1, "{looks} looks");
        assert!(begin.elapsed() < FIND_TIMEOUT * 41);
    }
}
