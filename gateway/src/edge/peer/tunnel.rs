//! Tunnels one WebSocket through this gateway to the owner of its session: copies bytes both ways, with no buffer while
//! idle. It reads only what the other side accepts, so that the owner sees a slow reader as it would on a connection of
//! its own. Called by `mod.rs`.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::edge::client_stream::ClientStream;
use crate::edge::handshake_stream::HandshakeStream;

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// How long the other direction may go on once one has ended, for the rest of a closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// One end of a tunnel.
pub(super) struct End {
    stream: ClientStream,
    /// Bytes received from it already, for the other end.
    read_ahead: Bytes,
    /// Bytes to write to it before those of the other end.
    unsent: Bytes,
}

impl End {
    /// The client. None if the connection was not accepted by one of the listeners.
    pub(super) fn client(upgraded: Upgraded) -> Option<Self> {
        let upgraded = HandshakeStream::from_upgraded(upgraded)?;
        Some(Self { stream: upgraded.stream, read_ahead: upgraded.read_ahead, unsent: upgraded.response })
    }

    /// The gateway that owns the session. None if the connection was not made by `owner.rs`.
    pub(super) fn owner(upgraded: Upgraded) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
        Some(Self { stream: parts.io.into_inner().into(), read_ahead: parts.read_buf, unsent: Bytes::new() })
    }
}

/// Copies until both ends have closed, or one fails.
pub(super) async fn join(near: End, far: End) -> io::Result<()> {
    let first = |to: &End, from: &End| [&to.unsent[..], &from.read_ahead[..]].concat().into();
    let mut out = std::pin::pin!(copy(near.stream.stream(), far.stream.stream(), first(&far, &near)));
    let mut back = std::pin::pin!(copy(far.stream.stream(), near.stream.stream(), first(&near, &far)));
    let last = tokio::select! {
        ended = &mut out => { ended?; tokio::time::timeout(CLOSE_TIMEOUT, back).await }
        ended = &mut back => { ended?; tokio::time::timeout(CLOSE_TIMEOUT, out).await }
    };
    last.unwrap_or(Ok(()))
}

async fn copy(from: &TcpStream, to: &TcpStream, mut rest: Bytes) -> io::Result<()> {
    loop {
        while !rest.is_empty() {
            to.writable().await?;
            rest.advance(zero_if_blocked(to.try_write(&rest))?);
        }
        from.readable().await?;
        match copy_once(from, to)? {
            Some(unwritten) => rest = unwritten,
            None => return socket2::SockRef::from(to).shutdown(Shutdown::Write),
        }
        // A stream that is always readable must yield to other tasks.
        tokio::task::consume_budget().await;
    }
}

/// Reads once, writes what it read, and returns what was not written; none at the end of the stream. The buffer is on
/// the stack of a function that never waits, so that an idle tunnel has none.
fn copy_once(from: &TcpStream, to: &TcpStream) -> io::Result<Option<Bytes>> {
    let mut buffer = [0; CHUNK];
    let read = match from.try_read(&mut buffer) {
        Ok(0) => return Ok(None),
        read => zero_if_blocked(read)?,
    };
    let fresh = buffer.get(..read).unwrap_or_default();
    if fresh.is_empty() {
        return Ok(Some(Bytes::new()));
    }
    let written = zero_if_blocked(to.try_write(fresh))?;
    Ok(Some(Bytes::copy_from_slice(fresh.get(written..).unwrap_or_default())))
}

fn zero_if_blocked(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, far)
    }

    fn end(stream: TcpStream, read_ahead: &'static [u8], unsent: &'static [u8]) -> End {
        End {
            stream: stream.into(),
            read_ahead: Bytes::from_static(read_ahead),
            unsent: Bytes::from_static(unsent),
        }
    }

    #[tokio::test]
    async fn bytes_are_copied_both_ways_in_order_and_a_shutdown_is_passed_on() {
        let ((near, mut client), (far, mut owner)) = (pair().await, pair().await);
        let much: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let tunnel = join(end(near, b"early ", b"welcome "), end(far, b"hello ", b""));
        let traffic = async {
            let (mut client_reads, mut client_writes) = client.split();
            let (mut owner_reads, mut owner_writes) = owner.split();
            let (mut at_owner, mut at_client) = (Vec::new(), Vec::new());
            let (client_wrote, owner_wrote, owner_read, client_read) = tokio::join!(
                async {
                    client_writes.write_all(&much).await?;
                    client_writes.shutdown().await
                },
                async {
                    owner_writes.write_all(&much).await?;
                    owner_writes.shutdown().await
                },
                owner_reads.read_to_end(&mut at_owner),
                client_reads.read_to_end(&mut at_client)
            );
            client_wrote.unwrap();
            owner_wrote.unwrap();
            owner_read.unwrap();
            client_read.unwrap();
            (at_owner, at_client)
        };
        let (tunnel, (at_owner, at_client)) = tokio::join!(tunnel, traffic);
        tunnel.unwrap();
        assert!(at_owner == [b"early ", &much[..]].concat());
        assert!(at_client == [b"welcome hello ", &much[..]].concat());
    }

    #[tokio::test]
    async fn a_side_that_does_not_read_stops_the_other_from_writing() {
        let ((near, _client), (far, mut owner)) = (pair().await, pair().await);
        let chunk = vec![0; 64 * 1024];
        let flood = async {
            let mut accepted = 0;
            while let Ok(written) =
                tokio::time::timeout(Duration::from_millis(300), owner.write(&chunk)).await
            {
                accepted += written.unwrap();
                assert!(accepted < 64 * 1024 * 1024, "the tunnel buffers without bound");
            }
        };
        tokio::select! {
            ended = join(end(near, b"", b""), end(far, b"", b"")) => panic!("{ended:?}"),
            () = flood => {}
        }
    }
}
