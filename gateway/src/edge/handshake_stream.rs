//! The TCP stream under hyper. What it is told it writes at once, but for the answer that switches to a
//! WebSocket: that is held back, so that it leaves in one write with the first packets behind it. Made by
//! `accept.rs`; taken apart by whoever goes on with the connection, `socketio/upgrade.rs` and `peer/tunnel.rs`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(crate) struct HandshakeStream {
    stream: TcpStream,
    held: BytesMut,
}

/// A connection that hyper is done with.
pub(crate) struct Switched {
    pub(crate) stream: TcpStream,
    /// The answer, which the client has not been sent yet.
    pub(crate) answer: Bytes,
    /// What the client said behind its request.
    pub(crate) early: Bytes,
}

impl HandshakeStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, held: BytesMut::new() }
    }

    /// None where the connection is not one of the listeners'.
    pub(crate) fn leave(upgraded: Upgraded) -> Option<Switched> {
        let parts = upgraded.downcast::<TokioIo<Self>>().ok()?;
        let Self { stream, held } = parts.io.into_inner();
        Some(Switched { stream, answer: held.freeze(), early: parts.read_buf })
    }

    /// Whether to hold this back. hyper writes such an answer whole, and a body that begins like one does
    /// not end like one: what clients say stands in JSON there.
    fn holds_back(&self, bytes: &[u8]) -> bool {
        !self.held.is_empty() || bytes.starts_with(b"HTTP/1.1 101 ") && bytes.ends_with(b"\r\n\r\n")
    }
}

impl AsyncRead for HandshakeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl AsyncWrite for HandshakeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.holds_back(bytes) {
            self.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            [only] => self.poll_write(cx, only),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn only_an_answer_that_switches_is_held_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut edge = HandshakeStream::new(listener.accept().await.unwrap().0);
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
        assert_eq!(edge.held, switching[..]);
        assert_eq!(far.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
