//! Tests of the hub: one encoding of a batch, one membership, order across inline and queued fan-outs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use roomcast_ops::Metrics;
use roomcast_protocol::server::Restarting;
use roomcast_protocol::{RoomName, UserName};

use super::*;
use crate::telemetry::{Telemetry, TransportKind, Written};

/// What a transport was sent: the numbers of `restarting` events.
type Log = Arc<Mutex<Vec<u32>>>;

struct Transport {
    log: Log,
    namespace: &'static str,
    encodes: Arc<AtomicUsize>,
    fails: Option<SendError>,
    closed: Arc<AtomicUsize>,
}

impl Outbound for Transport {
    fn send(&self, batch: &Batch) -> Result<Written, SendError> {
        if let Some(error) = self.fails {
            return Err(error);
        }
        batch.frames((self.namespace, "native"), || {
            self.encodes.fetch_add(1, Ordering::Relaxed);
            Frames { bytes: bytes::Bytes::from_static(b"frame"), count: 1 }
        });
        for event in batch.events() {
            self.send_own(event)?;
        }
        Ok(Written { writes: 1, frames: 1, bytes: 5 })
    }

    fn send_own(&self, event: &Event) -> Result<Written, SendError> {
        if let Event::Restarting(restarting) = event {
            self.log.lock().push(restarting.reconnect_in_ms);
        }
        Ok(Written::default())
    }

    fn close(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    fn status(&self) -> OutboundStatus {
        OutboundStatus { kind: TransportKind::Polling, namespace: "/", queued_and_sent: None }
    }
}

struct Hub {
    telemetry: Telemetry,
    registry: Registry,
    encodes: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Hub {
    fn new() -> Self {
        let telemetry = Telemetry::new(&Metrics::new("test").unwrap()).unwrap();
        let registry = Registry::new(telemetry.clone(), None);
        Self { telemetry, registry, encodes: Arc::default(), closed: Arc::default() }
    }

    fn connect(
        &self,
        user: &str,
        namespace: &'static str,
        fails: Option<SendError>,
    ) -> (Arc<Connection>, Log) {
        let log = Log::default();
        let transport = Transport {
            log: Arc::clone(&log),
            namespace,
            encodes: Arc::clone(&self.encodes),
            fails,
            closed: Arc::clone(&self.closed),
        };
        let (connection, _) = self.registry.add(UserName::parse(user).unwrap(), Box::new(transport));
        (connection, log)
    }
}

fn room() -> RoomName {
    RoomName::parse("r").unwrap()
}

fn batch(numbers: impl IntoIterator<Item = u32>) -> Batch {
    let mut batch = Batch::default();
    for reconnect_in_ms in numbers {
        batch.push(Event::Restarting(Restarting { reconnect_in_ms }));
    }
    batch
}

#[test]
fn a_batch_is_framed_once_for_each_namespace() {
    let hub = Hub::new();
    let mut members = Members::default();
    for n in 0..100 {
        let (connection, _) = hub.connect(&format!("u{n}"), if n % 2 == 0 { "/" } else { "/native" }, None);
        members.add(&room(), &connection);
    }
    let (fanout, _task) = Fanout::new(&hub.telemetry);
    assert!(fanout.send(&members, batch([1, 2, 3])).is_ok());
    assert_eq!(hub.encodes.load(Ordering::Relaxed), 2);
}

#[test]
fn packets_are_encoded_once_for_all_members_of_a_dialect() {
    let batch = batch([1, 2]);
    let encodes = AtomicUsize::new(0);
    for _ in 0..100 {
        let packets = batch.packets("native", || {
            encodes.fetch_add(1, Ordering::Relaxed);
            vec![("restarting", serde_json::value::to_raw_value(&1).unwrap())]
        });
        assert_eq!(packets.len(), 1);
    }
    assert_eq!(encodes.load(Ordering::Relaxed), 1);
}

#[test]
fn joining_twice_is_one_membership() {
    let hub = Hub::new();
    let (connection, _) = hub.connect("ann", "/", None);
    let mut members = Members::default();
    members.add(&room(), &connection);
    members.add(&room(), &connection);
    assert_eq!((members.len(), connection.is_in(&room()), connection.room_count()), (1, true, 1));
    members.remove(connection.id());
    assert_eq!((members.len(), connection.is_in(&room()), connection.rooms().len()), (0, false, 0));
}

#[tokio::test]
async fn order_is_kept_when_a_room_grows_and_shrinks_across_the_inline_limit() {
    let hub = Hub::new();
    let (fanout, task) = Fanout::new(&hub.telemetry);
    let mut members = Members::default();
    let (first, log) = hub.connect("first", "/", None);
    members.add(&room(), &first);
    assert!(fanout.send(&members, batch([0])).is_ok());
    let others: Vec<_> = (0..400).map(|n| hub.connect(&format!("u{n}"), "/", None).0).collect();
    others.iter().for_each(|other| members.add(&room(), other));
    assert!(fanout.send(&members, batch([1])).is_ok());
    others.iter().for_each(|other| members.remove(other.id()));
    // Small again, but the queued fan-out must not be overtaken.
    assert!(fanout.send(&members, batch([2, 3])).is_ok());
    drop(fanout);
    task.run().await;
    assert_eq!(*log.lock(), [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_call_takes_its_turn_between_what_is_sent_before_and_after() {
    let hub = Hub::new();
    let (fanout, task) = Fanout::new(&hub.telemetry);
    let mut members = Members::default();
    let (first, log) = hub.connect("first", "/", None);
    members.add(&room(), &first);
    let call = |mark: u32| {
        let log = Arc::clone(&log);
        Box::new(move || log.lock().push(mark))
    };
    fanout.call_after(&members, call(100));
    assert_eq!(*log.lock(), [100], "at once in a quiet room");
    let others: Vec<_> = (0..400).map(|n| hub.connect(&format!("u{n}"), "/", None).0).collect();
    others.iter().for_each(|other| members.add(&room(), other));
    assert!(fanout.send(&members, batch([1])).is_ok());
    fanout.call_after(&members, call(101));
    others.iter().for_each(|other| members.remove(other.id()));
    assert!(fanout.send(&members, batch([2])).is_ok());
    drop(fanout);
    task.run().await;
    assert_eq!(*log.lock(), [100, 1, 101, 2]);
}

#[tokio::test]
async fn a_connection_that_left_receives_nothing_even_from_a_running_fan_out() {
    let hub = Hub::new();
    let (fanout, task) = Fanout::new(&hub.telemetry);
    let mut members = Members::default();
    let connected: Vec<_> = (0..300).map(|n| hub.connect(&format!("u{n}"), "/", None)).collect();
    connected.iter().for_each(|(connection, _)| members.add(&room(), connection));
    assert!(fanout.send(&members, batch([1])).is_ok());
    let (left, log) = &connected[299];
    members.remove(left.id());
    drop(fanout);
    task.run().await;
    assert!(log.lock().is_empty());
    assert_eq!(*connected[0].1.lock(), [1]);
}

#[test]
fn a_full_queue_returns_the_batch_and_says_so_before() {
    let hub = Hub::new();
    let (fanout, task) = Fanout::new(&hub.telemetry);
    let mut members = Members::default();
    for n in 0..200 {
        members.add(&room(), &hub.connect(&format!("u{n}"), "/", None).0);
    }
    let mut queued = 0;
    let full = loop {
        let has_places = fanout.has_places();
        match fanout.send(&members, batch([queued, queued])) {
            Ok(()) => queued += 1,
            Err(Full(batch)) => break batch,
        }
        // For the last place it says that there are not two.
        assert_eq!(has_places, queued < 256);
    };
    assert_eq!((full.len(), queued, fanout.has_places()), (2, 256, false));
    drop(task);
    assert!(fanout.send(&members, *full).is_ok(), "the process is shutting down");
}

#[test]
fn a_slow_reader_is_closed_once_and_others_stay_connected() {
    let hub = Hub::new();
    let (fanout, _task) = Fanout::new(&hub.telemetry);
    let mut members = Members::default();
    let (slow, _) = hub.connect("slow", "/", Some(SendError::SlowReader));
    let (skipped, _) = hub.connect("skipped", "/", Some(SendError::Skipped));
    let (healthy, log) = hub.connect("healthy", "/", None);
    [&slow, &skipped, &healthy].iter().for_each(|connection| members.add(&room(), connection));
    for n in 0..3 {
        assert!(fanout.send(&members, batch([n])).is_ok());
    }
    assert_eq!((hub.closed.load(Ordering::Relaxed), log.lock().len()), (1, 3));
}

#[test]
fn a_connection_that_observes_a_room_is_no_member_until_it_joins() {
    let hub = Hub::new();
    let (connection, log) = hub.connect("ann", "/", None);
    let (fanout, _task) = Fanout::new(&hub.telemetry);
    let mut members = Members::default();
    members.observe(&room(), &connection);
    assert_eq!((connection.is_in(&room()), connection.room_count(), connection.rooms().len()), (false, 0, 0));
    assert_eq!((members.len(), connection.received_rooms().len()), (1, 1));
    assert!(fanout.send(&members, batch([1])).is_ok());
    members.add(&room(), &connection);
    members.observe(&room(), &connection);
    assert!(connection.is_in(&room()), "a member stays one");
    assert!(fanout.send(&members, batch([2])).is_ok());
    assert_eq!((members.len(), &*log.lock()), (1, &vec![2]));
}
