//! A model of a cluster: two nodes with the state machines that gateways run (`users/registry.rs`, `room/state.rs`,
//! `node.rs`, `recovery.rs`), on the memory store, driven through random histories. Clients apply the lists and presence
//! updates that they receive. After each history, what each client shows, what the store has recorded, and the users
//! that are really present must be the same, and nothing else may be left in the store.
//!
//! A history contains joins, leaves, drops and returns on either node, second tabs, rivals for a name, paused nodes
//! that lose their lease, a store that is unreachable, wiped or out of memory, calls that fail, whose answer is lost,
//! or that are executed late, and lost bus events. A failure prints its seed.
//!
//! Here are the clients' actions, the faults and the test; `client.rs` has the clients, `node.rs` and `rooms.rs` a
//! node, `checks.rs` and `timing.rs` what must hold. `interleavings.rs` runs the real `Users` instead, whose calls
//! overlap.
//!
//! Each of these rules was removed once, and the named check failed:
//!
//! | removed rule | check that fails |
//! |---|---|
//! | a join and a leave cancel each other only where no list was sent in between (`room/view.rs`, `set_shown`) | what a client shows |
//! | a read sends differences that were not sent yet (`view.rs`, `read`) | what a client shows |
//! | a registration seals the former incarnations (`node.rs`, `next_incarnation`) | the store's entries: facts and names without a user |
//! | a whole write removes the facts of former incarnations (`room/writes.rs`, `all`) | a new incarnation removes the facts of the former |
//! | a write that continues unknown ones is refused (the store's `write`) | a write that continues others is refused by a wiped store |
//! | after an outage the lease is renewed first (`recovery.rs`, `Progress`) | a lease is renewed before anything is written again |
//! | a release that failed, or that a grace's end needs, stays due (`users/registry.rs`, `done`) | the store's entries: `held` without a user |
//! | names are written again one user after the other, by who is present then (`users/mod.rs`, `sync_all`) | `interleavings.rs`: the names in the store |
//! | an owner who lost a name is removed (`registry.rs`, `lose`) | two owners of a name |
//! | leases are renewed while the store is out of memory (`node_lease.lua`) | a node keeps its lease while the store is full |
//! | the same for leaves (`presence_write.lua`) | users can leave while the store is full |
//! | an arrival ends a grace on another node, in rooms (`room/roster.rs`, `returned`) | a leave acts at once |
//! | the same for names (the store's `claim`) | the name is free for a rival |
//! | a leave does not end other graces (`users/stay.rs`, `depart`) | a tab that leaves does not end the grace of another |
//! | a closed room leaves no field (`room/state.rs`, `advance`) | the store's entries: `sequence`, `room` |
//! | graces are paused (`stay.rs`, `pause`; `recovery.rs`) | graces are paused while the store is unreachable |
//!
//! Other scripts that may run while the store is out of memory begin with a removal, after which Redis refuses nothing, or
//! (`name_release.lua`) make no difference that a client sees: the test of the store has them,
//! `while_the_server_is_out_of_memory_…`.

mod checks;
mod client;
mod interleavings;
mod node;
mod rooms;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use roomcast_protocol::{RoomName, UserName};
use roomcast_store::{Change, Incarnation, Memory, Secret, Settings};
use tokio::runtime::Builder;

use crate::room::Departure;
use client::{Client, ClientId};
use node::Node;

const HISTORIES: u64 = 10_000;
const STEPS: usize = 25;
const LEASE: Duration = Duration::from_secs(15);
const GRACE: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(4);
const RETRY: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);

/// What happens to a call to the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    NotExecuted,
    AnswerLost,
    /// The answer is lost, and the call is executed later.
    ExecutedLate,
}

struct World {
    random: StdRng,
    now: Instant,
    memory: Memory,
    nodes: [Node; 2],
    clients: BTreeMap<ClientId, Client>,
    next_client: ClientId,
    /// Whether faults and delays are added.
    faults: bool,
    /// The longest step of time where there are no faults, in milliseconds.
    longest_step: u64,
    store_down: bool,
    sweeper_stopped: bool,
    /// No node renews its lease.
    renewals_delayed: bool,
    /// Writes that are executed later, with their times.
    late_writes: Vec<(Instant, RoomName, Incarnation, u64, Change)>,
    swept: BTreeSet<Incarnation>,
    sweep_at: Instant,
    /// The outcome of some write was unknown: sequence numbers may be kept until their incarnation ends.
    unknown_outcome: bool,
}

fn user(number: usize) -> UserName {
    UserName::parse(["ann", "bob", "cyd"][number]).unwrap()
}

fn room(number: usize) -> RoomName {
    RoomName::parse(["one", "two"][number]).unwrap()
}

fn secret(number: u8) -> Secret {
    let text = format!("secret {number}");
    if number == 0 { Secret::proved(&text) } else { Secret::open(&text) }
}

impl World {
    fn new(seed: u64) -> Self {
        let (memory, now) = (Memory::new(&Settings::default()), Instant::now());
        let nodes = [Node::new(&memory, now), Node::new(&memory, now)];
        Self {
            random: StdRng::seed_from_u64(seed),
            now,
            memory,
            nodes,
            clients: BTreeMap::new(),
            next_client: 0,
            faults: true,
            longest_step: 3_000,
            store_down: false,
            sweeper_stopped: false,
            renewals_delayed: false,
            late_writes: Vec::new(),
            swept: BTreeSet::new(),
            sweep_at: now,
            unknown_outcome: false,
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// Whether something is delayed to a later tick. Only with faults: the checks of timing assume a fast machine.
    fn is_delayed(&mut self, percent: u32) -> bool {
        self.faults && self.chance(percent)
    }

    fn next_fault(&mut self) -> Fault {
        match self.random.random_range(0..100) {
            0..10 if self.store_down => Fault::AnswerLost,
            _ if self.store_down => Fault::NotExecuted,
            _ if !self.faults => Fault::None,
            0..3 => Fault::NotExecuted,
            3..6 => Fault::AnswerLost,
            6..8 => Fault::ExecutedLate,
            _ => Fault::None,
        }
    }

    async fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let longest = if self.faults { 1_000 } else { self.longest_step };
            let step = Duration::from_millis(self.random.random_range(20..longest)).min(end - self.now);
            tokio::time::advance(step).await;
            self.now += step;
            let (due, later) =
                std::mem::take(&mut self.late_writes).into_iter().partition(|(at, ..)| *at <= self.now);
            self.late_writes = later;
            let due: Vec<(Instant, RoomName, Incarnation, u64, Change)> = due;
            for (_, name, by, sequence, change) in due {
                // Whether it is accepted does not matter: nobody waits for it.
                let presence = &self.nodes[0].store.presence;
                presence.write(&name, &by, sequence, &change).await.unwrap_or_default();
            }
            if self.sweep_at <= self.now {
                self.sweep().await;
            }
            for node in 0..2 {
                self.tick(node).await;
            }
        }
    }

    /// Does what the presence service does.
    async fn sweep(&mut self) {
        self.sweep_at = self.now + SECOND;
        if self.store_down || self.sweeper_stopped {
            return;
        }
        let store = self.nodes[0].store.clone();
        for sealed in store.nodes.seal_expired().await.unwrap() {
            if sealed.age >= LEASE || self.swept.insert(sealed.incarnation.clone()) {
                store.sweep(&sealed.incarnation).await.unwrap();
            }
            if sealed.age >= LEASE {
                store.forget(&sealed.incarnation).await.unwrap();
            }
        }
    }

    /// The store loses its data; subscriptions are kept.
    async fn wipe(&mut self) {
        self.memory = Memory::new(&Settings::default());
        self.late_writes.clear();
        self.swept.clear();
        for node in &mut self.nodes {
            node.store = self.memory.node(node.inbox.clone());
            for name in node.entries.keys() {
                node.store.bus.subscribe(name).await.unwrap();
            }
        }
    }

    fn set_store(&mut self, down: bool) {
        if std::mem::replace(&mut self.store_down, down) && !down {
            for node in &mut self.nodes {
                node.connections += 1;
                node.missed_events = true;
            }
        }
    }

    fn random_client(&mut self) -> Option<ClientId> {
        let free: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, client)| self.is_running(client.node))
            .map(|(id, _)| *id)
            .collect();
        (!free.is_empty()).then(|| free[self.random.random_range(0..free.len())])
    }

    async fn random_step(&mut self) {
        let (node, name) = (self.random.random_range(0..2), room(self.random.random_range(0..2)));
        match self.random.random_range(0..100) {
            0..30 => {
                // Mostly with the secret of the name's owner.
                let number = self.random.random_range(0..3);
                let rival = u8::from(self.chance(15));
                if let Some(id) =
                    self.connect(node, user(number), rival + u8::try_from(number).unwrap()).await
                {
                    self.join(id, &name);
                }
            }
            30..45 => {
                if let Some(id) = self.random_client() {
                    self.join(id, &name);
                }
            }
            45..55 => {
                if let Some(id) = self.random_client() {
                    self.leave(id, &name, Departure::Left);
                }
            }
            55..63 => {
                if let Some(id) = self.random_client() {
                    self.disconnect(id, Departure::Left);
                }
            }
            63..80 => {
                if let Some(id) = self.random_client() {
                    self.disconnect(id, Departure::Dropped);
                }
            }
            80..83 => {
                self.nodes[node].frozen_until = Some(self.now + self.random.random_range(1..25) * SECOND)
            }
            83..86 => self.set_store(true),
            86..91 => {
                self.set_store(false);
                self.memory.set_full(false);
            }
            91..93 => self.memory.set_full(true),
            93..95 => {
                self.wipe().await;
                if self.chance(50) {
                    self.set_store(true);
                }
            }
            _ => {
                let time = self.random.random_range(1..20) * SECOND;
                self.advance(time).await;
            }
        }
        let time = [0, 50, 150, 500, 1_500][self.random.random_range(0..5)];
        self.advance(Duration::from_millis(time)).await;
    }

    async fn end_faults(&mut self) {
        self.faults = false;
        self.set_store(false);
        self.memory.set_full(false);
        for node in &mut self.nodes {
            node.frozen_until = None;
        }
        self.advance(3 * LEASE).await;
    }
}

async fn history(seed: u64) {
    let mut world = World::new(seed);
    world.advance(SECOND).await;
    for _ in 0..STEPS {
        world.random_step().await;
    }
    world.end_faults().await;
    world.check("after the faults").await;
    world.longest_step = 1_000;
    match seed % 16 {
        0 | 8 => world.check_graces().await,
        4 => world.check_outages().await,
        _ => {}
    }
    world.longest_step = 3_000;
    world.check("after the checks of timing").await;
    world.end().await;
}

/// Names the seed of a history that fails.
struct Seed<'a>(u64, &'a AtomicBool);

impl Drop for Seed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.store(true, Ordering::Relaxed);
            eprintln!("the history of seed {} failed; run it alone with PRESENCE_MODEL_SEED", self.0);
        }
    }
}

/// Runs histories in two threads, up to the first that fails.
fn run<F: Future<Output = ()>>(histories: u64, history: impl Fn(u64) -> F + Sync) {
    let only: Option<u64> = option_env!("PRESENCE_MODEL_SEED").map(|seed| seed.parse().unwrap());
    let (threads, failed) = (2, AtomicBool::new(false));
    let run = &|first: u64| {
        for seed in (first..histories).step_by(threads).filter(|seed| only.is_none_or(|only| only == *seed)) {
            if failed.load(Ordering::Relaxed) {
                return;
            }
            let _seed = Seed(seed, &failed);
            // One for each, because some code reads the clock of the machine, from which this one departs.
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(history(seed));
        }
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads as u64).map(|first| scope.spawn(move || run(first))).collect();
        running.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn clients_show_the_present_users_after_any_history() {
    run(HISTORIES, history);
}
