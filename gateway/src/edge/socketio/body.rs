//! Bodies of requests: read within bounds of size, time and memory, or read and dropped before a refusal is sent,
//! because a proxy that is answered while it still sends takes the gateway for broken. Called by `requests.rs`,
//! `polling.rs` and `edge/mod.rs`; calls `long_body.rs` for bodies that carry images.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use roomcast_protocol::limits::{MAX_DISCARDED_BYTES, MAX_PACKET_BYTES};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::engine::{LONG_TIMEOUT, Session};
use super::long_body::{LongBody, LongBodyPacket, TooLong};
use crate::edge::error::HttpError;

/// Bytes of all bodies that are being read.
const MEMORY: usize = 64 * 1024 * 1024;
/// The unit in which that memory is taken, in bytes.
const UNIT: usize = 1024;
/// Time allowed for a body to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest rest of a body that is passed on to another gateway: that one reads so much before it refuses it.
const MAX_FORWARDED_BYTES: usize = 2 * MAX_DISCARDED_BYTES;
/// How much of a refused body is read, and for how long; what is left is cut off with its connection.
const DRAIN_BYTES: usize = 8 * 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads bodies, with a bound for all that are being read together. Clones share it.
#[derive(Clone)]
pub(crate) struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY / UNIT)))
    }
}

/// A body that has been read. Its memory counts until this is dropped.
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    _memory: Vec<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    TooLong,
    TooSlow,
    /// The bodies of other requests use all the memory.
    NoMemory,
    /// The connection failed.
    Failed,
}

/// A body as far as it was read.
enum Begun {
    Whole(ReadBody),
    /// It is longer than usual: what has been read, and the chunk after that.
    More(ReadBody, Bytes),
}

impl From<TooLong> for Unread {
    fn from(TooLong: TooLong) -> Self {
        Self::TooLong
    }
}

/// What a POST of a session brought.
pub(super) enum Posted {
    Usual(ReadBody),
    /// The packets of a body that is longer than usual.
    Long(Vec<LongBodyPacket>),
}

impl Bodies {
    /// Reads the body of a session's POST: at most `MAX_PACKET_BYTES`, and the packets that may be longer. `binary` says
    /// that its content type is `application/octet-stream`.
    ///
    /// # Errors
    /// The response that refuses it; the rest of the body has been dropped.
    pub(super) async fn read(
        &self,
        session: &Arc<Session>,
        binary: bool,
        body: Body,
    ) -> Result<Posted, Response> {
        let mut stream = body.into_data_stream();
        let read = async {
            let (begun, chunk) = match within(READ_TIMEOUT, self.begin(&mut stream)).await? {
                Begun::Whole(read) => return Ok(Posted::Usual(read)),
                Begun::More(begun, chunk) => (begun, chunk),
            };
            let mut long = LongBody::new(session, binary);
            let rest = async {
                long.feed(&begun.bytes)?;
                long.feed(&chunk)?;
                drop((begun, chunk));
                while let Some(chunk) = stream.next().await {
                    long.feed(&chunk.map_err(|_| Unread::Failed)?)?;
                }
                Ok(())
            };
            within(LONG_TIMEOUT, rest).await?;
            Ok(Posted::Long(long.finish()?))
        };
        let unread = match read.await {
            Ok(posted) => return Ok(posted),
            Err(unread) => unread,
        };
        Err(refuse(unread, stream).await)
    }

    /// Reads a body that is to be sent to another gateway. One that is longer than usual is passed on as it arrives; that
    /// gateway decides about it.
    ///
    /// # Errors
    /// The response that refuses it; the rest of the body has been dropped.
    pub(crate) async fn forward(&self, body: Body) -> Result<Body, Response> {
        let mut stream = body.into_data_stream();
        match within(READ_TIMEOUT, self.begin(&mut stream)).await {
            Ok(Begun::Whole(read)) => Ok(Body::from(read.bytes)),
            Ok(Begun::More(begun, chunk)) => {
                let mut left = MAX_FORWARDED_BYTES;
                let first = stream::iter([Ok(begun.bytes), Ok(chunk)]);
                let rest = stream.map(move |chunk| {
                    let chunk = chunk.map_err(io::Error::other)?;
                    left = left.checked_sub(chunk.len()).ok_or(io::ErrorKind::FileTooLarge)?;
                    Ok::<_, io::Error>(chunk)
                });
                Ok(Body::from_stream(first.chain(rest)))
            }
            Err(unread) => Err(refuse(unread, stream).await),
        }
    }

    /// Reads a body of usual length. Copies the chunks into one buffer: each of them would keep the buffer that it was
    /// read into.
    async fn begin(&self, stream: &mut BodyDataStream) -> Result<Begun, Unread> {
        let (mut bytes, mut memory) = (BytesMut::new(), Vec::new());
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| Unread::Failed)?;
            if bytes.len() + chunk.len() > MAX_PACKET_BYTES {
                return Ok(Begun::More(ReadBody { bytes: bytes.freeze(), _memory: memory }, chunk));
            }
            let needed = bytes.len() + chunk.len();
            if needed > bytes.capacity() {
                // Doubled, so that few copies are made and few permits are held.
                let capacity = needed.next_power_of_two().clamp(UNIT, MAX_PACKET_BYTES);
                let more = u32::try_from((capacity - bytes.capacity()).div_ceil(UNIT)).unwrap_or(u32::MAX);
                memory.push(Arc::clone(&self.0).try_acquire_many_owned(more).map_err(|_| Unread::NoMemory)?);
                bytes.reserve(capacity - bytes.len());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Begun::Whole(ReadBody { bytes: bytes.freeze(), _memory: memory }))
    }
}

async fn within<T>(time: Duration, reading: impl Future<Output = Result<T, Unread>>) -> Result<T, Unread> {
    tokio::time::timeout(time, reading).await.unwrap_or(Err(Unread::TooSlow))
}

/// The response that refuses a body, once the rest of it has been dropped.
async fn refuse(unread: Unread, stream: BodyDataStream) -> Response {
    let (status, message) = match unread {
        Unread::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "the payload is too large"),
        Unread::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the payload did not arrive in time"),
        Unread::NoMemory => (StatusCode::SERVICE_UNAVAILABLE, "too many payloads are being sent; try again"),
        Unread::Failed => (StatusCode::BAD_REQUEST, "the payload could not be read"),
    };
    let drained = unread != Unread::TooSlow && drain_stream(stream).await;
    let mut response = HttpError::new(status, 3, message).into_response();
    if !drained {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads the rest of a body and drops it; false if it was too long or too slow, so that its connection must be closed.
pub(crate) async fn drain(body: Body) -> bool {
    body.is_end_stream() || drain_stream(body.into_data_stream()).await
}

async fn drain_stream(mut stream: BodyDataStream) -> bool {
    let drained = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(chunk)) = stream.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(DRAIN_TIMEOUT, drained).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    fn chunks(count: usize, length: usize) -> Body {
        let chunk = Bytes::from(vec![b'x'; length]);
        Body::from_stream(stream::iter((0..count).map(move |_| Ok::<_, Infallible>(chunk.clone()))))
    }

    #[tokio::test]
    async fn a_body_is_read_whole_and_its_memory_is_given_back() {
        let bodies = Bodies::default();
        let free = bodies.0.available_permits();
        let mut body = chunks(MAX_PACKET_BYTES, 1).into_data_stream();
        let Ok(Begun::Whole(read)) = bodies.begin(&mut body).await else { panic!("refused") };
        assert_eq!(read.bytes.len(), MAX_PACKET_BYTES);
        let taken = free - bodies.0.available_permits();
        assert!((128..=256).contains(&taken), "{taken} KiB");
        drop(read);
        assert_eq!(bodies.0.available_permits(), free);
    }

    #[tokio::test]
    async fn bodies_that_are_too_long_are_drained_and_refused() {
        for (count, closes) in [(129, false), (20 * 1024, true)] {
            let refused = refuse(Unread::TooLong, chunks(count, 1024).into_data_stream()).await;
            assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(refused.headers().contains_key(CONNECTION), closes, "{count} KiB");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_refused_in_time() {
        let began = tokio::time::Instant::now();
        let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let Err(refused) = Bodies::default().forward(never).await else { panic!("accepted") };
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(refused.headers().get(CONNECTION).unwrap(), "close");
        assert_eq!(began.elapsed(), READ_TIMEOUT);
    }

    #[tokio::test]
    async fn memory_of_all_bodies_is_bounded() {
        let bodies = Bodies(Arc::new(Semaphore::new(16)));
        let begin = async || bodies.begin(&mut chunks(10, 1024).into_data_stream()).await;
        let Ok(held) = begin().await else { panic!("refused") };
        assert!(matches!(begin().await, Err(Unread::NoMemory)));
        drop(held);
        assert!(begin().await.is_ok());
    }

    #[tokio::test]
    async fn a_long_body_is_passed_on_as_it_arrives_and_bounded() {
        let bodies = Bodies::default();
        let free = bodies.0.available_permits();
        for (length, passes) in [(1024, true), (17 * 1024, false)] {
            let Ok(body) = bodies.forward(chunks(length, 1024)).await else { panic!("refused") };
            assert_eq!(bodies.0.available_permits(), free, "none is held");
            let read = axum::body::to_bytes(body, usize::MAX).await;
            assert_eq!(read.map(|read| read.len()).ok(), passes.then_some(length * 1024));
        }
    }
}
