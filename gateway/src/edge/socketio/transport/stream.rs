//! The stream under socketioxide, through which every byte of a WebSocket passes. Inbound, it holds back packets after
//! a connect packet until that is answered, and stops reading from a client whose event queue is too long; outbound, it
//! passes socketioxide's frames to the outbox, which has the gateway's own frames too. Created by `upgrade.rs`.

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

/// Bytes read at once. More than is passed on at once, because the buffers of socketioxide live as long as their
/// connections and are kept small.
const CHUNK: usize = 4 * 1024;

/// Boxed, because socketioxide's tasks contain it several times.
pub(crate) struct Conn(Box<Inner>);

struct Inner {
    control: Arc<Control>,
    scanner: Scanner,
    /// The first packets have been released for writing.
    released: bool,
    /// Bytes read from the socket and not yet passed on: read ahead of the upgrade, or after a connect packet.
    pending: BytesMut,
}

impl Conn {
    /// A connection after its upgrade; `read_ahead` are the bytes that followed the request.
    pub(crate) fn new(read_ahead: &Bytes, control: Arc<Control>) -> Self {
        control.outbox.telemetry().wire.read(read_ahead.len());
        let (scanner, pending) = (Scanner::default(), BytesMut::from(read_ahead.as_ref()));
        Self(Box::new(Inner { control, scanner, released: false, pending }))
    }
}

impl Inner {
    fn check_aborted(&self) -> io::Result<()> {
        if self.control.aborted.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the gateway"));
        }
        Ok(())
    }

    /// Passes on as much as `out` has room for, but not beyond a connect packet; returns the number of bytes.
    fn pass_on(&mut self, bytes: &[u8], out: &mut ReadBuf<'_>) -> usize {
        let most = bytes.len().min(out.remaining());
        let candidate = bytes.get(..most).unwrap_or_default();
        let passed = match self.scanner.connect_packet_end(candidate) {
            Some(end) => {
                self.control.connect_started();
                end
            }
            None => most,
        };
        out.put_slice(candidate.get(..passed).unwrap_or_default());
        passed
    }

    fn poll_stream(&self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let stream = self.control.outbox.stream();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let mut read = 0;
            let tried = stream.try_io(Interest::READABLE, || {
                read = (&*socket2::SockRef::from(stream)).read(space)?;
                // A short read means that the socket is empty: clearing the readiness saves a system call that
                // would only return `WouldBlock`. (tokio's own reads do the same.)
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
        // Other handles keep the outbox alive; the socket must be closed now.
        self.0.control.outbox.close();
    }
}

impl AsyncRead for Conn {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self.get_mut().0;
        // Before the checks, so that a flag set after them wakes this task.
        this.control.reader.register(cx.waker());
        this.check_aborted()?;
        if !std::mem::replace(&mut this.released, true) {
            // socketioxide reads once it has written its first packets: they leave with the upgrade response.
            this.control.outbox.release_first_packets().map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        if this.control.connecting.load(Ordering::Acquire) > 0 || this.control.paused.load(Ordering::Acquire)
        {
            return Poll::Pending;
        }
        if this.pending.is_empty() {
            let mut space = [0; CHUNK];
            let read = ready!(this.poll_stream(cx, &mut space))?;
            let fresh = space.get(..read).unwrap_or_default();
            let passed = this.pass_on(fresh, out);
            this.pending.extend_from_slice(fresh.get(passed..).unwrap_or_default());
        } else {
            let mut pending = std::mem::take(&mut this.pending);
            pending.advance(this.pass_on(&pending, out));
            if !pending.is_empty() {
                this.pending = pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &self.0;
        this.check_aborted()?;
        // Accepts everything at once: what cannot be written yet is queued in the outbox.
        Poll::Ready(match this.control.outbox.accept_frames(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(SendError::Gone | SendError::SlowReader | SendError::Skipped) => {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.check_aborted())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Both tasks of socketioxide end after it, and dropping this closes the socket.
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

    async fn pair(read_ahead: &[u8]) -> (Conn, Arc<Control>, TcpStream) {
        let (conn, control, far, _) = measured(read_ahead).await;
        (conn, control, far)
    }

    async fn measured(read_ahead: &[u8]) -> (Conn, Arc<Control>, TcpStream, Metrics) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let metrics = Metrics::new("test").unwrap();
        let events = Telemetry::new(&metrics).unwrap();
        let near = listener.accept().await.unwrap().0;
        let outbox = Arc::new(Outbox::new(near, BOUNDS, Lifecycle::new(), events));
        let control = Arc::new(Control::new(outbox));
        (Conn::new(&Bytes::copy_from_slice(read_ahead), Arc::clone(&control)), control, far, metrics)
    }

    fn value(metrics: &Metrics, name: &str) -> f64 {
        let text = metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    #[tokio::test]
    async fn packets_after_a_connect_packet_wait_for_its_answer() {
        let (connect, event) = (frame("40{}"), frame("42[\"join\"]"));
        let all = [connect.clone(), event.clone()].concat();
        for read_ahead in [0, 3, connect.len(), all.len()] {
            let (mut conn, control, mut far) = pair(&all[..read_ahead]).await;
            far.write_all(&all[read_ahead..]).await.unwrap();
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
    async fn the_first_packets_leave_in_one_write_with_the_upgrade_response() {
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
    async fn reads_larger_than_the_buffer_of_the_caller_are_passed_on_in_pieces() {
        let (mut conn, _control, mut far) = pair(b"").await;
        let sent: Vec<u8> = frame(&"x".repeat(120)).repeat(100);
        far.write_all(&sent).await.unwrap();
        let (mut got, mut chunk) = (Vec::new(), [0; 50]);
        while got.len() < sent.len() {
            let read = conn.read(&mut chunk).await.unwrap();
            got.extend_from_slice(&chunk[..read]);
        }
        assert_eq!(got, sent);
    }

    #[tokio::test]
    async fn a_paused_client_is_not_read_until_it_is_resumed() {
        let (mut conn, control, mut far) = pair(b"").await;
        control.pause(true);
        far.write_all(&frame("42[]")).await.unwrap();
        let mut byte = [0];
        assert!(futures_util::poll!(std::pin::pin!(conn.read(&mut byte))).is_pending());
        let (read, ()) = tokio::join!(conn.read(&mut byte), async { control.pause(false) });
        assert_eq!(read.unwrap(), 1);
    }

    #[tokio::test]
    async fn abort_ends_a_waiting_reader() {
        let (mut conn, control, _far) = pair(b"").await;
        let mut byte = [0];
        let (read, ()) = tokio::join!(conn.read(&mut byte), async { control.abort() });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(conn.write(b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn own_frames_wait_for_the_connect_packet_and_for_attachments() {
        let (mut conn, control, mut far) = pair(b"").await;
        let own = |n: i64| {
            let mut out = BytesMut::new();
            frame::put_ack(&mut out, ROOT, n, &serde_json::value::to_raw_value(&n).unwrap());
            out.freeze()
        };
        control.outbox.send(ROOT, &own(1), 1).unwrap();
        conn.write_all(b"\x81\x0440{}").await.unwrap();
        conn.write_all(b"\x81\x0751-[\"a\"").await.unwrap();
        conn.write_all(b"\x81\x08451-[\"a\"").await.unwrap();
        control.outbox.send(ROOT, &own(2), 1).unwrap();
        conn.write_all(b"\x82\x01b").await.unwrap();
        let expected = [
            &b"\x81\x0440{}"[..],
            &own(1),
            b"\x81\x0751-[\"a\"",
            b"\x81\x08451-[\"a\"",
            b"\x82\x01b",
            &own(2),
        ]
        .concat();
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_bounded_and_closed() {
        let (mut conn, control, mut far, metrics) = measured(b"").await;
        conn.write_all(b"\x81\x0440{}").await.unwrap();
        let frame = Bytes::from(vec![b'x'; 16 * 1024]);
        let full = (0..10_000).find_map(|_| control.outbox.send(ROOT, &frame, 1).err());
        assert_eq!(full, Some(SendError::SlowReader), "the bound holds");
        let queued = value(&metrics, "roomcast_queue_bytes");
        assert!(queued > 40_000.0 && queued <= 65_536.0, "{queued} bytes are reported as queued");
        let mut byte = [0];
        // A stall shuts down both directions, so the reader sees the end of the stream.
        let ended = tokio::time::timeout(Duration::from_secs(10), conn.read(&mut byte)).await.unwrap();
        assert_eq!(ended.unwrap_or(0), 0);
        assert_eq!(control.outbox.send(ROOT, &frame, 1), Err(SendError::Gone));
        assert!(
            value(&metrics, "roomcast_queue_bytes").abs() < 0.5,
            "nothing is queued for a closed connection"
        );
        // What was written before still arrives, then the end of the stream.
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap_or_default();
        assert!(all.starts_with(b"\x81\x0440{}x"));
    }

    #[tokio::test]
    async fn a_reply_may_be_larger_than_the_bound_and_broadcasts_after_it_are_not_refused() {
        let (mut conn, control, _far) = pair(b"").await;
        conn.write_all(b"\x81\x0440{}").await.unwrap();
        let answer = Bytes::from(vec![b'a'; 16 * 1024 * 1024]);
        let broadcast = Bytes::from(vec![b'b'; 1_024]);
        control.outbox.send_own(ROOT, &answer, 1).unwrap();
        control.outbox.send(ROOT, &broadcast, 1).unwrap();
        assert_eq!(control.outbox.send_own(ROOT, &answer, 1), Err(SendError::SlowReader), "one at a time");
        let full = (0..1_000).find_map(|_| control.outbox.send(ROOT, &broadcast, 1).err());
        assert_eq!(full, Some(SendError::SlowReader), "the bound still holds after it");
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
        // What was written at once is counted by the fan-out, which this test does not run.
        let counted = |name| value(&metrics, name);
        assert!(counted("roomcast_queue_bytes").abs() < 0.5, "nothing is queued any more");
        assert!((counted("roomcast_frames_written_total") - (2_001 - at_once) as f64).abs() < 0.5);
        assert!((counted("roomcast_sent_bytes_total") - (all.len() - at_once * 1_000) as f64).abs() < 0.5);
        assert!(counted("roomcast_writes_total") > 0.0);
    }
}
