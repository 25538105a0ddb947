//! Calls for names that overlap in every order: the real [`Users`] of one node, whose calls to the store take random
//! times, fail, or lose their answers, while clients connect and disconnect and all names are written again. When it is
//! quiet, the store must have exactly the names of connected users.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use roomcast_ops::Readiness;
use roomcast_protocol::UserName;
use roomcast_store::{
    Claim, Hold, IgnoreEvents, Incarnation, Memory, Names, Result, Secret, Settings, StoreError,
};
use tokio::time::sleep;

use super::{run, secret, user};
use crate::node::Node;
use crate::users::stay::Departure;
use crate::users::{NameHold, Users};

const HISTORIES: u64 = 2_000;
const STEPS: usize = 30;
/// A call takes up to twice as long.
const SLOW: u64 = 5;

/// Names whose calls take time and fail.
struct SlowNames {
    names: Arc<dyn Names>,
    random: Mutex<StdRng>,
    failing: AtomicBool,
}

impl SlowNames {
    fn random(&self, below: u64) -> u64 {
        self.random.lock().random_range(0..below)
    }

    async fn pause(&self) {
        sleep(Duration::from_millis(self.random(SLOW))).await;
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let fault = if self.failing.load(Ordering::Relaxed) { self.random(100) } else { 100 };
        self.pause().await;
        if fault < 5 {
            return Err(StoreError::Unavailable("not sent".into()));
        }
        let result = call.await;
        self.pause().await;
        if fault < 10 { Err(StoreError::Unknown("not answered".into())) } else { result }
    }
}

#[async_trait]
impl Names for SlowNames {
    async fn claim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        dead: &[Incarnation],
    ) -> Result<Claim> {
        self.call(self.names.claim(user, secret, node, dead)).await
    }

    async fn reclaim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        hold: Hold,
    ) -> Result<Claim> {
        self.call(self.names.reclaim(user, secret, node, hold)).await
    }

    async fn grace(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()> {
        self.call(self.names.grace(user, secret, node)).await
    }

    async fn release(&self, user: &UserName, secret: &Secret, node: &Incarnation) -> Result<()> {
        self.call(self.names.release(user, secret, node)).await
    }

    async fn sweep(&self, node: &Incarnation) -> Result<usize> {
        self.names.sweep(node).await
    }

    async fn forget(&self, node: &Incarnation) -> Result<()> {
        self.names.forget(node).await
    }

    async fn online(&self, nodes: &[Incarnation]) -> Result<usize> {
        self.names.online(nodes).await
    }

    async fn was_taken_over(&self, user: &UserName) -> Result<bool> {
        self.names.was_taken_over(user).await
    }

    async fn is_owner(&self, user: &UserName, secret: &Secret) -> Result<bool> {
        self.names.is_owner(user, secret).await
    }

    async fn holders(&self, user: &UserName) -> Result<Vec<Incarnation>> {
        self.names.holders(user).await
    }
}

/// A connection, and the number of its secret.
type Connected = (NameHold, u8);

/// The clients of one node.
struct Clients {
    users: Users,
    random: StdRng,
    connected: Vec<Connected>,
    /// Connects, which end with a connection or none, disconnects, and rewrites.
    running: FuturesUnordered<BoxFuture<'static, Option<Connected>>>,
}

impl Clients {
    fn step(&mut self) {
        let (users, user) = (self.users.clone(), user(self.random.random_range(0..3)));
        let choice = self.random.random_range(0..100);
        let lost = self.connected.iter().position(|(hold, _)| hold.is_lost());
        let any = (!self.connected.is_empty()).then(|| self.random.random_range(0..self.connected.len()));
        let work = match (choice, lost.or(any)) {
            (0..45, _) => {
                let number = u8::from(self.random.random_range(0..100) < 15);
                async move { users.claim(&user, secret(number)).await.ok().map(|hold| (hold, number)) }
                    .boxed()
            }
            (45..85, Some(at)) => {
                let (hold, _) = self.connected.swap_remove(at);
                let how = if choice < 70 { Departure::Left } else { Departure::Dropped };
                async move {
                    hold.release(how).await;
                    None
                }
                .boxed()
            }
            (85..90, _) => {
                // Connects and disconnects are aborted.
                self.running.clear();
                return;
            }
            _ => async move {
                users.rewrite().await;
                None
            }
            .boxed(),
        };
        self.running.push(work);
    }

    /// Lets the calls go on for some time.
    async fn wait(&mut self, time: Duration) {
        let connected = &mut self.connected;
        let running = async {
            while let Some(ended) = self.running.next().await {
                connected.extend(ended);
            }
        };
        // Most do not end within that time.
        tokio::time::timeout(time, running).await.unwrap_or_default();
    }
}

async fn history(seed: u64) {
    let memory = Memory::new(&Settings::default());
    let mut store = memory.node(Arc::new(IgnoreEvents));
    let (names, failing) = (Arc::clone(&store.names), AtomicBool::new(true));
    let random = Mutex::new(StdRng::seed_from_u64(!seed));
    let names = Arc::new(SlowNames { names, random, failing });
    store.names = Arc::<SlowNames>::clone(&names);
    let node = Node::new("n".into(), Duration::from_secs(3_600), None);
    // Graces end at once.
    let users = Users::new(store.clone(), node.clone(), Duration::ZERO, Arc::new(|_: &UserName| {}));
    let background = async {
        let registered = Readiness::new().latch("lease");
        tokio::join!(node.clone().keep_lease(store, registered), users.clone().keep_in_sync())
    };
    let clients = async {
        let random = StdRng::seed_from_u64(seed);
        let mut clients =
            Clients { users: users.clone(), random, connected: Vec::new(), running: FuturesUnordered::new() };
        for _ in 0..STEPS {
            clients.step();
            let time = clients.random.random_range(0..2 * SLOW);
            clients.wait(Duration::from_millis(time)).await;
        }
        names.failing.store(false, Ordering::Relaxed);
        clients.wait(Duration::from_secs(60)).await;
        clients.connected.retain(|(hold, _)| !hold.is_lost());
        sleep(Duration::from_secs(5)).await;
        let connected = &clients.connected;
        for (hold, number) in connected {
            let rivals = connected.iter().filter(|(other, _)| other.user() == hold.user());
            assert!(rivals.into_iter().all(|(_, other)| other == number), "two owners of {}", hold.user());
        }
        let by = node.current().unwrap();
        let of = |(hold, _): &Connected| {
            [format!("held {by:?} {}", hold.user()), format!("name {by:?} {}", hold.user())]
        };
        let expected: BTreeSet<String> = connected.iter().flat_map(of).collect();
        let mut found: BTreeSet<String> = memory.entries().into_iter().collect();
        found.retain(|entry| !entry.starts_with("lease ") && !entry.starts_with("info "));
        assert_eq!(found, expected, "the names in the store");
    };
    tokio::select! {
        _ = background => panic!("the node's tasks ended"),
        () = clients => {}
    }
}

#[test]
fn the_store_has_the_names_of_connected_users_after_any_interleaving() {
    run(HISTORIES, history);
}
