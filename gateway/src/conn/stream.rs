//! The stream under socketioxide: every byte of a WebSocket passes here. It holds back what a client
//! sent in the same breath as its connect packet, ends when it is cut, and fails writes that a peer has
//! not taken for too long (socketioxide would wait for them for ever). Made by `http/upgrade.rs`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Control;
use super::gate::Scanner;

/// How long a peer may take nothing of what is written to it.
const STALL: Duration = Duration::from_secs(10);

pub(crate) struct Conn<IO> {
    io: IO,
    control: Arc<Control>,
    scanner: Scanner,
    /// Read already, and not yet handed up: what came with the upgrade, or behind a connect packet.
    held: BytesMut,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Conn<IO> {
    /// A connection after its upgrade; `early` are the bytes that came behind the request.
    pub(crate) fn new(io: IO, early: &Bytes, control: Arc<Control>) -> Self {
        Self { io, control, scanner: Scanner::default(), held: BytesMut::from(early.as_ref()), stalled: None }
    }

    fn check_cut(&self) -> io::Result<()> {
        if self.control.cut.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut"));
        }
        Ok(())
    }

    /// Fails where the peer has taken nothing for too long; `pending` is what the stream answered.
    fn watch_stall<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }

    /// Hands up what was held, as far as the gate allows.
    fn give_held(&mut self, out: &mut ReadBuf<'_>) {
        let most = self.held.len().min(out.remaining());
        let offered = self.held.get(..most).unwrap_or_default();
        let given = match self.scanner.connect_ends(offered) {
            Some(end) => {
                self.control.connecting.fetch_add(1, Ordering::AcqRel);
                end
            }
            None => most,
        };
        out.put_slice(self.held.get(..given).unwrap_or_default());
        self.held.advance(given);
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Conn<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Before the checks: whoever acts in between wakes us.
        this.control.reader.register(cx.waker());
        this.check_cut()?;
        if this.control.connecting.load(Ordering::Acquire) > 0 {
            return Poll::Pending;
        }
        if this.held.is_empty() {
            let before = out.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, out))?;
            let fresh = out.filled().get(before..).unwrap_or_default();
            if let Some(end) = this.scanner.connect_ends(fresh) {
                this.control.connecting.fetch_add(1, Ordering::AcqRel);
                this.held.extend_from_slice(fresh.get(end..).unwrap_or_default());
                out.set_filled(before + end);
            }
        } else {
            this.give_held(out);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Conn<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.control.writer.register(cx.waker());
        this.check_cut()?;
        let polled = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch_stall(cx, polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check_cut()?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// A client's frame with a mask of zeros.
    fn frame(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    #[tokio::test]
    async fn what_follows_a_connect_waits_for_its_answer() {
        let (connect, event) = (frame("40{}"), frame("42[\"join\"]"));
        let all = [connect.clone(), event.clone()].concat();
        for early in [0, 3, connect.len(), all.len()] {
            let (near, mut far) = duplex(1_024);
            let control = Arc::<Control>::default();
            let mut conn = Conn::new(near, &Bytes::copy_from_slice(&all[..early]), Arc::clone(&control));
            far.write_all(&all[early..]).await.unwrap();
            let mut got = vec![0; connect.len()];
            conn.read_exact(&mut got).await.unwrap();
            assert_eq!(got, connect);
            let mut byte = [0];
            let early_read = futures_util::poll!(std::pin::pin!(conn.read(&mut byte)));
            assert!(early_read.is_pending(), "the event overtook the answer");
            control.let_through();
            let mut got = vec![0; event.len()];
            conn.read_exact(&mut got).await.unwrap();
            assert_eq!(got, event);
        }
    }

    #[tokio::test]
    async fn a_cut_ends_a_waiting_reader() {
        let (near, _far) = duplex(64);
        let control = Arc::<Control>::default();
        let mut conn = Conn::new(near, &Bytes::new(), Arc::clone(&control));
        let mut byte = [0];
        let (read, ()) = tokio::join!(conn.read(&mut byte), async { control.cut() });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(conn.write(b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_given_up() {
        let (near, _far) = duplex(4);
        let mut conn = Conn::new(near, &Bytes::new(), Arc::default());
        let error = conn.write_all(b"more than fits").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
