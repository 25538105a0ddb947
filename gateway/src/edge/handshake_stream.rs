//! The TCP stream under hyper. It writes through, except for the `101 Switching Protocols` response of a WebSocket
//! upgrade: that is buffered, so that it leaves in one write with the first packets after it. It fails if a request's
//! head is not complete in time once its first byte has arrived. Created by `accept.rs`; taken apart after the upgrade
//! by `socketio/upgrade.rs` and `peer/tunnel.rs`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::client_stream::ClientStream;

pub(crate) struct HandshakeStream {
    stream: ClientStream,
    /// The upgrade response, not yet written.
    buffered: BytesMut,
    requests: Requests,
    /// When the head that has begun must be complete.
    head_timeout: Duration,
    head: Option<Pin<Box<Sleep>>>,
}

/// Whether a request of the connection is being answered; clones share it.
#[derive(Clone, Default)]
pub(super) struct Requests(Arc<AtomicBool>);

/// A request is being answered until this is dropped.
pub(super) struct UnderWay(Requests);

impl Requests {
    /// A request's head is complete.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.store(true, Ordering::Release);
        UnderWay(self.clone())
    }

    fn under_way(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

/// A connection after its upgrade, taken back from hyper.
pub(crate) struct UpgradedStream {
    pub(crate) stream: ClientStream,
    /// The upgrade response, still to be written.
    pub(crate) response: Bytes,
    /// Bytes that the client sent after its request and that hyper has already read.
    pub(crate) read_ahead: Bytes,
}

impl HandshakeStream {
    pub(super) fn new(stream: ClientStream, head_timeout: Duration) -> Self {
        // The first head is due at once; later ones once they have begun.
        let head = Some(Box::pin(tokio::time::sleep(head_timeout)));
        let requests = Requests::default();
        Self { stream, buffered: BytesMut::new(), requests, head_timeout, head }
    }

    pub(super) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Takes the connection back from hyper. None if it was not accepted by `accept.rs`.
    pub(crate) fn from_upgraded(upgraded: Upgraded) -> Option<UpgradedStream> {
        let parts = upgraded.downcast::<TokioIo<Self>>().ok()?;
        let Self { stream, buffered, .. } = parts.io.into_inner();
        Some(UpgradedStream { stream, response: buffered.freeze(), read_ahead: parts.read_buf })
    }

    /// Whether these bytes are an upgrade response. hyper writes such a response whole, and a body that begins like
    /// one does not end like one: user text is JSON there.
    fn must_buffer(&self, bytes: &[u8]) -> bool {
        !self.buffered.is_empty() || bytes.starts_with(b"HTTP/1.1 101 ") && bytes.ends_with(b"\r\n\r\n")
    }
}

impl AsyncRead for HandshakeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let polled = Pin::new(self.stream.stream_mut()).poll_read(cx, out);
        if self.requests.under_way() {
            self.head = None;
        } else if polled.is_ready() && out.filled().len() > before && self.head.is_none() {
            self.head = Some(Box::pin(tokio::time::sleep(self.head_timeout)));
        }
        if polled.is_pending()
            && let Some(timeout) = &mut self.head
            && timeout.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for HandshakeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.must_buffer(bytes) {
            self.buffered.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(self.stream.stream_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            [only] => self.poll_write(cx, only),
            _ => Pin::new(self.stream.stream_mut()).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.stream().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.stream_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.stream_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn only_an_upgrade_response_is_buffered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut edge =
            HandshakeStream::new(listener.accept().await.unwrap().0.into(), Duration::from_secs(1));
        let plain: [&[u8]; 3] = [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 101 says somebody\"}]", b"1\r\n\r\n"];
        for bytes in plain {
            edge.write_all(bytes).await.unwrap();
            let mut got = vec![0; bytes.len()];
            far.read_exact(&mut got).await.unwrap();
            assert_eq!(got, bytes);
        }
        let switching = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";
        assert_eq!(edge.write_vectored(&[IoSlice::new(switching)]).await.unwrap(), switching.len());
        edge.flush().await.unwrap();
        assert_eq!(edge.buffered, switching[..]);
        assert_eq!(far.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn a_head_that_has_begun_must_be_complete_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let near = listener.accept().await.unwrap().0;
        let mut edge = HandshakeStream::new(near.into(), Duration::from_millis(100));
        let mut byte = [0];
        let under_way = edge.requests().begin();
        far.write_all(b"G").await.unwrap();
        edge.read_exact(&mut byte).await.unwrap();
        let answering = tokio::time::timeout(Duration::from_millis(300), edge.read(&mut byte)).await;
        assert!(answering.is_err(), "a request that is being answered is no head");
        drop(under_way);
        let idle = tokio::time::timeout(Duration::from_millis(300), edge.read(&mut byte)).await;
        assert!(idle.is_err(), "a connection that is idle between two requests is kept");
        far.write_all(b"G").await.unwrap();
        edge.read_exact(&mut byte).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), edge.read(&mut byte)).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let near = listener.accept().await.unwrap().0;
        let mut edge = HandshakeStream::new(near.into(), Duration::from_millis(100));
        let ended = tokio::time::timeout(Duration::from_secs(10), edge.read(&mut byte)).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut, "the first head is due at once");
    }
}
