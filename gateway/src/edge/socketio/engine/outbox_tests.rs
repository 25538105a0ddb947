//! The outbox over a socket of its own, and polled.

use roomcast_ops::Metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const BOUNDS: Bounds = Bounds { bytes: 64 * 1024, stall: Duration::from_millis(300) };

fn outbox(stream: Option<TcpStream>) -> (Arc<Outbox>, Metrics) {
    let metrics = Metrics::new("test").unwrap();
    let telemetry = Telemetry::new(&metrics).unwrap();
    let outbox = Outbox::new(stream.map(ClientStream::from), BOUNDS, Lifecycle::new(), telemetry);
    (Arc::new(outbox), metrics)
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, far)
}

async fn connected() -> (Arc<Outbox>, TcpStream, Metrics) {
    let (near, far) = pair().await;
    let (outbox, metrics) = outbox(Some(near));
    (outbox, far, metrics)
}

fn value(metrics: &Metrics, name: &str) -> f64 {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

async fn read(far: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
}

async fn closed(outbox: &Arc<Outbox>) {
    let mut byte = [0];
    let stream = outbox.stream().unwrap();
    tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            stream.readable().await.unwrap();
            if stream.try_read(&mut byte).is_ok_and(|read| read == 0) {
                return;
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_first_bytes_leave_before_what_follows() {
    let (outbox, mut far, _) = connected().await;
    outbox.begin([Bytes::from_static(b"101 "), frame::text(&["0{}"])]).unwrap();
    let written = outbox.send(&frame::text(&["40"]), 1, Kind::Own).unwrap();
    assert_eq!((written.writes, written.frames), (1, 1));
    read(&mut far, b"101 \x81\x030{}\x81\x0240").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_bounded_and_closed() {
    let (outbox, mut far, metrics) = connected().await;
    let frame = Bytes::from(vec![b'x'; 16 * 1024]);
    let full = (0..10_000).find_map(|_| outbox.send(&frame, 1, Kind::Broadcast).err());
    assert_eq!(full, Some(SendError::SlowReader), "the bound holds");
    let queued = value(&metrics, "roomcast_queue_bytes");
    assert!(queued > 40_000.0 && queued <= 65_536.0, "{queued} bytes are reported as queued");
    assert_eq!(outbox.send(&frame, 1, Kind::Volatile), Err(SendError::Skipped));
    // A stall shuts down both directions, so the reader sees the end of the stream.
    closed(&outbox).await;
    assert!(outbox.stalled());
    assert_eq!(outbox.send(&frame, 1, Kind::Broadcast), Err(SendError::Gone));
    assert!(value(&metrics, "roomcast_queue_bytes").abs() < 0.5, "nothing is queued for a closed connection");
    // What was written before still arrives, then the end of the stream.
    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap_or_default();
    assert!(all.starts_with(b"xx"));
}

#[tokio::test]
async fn pongs_that_are_not_read_are_one() {
    let (outbox, mut far, _) = connected().await;
    let frame = Bytes::from(vec![b'x'; 16 * 1024]);
    while outbox.send(&frame, 1, Kind::Own).is_ok() {}
    let (queued, _) = outbox.queued_and_sent();
    for n in 0..10_000_u32 {
        outbox.pong(&n.to_be_bytes());
    }
    assert_eq!(outbox.queued_and_sent().0, queued, "pongs wait outside the queue");
    let mut all = Vec::new();
    let reading = async {
        let mut chunk = vec![0; 64 * 1024];
        while !all.ends_with(&9_999_u32.to_be_bytes()) {
            let count = far.read(&mut chunk).await.unwrap();
            assert!(count > 0, "closed");
            all.extend_from_slice(&chunk[..count]);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap();
    assert_eq!(all.iter().filter(|byte| **byte != b'x').count(), 6, "one pong of six bytes");
}

#[tokio::test]
async fn a_reply_may_be_larger_than_the_bound_and_broadcasts_after_it_are_not_refused() {
    let (outbox, _far, _) = connected().await;
    let answer = Bytes::from(vec![b'a'; 16 * 1024 * 1024]);
    let broadcast = Bytes::from(vec![b'b'; 1_024]);
    outbox.send(&answer, 1, Kind::Own).unwrap();
    outbox.send(&broadcast, 1, Kind::Broadcast).unwrap();
    assert_eq!(outbox.send(&answer, 1, Kind::Own), Err(SendError::SlowReader), "one at a time");
    let full = (0..1_000).find_map(|_| outbox.send(&broadcast, 1, Kind::Broadcast).err());
    assert_eq!(full, Some(SendError::SlowReader), "the bound still holds after it");
}

#[tokio::test]
async fn a_slow_client_gets_everything_in_order_once_it_reads() {
    let (outbox, mut far, metrics) = connected().await;
    let mut at_once = 0;
    let reading = async {
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        all
    };
    let writing = async {
        for n in 0..2_000_u32 {
            let frame = Bytes::from(vec![u8::try_from(n % 251).unwrap(); 1_000]);
            while outbox.queued_and_sent().0 > 32 * 1024 {
                tokio::task::yield_now().await;
            }
            at_once += outbox.send(&frame, 1, Kind::Broadcast).unwrap().writes;
        }
        while outbox.queued_and_sent().0 > 0 {
            tokio::task::yield_now().await;
        }
        outbox.close();
    };
    let (all, ()) = tokio::join!(reading, writing);
    let expected = (0..2_000_u32).flat_map(|n| [u8::try_from(n % 251).unwrap(); 1_000]);
    assert!(all.iter().copied().eq(expected));
    // What was written at once is counted by the fan-out, which this test does not run.
    let counted = |name| value(&metrics, name);
    assert!(counted("roomcast_queue_bytes").abs() < 0.5, "nothing is queued any more");
    assert!((counted("roomcast_frames_written_total") - (2_000 - at_once) as f64).abs() < 0.5);
    assert!((counted("roomcast_sent_bytes_total") - (all.len() - at_once * 1_000) as f64).abs() < 0.5);
}

#[tokio::test]
async fn a_close_frame_is_the_last_that_is_written() {
    let (outbox, mut far, _) = connected().await;
    outbox.send(&frame::text(&["2"]), 1, Kind::Own).unwrap();
    outbox.finish(Some(1009));
    outbox.pong(b"late");
    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"\x81\x012\x88\x02\x03\xf1");
    // The client may still send, and is read until it closes.
    far.write_all(b"x").await.unwrap();
}

async fn poll(outbox: &Arc<Outbox>) -> Option<String> {
    tokio::time::timeout(Duration::from_secs(10), outbox.poll(Version::V4, 100)).await.unwrap()
}

#[tokio::test]
async fn polls_take_what_is_queued_in_bounded_pieces() {
    let (outbox, metrics) = outbox(None);
    for n in 0..20 {
        outbox.send(&frame::text(&["4", &n.to_string()]), 1, Kind::Broadcast).unwrap();
    }
    assert_eq!(poll(&outbox).await.unwrap().split('\u{1e}').count(), 16);
    let several = [frame::text(&["4", &"a".repeat(90)]), frame::text(&["4b"])].concat();
    outbox.send(&several.into(), 2, Kind::Volatile).unwrap();
    assert_eq!(poll(&outbox).await.unwrap(), "416\u{1e}417\u{1e}418\u{1e}419", "then 100 bytes are exceeded");
    assert_eq!(poll(&outbox).await.unwrap(), format!("4{}\u{1e}4b", "a".repeat(90)));
    let large = "x".repeat(200);
    outbox.send(&frame::text(&["4", &large]), 1, Kind::Own).unwrap();
    assert_eq!(poll(&outbox).await.unwrap(), format!("4{large}"), "a packet is never divided");
    let (waiting, sent) = tokio::join!(poll(&outbox), async {
        tokio::task::yield_now().await;
        outbox.send(&frame::text(&["4é"]), 1, Kind::Own)
    });
    assert_eq!((waiting.as_deref(), sent.is_ok()), (Some("4é"), true), "a waiting poll is woken");
    assert_eq!(outbox.queued_and_sent().0, 0);
    assert!(value(&metrics, "roomcast_queue_bytes").abs() < 0.5, "only WebSockets are read slowly");
    let full = (0..100).find_map(|_| outbox.send(&vec![0x81; 1_024].into(), 1, Kind::Broadcast).err());
    assert_eq!(full, Some(SendError::SlowReader), "a client that does not poll is bounded, too");
}

#[tokio::test]
async fn the_last_poll_takes_the_close_packet() {
    let (outbox, _) = outbox(None);
    outbox.send(&frame::text(&["4a"]), 1, Kind::Own).unwrap();
    outbox.finish(Some(1009));
    assert_eq!(outbox.send(&frame::text(&["4b"]), 1, Kind::Own), Err(SendError::Gone));
    assert_eq!(poll(&outbox).await.as_deref(), Some("4a\u{1e}1"));
    assert_eq!(poll(&outbox).await, None);
}

#[tokio::test]
async fn what_is_queued_moves_to_the_websocket() {
    let (outbox, metrics) = outbox(None);
    outbox.send(&frame::text(&["4a"]), 1, Kind::Broadcast).unwrap();
    outbox.send(&frame::text(&["4b"]), 1, Kind::Broadcast).unwrap();
    assert_eq!(outbox.poll(Version::V4, 2).await.as_deref(), Some("4a"));
    let (near, mut far) = pair().await;
    outbox.upgrade(near.into()).unwrap();
    outbox.send(&frame::text(&["4c"]), 1, Kind::Broadcast).unwrap();
    read(&mut far, b"\x81\x024b\x81\x024c").await;
    assert_eq!(poll(&outbox).await.as_deref(), Some("6"), "a late poll is told nothing");
    assert_eq!(outbox.upgrade(pair().await.0.into()), Err(SendError::Gone), "once");
    assert!(value(&metrics, "roomcast_queue_bytes").abs() < 0.5);
    outbox.close();
}

#[tokio::test]
async fn a_closed_session_does_not_move() {
    let (closed, _) = outbox(None);
    closed.finish(None);
    assert_eq!(closed.upgrade(pair().await.0.into()), Err(SendError::Gone));
}
