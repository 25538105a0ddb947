//! The stream under socketioxide: every byte of a WebSocket passes here. Inbound, it holds back what a
//! client sent in the same breath as its connect packet, and stops reading from a client whose events
//! pile up; outbound, it hands socketioxide's frames to the outbox, where ours go too. Made by
//! `upgrade.rs`.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::control::Control;
use super::gate::Scanner;
use crate::hub::SendError;

/// Bytes read at once. More than is handed up at once, for the buffers above live as long as their
/// connections and are small.
const CHUNK: usize = 4 * 1024;

/// Boxed, as socketioxide's tasks have room for it several times.
pub(crate) struct Conn(Box<Inner>);

struct Inner {
    control: Arc<Control>,
    scanner: Scanner,
    /// The first packets have left.
    opened: bool,
    /// Read already, and not yet handed up: what came with the upgrade, or behind a connect packet.
    held: BytesMut,
}

impl Conn {
    /// A connection after its upgrade; `early` are the bytes that came behind the request.
    pub(crate) fn new(early: &Bytes, control: Arc<Control>) -> Self {
        control.outbox.telemetry().wire.read(early.len());
        let (scanner, held) = (Scanner::default(), BytesMut::from(early.as_ref()));
        Self(Box::new(Inner { control, scanner, opened: false, held }))
    }
}

impl Inner {
    fn check_cut(&self) -> io::Result<()> {
        if self.control.cut.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut"));
        }
        Ok(())
    }

    /// Hands up as much as there is room for and the gate allows; says how much that is.
    fn give(&mut self, bytes: &[u8], out: &mut ReadBuf<'_>) -> usize {
        let most = bytes.len().min(out.remaining());
        let offered = bytes.get(..most).unwrap_or_default();
        let given = match self.scanner.connect_ends(offered) {
            Some(end) => {
                self.control.connect_read();
                end
            }
            None => most,
        };
        out.put_slice(offered.get(..given).unwrap_or_default());
        given
    }

    fn poll_stream(&self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let stream = self.control.outbox.stream();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let mut read = 0;
            let tried = stream.try_io(Interest::READABLE, || {
                read = (&*socket2::SockRef::from(stream)).read(space)?;
                // Less than there was room for: nothing more is there, and the runtime need not ask the
                // system once more to learn it. (tokio's own reads do the same.)
                if 0 < read && read < space.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match tried {
                Err(error) if read == 0 && error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                _ => {
                    self.control.outbox.telemetry().wire.read(read);
                    return Poll::Ready(Ok(read));
                }
            }
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        // The outbox outlives us by its other handles; the socket must not.
        self.0.control.outbox.close();
    }
}

impl AsyncRead for Conn {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self.get_mut().0;
        // Before the checks: whoever acts in between wakes us.
        this.control.reader.register(cx.waker());
        this.check_cut()?;
        if !std::mem::replace(&mut this.opened, true) {
            // Whoever reads has said what comes first: it leaves with the answer to the upgrade.
            this.control.outbox.release_first_packets().map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        if this.control.connecting.load(Ordering::Acquire) > 0 || this.control.paused.load(Ordering::Acquire)
        {
            return Poll::Pending;
        }
        if this.held.is_empty() {
            let mut space = [0; CHUNK];
            let read = ready!(this.poll_stream(cx, &mut space))?;
            let fresh = space.get(..read).unwrap_or_default();
            let given = this.give(fresh, out);
            this.held.extend_from_slice(fresh.get(given..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut this.held);
            held.advance(this.give(&held, out));
            if !held.is_empty() {
                this.held = held;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &self.0;
        this.check_cut()?;
        // All of it, at once: what is not written yet waits in the outbox, whose bound holds for it too.
        Poll::Ready(match this.control.outbox.accept_frames(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(SendError::Gone | SendError::SlowReader | SendError::Skipped) => {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.check_cut())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Both tasks of socketioxide end with it, and dropping us closes the socket.
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roomcast_ops::{Lifecycle, Metrics};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::super::dialects::{NAMESPACES, Namespace};
    use super::super::frame;
    use super::super::outbox::{Bounds, Outbox};
    use super::*;
    use crate::telemetry::Telemetry;

    static ROOT: &Namespace = &NAMESPACES[0];

    const BOUNDS: Bounds = Bounds { bytes: 64 * 1024, stall: Duration::from_millis(300) };

    /// A client's frame with a mask of zeros.
    fn frame(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    async fn pair(early: &[u8]) -> (Conn, Arc<Control>, TcpStream) {
        let (conn, control, far, _) = measured(early).await;
        (conn, control, far)
    }

    async fn measured(early: &[u8]) -> (Conn, Arc<Control>, TcpStream, Metrics) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let metrics = Metrics::new("test").unwrap();
        let events = Telemetry::new(&metrics).unwrap();
        let near = listener.accept().await.unwrap().0;
        let outbox = Arc::new(Outbox::new(near, BOUNDS, Lifecycle::new(), events));
        let control = Arc::new(Control::new(outbox));
        (Conn::new(&Bytes::copy_from_slice(early), Arc::clone(&control)), control, far, metrics)
    }

    fn value(metrics: &Metrics, name: &str) -> f64 {
        let text = metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    #[tokio::test]
    async fn what_follows_a_connect_waits_for_its_answer() {
        let (connect, event) = (frame("40{}"), frame("42[\"join\"]"));
        let all = [connect.clone(), event.clone()].concat();
        for early in [0, 3, connect.len(), all.len()] {
            let (mut conn, control, mut far) = pair(&all[..early]).await;
            far.write_all(&all[early..]).await.unwrap();
            let mut got = vec![0; connect.len()];
            conn.read_exact(&mut got).await.unwrap();
            assert_eq!(got, connect);
            let mut byte = [0];
            let early_read = futures_util::poll!(std::pin::pin!(conn.read(&mut byte)));
            assert!(early_read.is_pending(), "the event overtook the answer");
            control.connect_answered();
            let mut got = vec![0; event.len()];
            conn.read_exact(&mut got).await.unwrap();
            assert_eq!(got, event);
        }
    }

    #[tokio::test]
    async fn what_a_connection_begins_with_leaves_when_the_client_is_to_speak() {
        let (mut conn, control, mut far) = pair(b"").await;
        control.outbox.hold_first_packet(Bytes::from_static(b"101 "));
        conn.write_all(b"\x81\x010").await.unwrap();
        assert_eq!(far.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut byte = [0];
        assert!(futures_util::poll!(std::pin::pin!(conn.read(&mut byte))).is_pending());
        conn.write_all(b"\x81\x012").await.unwrap();
        let mut got = [0; 10];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"101 \x81\x010\x81\x012");
    }

    #[tokio::test]
    async fn more_is_read_at_once_than_is_asked_for() {
        let (mut conn, _control, mut far) = pair(b"").await;
        let sent: Vec<u8> = frame(&"x".repeat(120)).repeat(100);
        far.write_all(&sent).await.unwrap();
        let (mut got, mut piece) = (Vec::new(), [0; 50]);
        while got.len() < sent.len() {
            let read = conn.read(&mut piece).await.unwrap();
            got.extend_from_slice(&piece[..read]);
        }
        assert_eq!(got, sent);
    }

    #[tokio::test]
    async fn a_client_whose_events_pile_up_is_not_read() {
        let (mut conn, control, mut far) = pair(b"").await;
        control.pause(true);
        far.write_all(&frame("42[]")).await.unwrap();
        let mut byte = [0];
        assert!(futures_util::poll!(std::pin::pin!(conn.read(&mut byte))).is_pending());
        let (read, ()) = tokio::join!(conn.read(&mut byte), async { control.pause(false) });
        assert_eq!(read.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_cut_ends_a_waiting_reader() {
        let (mut conn, control, _far) = pair(b"").await;
        let mut byte = [0];
        let (read, ()) = tokio::join!(conn.read(&mut byte), async { control.cut() });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(conn.write(b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn our_frames_wait_for_the_connect_packet_and_for_attachments() {
        let (mut conn, control, mut far) = pair(b"").await;
        let ours = |n: i64| {
            let mut out = BytesMut::new();
            frame::put_ack(&mut out, ROOT, n, &serde_json::value::to_raw_value(&n).unwrap());
            out.freeze()
        };
        control.outbox.send(ROOT, &ours(1), 1).unwrap();
        conn.write_all(b"\x81\x0440{}").await.unwrap();
        conn.write_all(b"\x81\x0751-[\"a\"").await.unwrap();
        conn.write_all(b"\x81\x08451-[\"a\"").await.unwrap();
        control.outbox.send(ROOT, &ours(2), 1).unwrap();
        conn.write_all(b"\x82\x01b").await.unwrap();
        let expected = [
            &b"\x81\x0440{}"[..],
            &ours(1),
            b"\x81\x0751-[\"a\"",
            b"\x81\x08451-[\"a\"",
            b"\x82\x01b",
            &ours(2),
        ]
        .concat();
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_bounded_and_given_up() {
        let (mut conn, control, mut far, metrics) = measured(b"").await;
        conn.write_all(b"\x81\x0440{}").await.unwrap();
        let frame = Bytes::from(vec![b'x'; 16 * 1024]);
        let full = (0..10_000).find_map(|_| control.outbox.send(ROOT, &frame, 1).err());
        assert_eq!(full, Some(SendError::SlowReader), "the bound holds");
        let waits = value(&metrics, "roomcast_queue_bytes");
        assert!(waits > 40_000.0 && waits <= 65_536.0, "{waits} bytes are said to wait");
        let mut byte = [0];
        // The stall ends both directions, so the reader comes to its end by itself.
        let ended = tokio::time::timeout(Duration::from_secs(10), conn.read(&mut byte)).await.unwrap();
        assert_eq!(ended.unwrap_or(0), 0);
        assert_eq!(control.outbox.send(ROOT, &frame, 1), Err(SendError::Gone));
        assert!(value(&metrics, "roomcast_queue_bytes").abs() < 0.5, "nothing waits for whoever is gone");
        // What was written before arrives, then the end.
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap_or_default();
        assert!(all.starts_with(b"\x81\x0440{}x"));
    }

    #[tokio::test]
    async fn an_answer_may_be_larger_than_the_bound_and_costs_nobody_else() {
        let (mut conn, control, _far) = pair(b"").await;
        conn.write_all(b"\x81\x0440{}").await.unwrap();
        let answer = Bytes::from(vec![b'a'; 16 * 1024 * 1024]);
        let broadcast = Bytes::from(vec![b'b'; 1_024]);
        control.outbox.answer(ROOT, &answer, 1).unwrap();
        control.outbox.send(ROOT, &broadcast, 1).unwrap();
        assert_eq!(control.outbox.answer(ROOT, &answer, 1), Err(SendError::SlowReader), "one at a time");
        let full = (0..1_000).find_map(|_| control.outbox.send(ROOT, &broadcast, 1).err());
        assert_eq!(full, Some(SendError::SlowReader), "the bound holds behind it");
    }

    #[tokio::test]
    async fn a_slow_peer_gets_everything_in_order_once_it_reads() {
        let (mut conn, control, mut far, metrics) = measured(b"").await;
        let mut at_once = 0;
        conn.write_all(b"\x81\x0440{}").await.unwrap();
        let reading = async {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.unwrap();
            all
        };
        let writing = async {
            for n in 0..2_000_u32 {
                let frame = Bytes::from(vec![u8::try_from(n % 251).unwrap(); 1_000]);
                while control.outbox.backlog() > 32 * 1024 {
                    tokio::task::yield_now().await;
                }
                at_once += control.outbox.send(ROOT, &frame, 1).unwrap().writes;
            }
            while control.outbox.backlog() > 0 {
                tokio::task::yield_now().await;
            }
            drop(conn);
        };
        let (all, ()) = tokio::join!(reading, writing);
        let expected = (0..2_000_u32).flat_map(|n| [u8::try_from(n % 251).unwrap(); 1_000]);
        assert!(all[6..].iter().copied().eq(expected));
        // What was written at once is counted by whoever sends to many; here nobody does.
        let counted = |name| value(&metrics, name);
        assert!(counted("roomcast_queue_bytes").abs() < 0.5, "nothing waits any more");
        assert!((counted("roomcast_frames_written_total") - (2_001 - at_once) as f64).abs() < 0.5);
        assert!((counted("roomcast_sent_bytes_total") - (all.len() - at_once * 1_000) as f64).abs() < 0.5);
        assert!(counted("roomcast_writes_total") > 0.0);
    }
}
