//! One WebSocket through this gateway to the one that holds its session: bytes both ways, and no memory
//! while nothing moves. A side that does not take its bytes is not given more, so that the owner sees a
//! slow reader as it would see its own. Called by `mod.rs`.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::edge::handshake_stream::HandshakeStream;

/// Bytes taken at once.
const CHUNK: usize = 16 * 1024;
/// How long the other direction may go on once one has ended: for the last words of a closing handshake.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// One end, what it said already, and what it is still to be told before anything of the other.
pub(super) struct End {
    stream: TcpStream,
    early: Bytes,
    untold: Bytes,
}

impl End {
    /// A client. None where it is no connection of a listener.
    pub(super) fn client(upgraded: Upgraded) -> Option<Self> {
        let switched = HandshakeStream::leave(upgraded)?;
        Some(Self { stream: switched.stream, early: switched.early, untold: switched.answer })
    }

    /// The gateway that holds its session. None where it is no TCP connection, which none of ours is.
    pub(super) fn owner(upgraded: Upgraded) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
        Some(Self { stream: parts.io.into_inner(), early: parts.read_buf, untold: Bytes::new() })
    }
}

/// Carries until both have said everything, or one is gone.
pub(super) async fn join(near: End, far: End) -> io::Result<()> {
    let first = |to: &End, from: &End| [&to.untold[..], &from.early[..]].concat().into();
    let mut out = std::pin::pin!(carry(&near.stream, &far.stream, first(&far, &near)));
    let mut back = std::pin::pin!(carry(&far.stream, &near.stream, first(&near, &far)));
    let last = tokio::select! {
        ended = &mut out => { ended?; tokio::time::timeout(LAST_WORDS, back).await }
        ended = &mut back => { ended?; tokio::time::timeout(LAST_WORDS, out).await }
    };
    last.unwrap_or(Ok(()))
}

async fn carry(from: &TcpStream, to: &TcpStream, mut rest: Bytes) -> io::Result<()> {
    loop {
        while !rest.is_empty() {
            to.writable().await?;
            rest.advance(or_nothing(to.try_write(&rest))?);
        }
        from.readable().await?;
        match pass(from, to)? {
            Some(left) => rest = left,
            None => return socket2::SockRef::from(to).shutdown(Shutdown::Write),
        }
        // One that never stops talking lets others have their turn.
        tokio::task::consume_budget().await;
    }
}

/// Reads once and writes it on. What was not taken; none at the end. The buffer is on the stack of a
/// function that never waits, so that a quiet tunnel has none.
fn pass(from: &TcpStream, to: &TcpStream) -> io::Result<Option<Bytes>> {
    let mut buffer = [0; CHUNK];
    let read = match from.try_read(&mut buffer) {
        Ok(0) => return Ok(None),
        read => or_nothing(read)?,
    };
    let fresh = buffer.get(..read).unwrap_or_default();
    if fresh.is_empty() {
        return Ok(Some(Bytes::new()));
    }
    let written = or_nothing(to.try_write(fresh))?;
    Ok(Some(Bytes::copy_from_slice(fresh.get(written..).unwrap_or_default())))
}

fn or_nothing(done: io::Result<usize>) -> io::Result<usize> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        done => done,
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

    fn end(stream: TcpStream, early: &'static [u8], untold: &'static [u8]) -> End {
        End { stream, early: Bytes::from_static(early), untold: Bytes::from_static(untold) }
    }

    #[tokio::test]
    async fn bytes_go_both_ways_in_order_and_an_end_is_passed_on() {
        let ((near, mut client), (far, mut owner)) = (pair().await, pair().await);
        let much: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let tunnel = join(end(near, b"early ", b"welcome "), end(far, b"hello ", b""));
        let talk = async {
            let (mut client_reads, mut client_writes) = client.split();
            let (mut owner_reads, mut owner_writes) = owner.split();
            let (mut heard, mut answer) = (Vec::new(), Vec::new());
            let (said, closed, got, answered) = tokio::join!(
                async {
                    client_writes.write_all(&much).await?;
                    client_writes.shutdown().await
                },
                async {
                    owner_writes.write_all(&much).await?;
                    owner_writes.shutdown().await
                },
                owner_reads.read_to_end(&mut heard),
                client_reads.read_to_end(&mut answer)
            );
            said.unwrap();
            closed.unwrap();
            got.unwrap();
            answered.unwrap();
            (heard, answer)
        };
        let (tunnel, (heard, answer)) = tokio::join!(tunnel, talk);
        tunnel.unwrap();
        assert!(heard == [b"early ", &much[..]].concat());
        assert!(answer == [b"welcome hello ", &much[..]].concat());
    }

    #[tokio::test]
    async fn one_that_does_not_read_holds_the_other_back() {
        let ((near, _client), (far, mut owner)) = (pair().await, pair().await);
        let chunk = vec![0; 64 * 1024];
        let flood = async {
            let mut taken = 0;
            while let Ok(written) =
                tokio::time::timeout(Duration::from_millis(300), owner.write(&chunk)).await
            {
                taken += written.unwrap();
                assert!(taken < 64 * 1024 * 1024, "somebody keeps it");
            }
        };
        tokio::select! {
            ended = join(end(near, b"", b""), end(far, b"", b"")) => panic!("{ended:?}"),
            () = flood => {}
        }
    }
}
