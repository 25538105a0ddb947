//! The TCP stream under hyper. It writes through, except for the `101 Switching Protocols` response of a WebSocket
//! upgrade: that is buffered, so that it leaves in one write with the first packets after it. Created by `accept.rs`;
//! taken apart after the upgrade by `socketio/upgrade.rs` and `peer/tunnel.rs`.

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
    /// The upgrade response, not yet written.
    buffered: BytesMut,
}

/// A connection after its upgrade, taken back from hyper.
pub(crate) struct UpgradedStream {
    pub(crate) stream: TcpStream,
    /// The upgrade response, still to be written.
    pub(crate) response: Bytes,
    /// Bytes that the client sent after its request and that hyper has already read.
    pub(crate) read_ahead: Bytes,
}

impl HandshakeStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffered: BytesMut::new() }
    }

    /// Takes the connection back from hyper. None if it was not accepted by `accept.rs`.
    pub(crate) fn from_upgraded(upgraded: Upgraded) -> Option<UpgradedStream> {
        let parts = upgraded.downcast::<TokioIo<Self>>().ok()?;
        let Self { stream, buffered } = parts.io.into_inner();
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
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl AsyncWrite for HandshakeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.must_buffer(bytes) {
            self.buffered.extend_from_slice(bytes);
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
    async fn only_an_upgrade_response_is_buffered() {
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
        assert_eq!(edge.buffered, switching[..]);
        assert_eq!(far.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
