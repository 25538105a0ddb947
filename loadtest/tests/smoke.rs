//! The swarm against the floor, for a second: every message reaches every member once, and what is lost
//! or repeated by a server is noticed.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roomcast_loadtest::dialect::Dialect;
use roomcast_loadtest::floor;
use roomcast_loadtest::swarm::{Part, Plan, RoomAt, Swarm};

struct Floor {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Floor {
    #[expect(clippy::unwrap_used, reason = "a helper of tests, outside their functions")]
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || floor::serve(&listener, &stopping).unwrap());
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn plan(servers: Vec<SocketAddr>) -> Plan {
    Plan {
        dialect: Dialect::Floor,
        servers,
        rooms: 2,
        members_each: 10,
        at: RoomAt::All,
        text_bytes: 256,
        slow_reader: false,
        part: Part::default(),
    }
}

#[test]
fn twenty_members_receive_everything_once() {
    let floor = Floor::start();
    let mut swarm = Swarm::new(plan(vec![floor.address])).unwrap();
    swarm.connect(usize::MAX).unwrap();
    assert_eq!(swarm.joined(), 20);
    let window = swarm.send(100.0, Duration::from_secs(1)).unwrap();
    assert_eq!(window.fault(), None, "{window:?}");
    assert_eq!((window.sent, window.delivered), (100, 1_000));
    assert_eq!((window.disordered, window.disagreed), (0, 0));
    assert!(window.p50_ms > 0.0 && window.p50_ms <= window.p99_ms && window.busy < 1.0, "{window:?}");
    assert!(window.bytes_per_delivery > 256.0);
}

#[test]
fn who_stops_reading_is_not_counted() {
    let floor = Floor::start();
    let mut swarm = Swarm::new(Plan { slow_reader: true, rooms: 1, ..plan(vec![floor.address]) }).unwrap();
    swarm.connect(usize::MAX).unwrap();
    let before = swarm.send(100.0, Duration::from_millis(200)).unwrap();
    swarm.stop_reading().unwrap();
    let after = swarm.send(100.0, Duration::from_millis(200)).unwrap();
    assert_eq!((before.fault(), before.delivered), (None, 200));
    assert_eq!((after.fault(), after.delivered), (None, 180));
}

#[test]
fn two_servers_that_do_not_know_each_other_lose_half() {
    let (one, other) = (Floor::start(), Floor::start());
    let mut swarm = Swarm::new(plan(vec![one.address, other.address])).unwrap();
    swarm.connect(usize::MAX).unwrap();
    let window = swarm.send(100.0, Duration::from_millis(200)).unwrap();
    assert_eq!((window.sent, window.delivered, window.lost), (20, 100, 100));
    assert_eq!(window.fault().as_deref(), Some("100 lost"));
}
