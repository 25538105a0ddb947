//! Mutual authentication of two gateways on a TCP connection: each proves that it knows the cluster's secret, for this
//! connection only (docs/adr/0006). Afterwards the connection carries plain HTTP. Called by `owner.rs` (dialling) and
//! `listener.rs` (accepting).
//!
//! ```text
//! accepting → dialling   magic, nonce A
//! dialling  → accepting  magic, tag of the process that is dialled, nonce D, proof "dialling"
//! accepting → dialling   proof "accepting"
//! ```
//!
//! A proof is an HMAC-SHA256 over its side's label, the tag and both nonces. The dialling side proves first, so that an
//! unauthenticated client receives nothing that was computed with the secret.

use std::fmt;
use std::io;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::sid::Tag;

/// Identifies the protocol and its version, so that other clients are rejected at their first bytes.
const MAGIC: [u8; 4] = *b"RCP1";
const NONCE: usize = 32;
const PROOF: usize = 32;
/// Time allowed for the handshake: three packets and hardly any computation.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);

/// The secret that all gateways of a cluster share.
#[derive(Clone)]
pub(crate) struct Secret(Hmac<Sha256>);

impl Secret {
    /// Minimum length in characters: 32 random ones cannot be guessed.
    pub(crate) const MIN_CHARS: usize = 32;

    /// None if it is too short.
    pub(crate) fn new(text: &str) -> Option<Self> {
        // HMAC accepts a key of any length.
        Hmac::new_from_slice(text.as_bytes())
            .ok()
            .filter(|_| text.chars().count() >= Self::MIN_CHARS)
            .map(Self)
    }

    fn mac(&self, label: &[u8], tag: Tag, nonces: [&[u8; NONCE]; 2]) -> Hmac<Sha256> {
        // Unambiguous: each part but the label has a fixed length, and the labels differ in their first byte.
        let parts = [label, &tag.to_bytes(), nonces[0], nonces[1]];
        parts.iter().fold(self.0.clone(), |mac, part| mac.chain_update(part))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

const DIALLING: &[u8] = b"dialling side of a peer connection";
const ACCEPTING: &[u8] = b"accepting side of a peer connection";

fn denied(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

async fn with_deadline<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn read_magic(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic).await?;
    if magic == MAGIC { Ok(()) } else { Err(denied("the other side does not speak the peer protocol")) }
}

/// Runs the dialling side. It expects the process `tag`; another process at that address is rejected.
pub(super) async fn dial<S>(stream: &mut S, secret: &Secret, tag: Tag) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    with_deadline(async {
        read_magic(stream).await?;
        let (mut theirs, ours) = ([0; NONCE], rand::random::<[u8; NONCE]>());
        stream.read_exact(&mut theirs).await?;
        let proof = secret.mac(DIALLING, tag, [&theirs, &ours]).finalize().into_bytes();
        stream.write_all(&[&MAGIC[..], &tag.to_bytes(), &ours, &proof].concat()).await?;
        let mut proof = [0; PROOF];
        stream.read_exact(&mut proof).await?;
        // Compares in constant time.
        let proved = secret.mac(ACCEPTING, tag, [&theirs, &ours]).verify_slice(&proof);
        proved.map_err(|_| denied("the other side does not know the secret"))
    })
    .await
}

/// Runs the accepting side, which is the process `tag`.
pub(super) async fn accept<S>(stream: &mut S, secret: &Secret, tag: Tag) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    with_deadline(async {
        let ours = rand::random::<[u8; NONCE]>();
        stream.write_all(&[&MAGIC[..], &ours].concat()).await?;
        read_magic(stream).await?;
        let (mut dialled, mut theirs, mut proof) = ([0; 8], [0; NONCE], [0; PROOF]);
        stream.read_exact(&mut dialled).await?;
        stream.read_exact(&mut theirs).await?;
        stream.read_exact(&mut proof).await?;
        let dialled = Tag::from_bytes(dialled);
        let proved = secret.mac(DIALLING, dialled, [&ours, &theirs]).verify_slice(&proof);
        proved.map_err(|_| denied("the other side does not know the secret"))?;
        if dialled != tag {
            return Err(denied("the other side dialled another process"));
        }
        let proof = secret.mac(ACCEPTING, tag, [&ours, &theirs]).finalize().into_bytes();
        stream.write_all(&proof).await
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(&text.repeat(Secret::MIN_CHARS)).unwrap()
    }

    fn pair() -> (DuplexStream, DuplexStream) {
        duplex(1_024)
    }

    /// What the accepting side sends, and its error, when it receives `input`.
    async fn accept_error(secret: &Secret, tag: Tag, input: &[u8]) -> (Vec<u8>, io::ErrorKind) {
        let (mut near, mut far) = pair();
        let accepting = async {
            let error = accept(&mut near, secret, tag).await.unwrap_err().kind();
            drop(near);
            error
        };
        let sending = async {
            far.write_all(input).await.unwrap_or_default();
            far.shutdown().await.unwrap();
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.unwrap();
            received
        };
        let (error, received) = tokio::join!(accepting, sending);
        (received, error)
    }

    #[tokio::test]
    async fn gateways_with_the_same_secret_authenticate_and_later_bytes_are_not_consumed() {
        let (mut near, mut far) = pair();
        let tag = Tag::random();
        let (one, other) = (secret("s"), secret("s"));
        let (dialled, accepted) = tokio::join!(
            async {
                dial(&mut near, &one, tag).await?;
                near.write_all(b"GET").await
            },
            accept(&mut far, &other, tag)
        );
        dialled.unwrap();
        accepted.unwrap();
        let mut next = [0; 3];
        far.read_exact(&mut next).await.unwrap();
        assert_eq!(&next, b"GET");
    }

    #[tokio::test]
    async fn a_wrong_secret_or_another_process_is_refused_on_both_sides() {
        let tag = Tag::random();
        for (other, dialled_tag) in [(secret("t"), tag), (secret("s"), Tag::random())] {
            let (mut near, mut far) = pair();
            let own = secret("s");
            let (dialled, accepted) = tokio::join!(dial(&mut near, &other, dialled_tag), async {
                let accepted = accept(&mut far, &own, tag).await;
                drop(far);
                accepted
            });
            assert_eq!(accepted.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(dialled.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "it gets no proof");
        }
    }

    #[tokio::test]
    async fn the_accepting_side_must_know_the_secret_too() {
        let (mut near, mut far) = pair();
        let own = secret("s");
        let pretending = async {
            far.write_all(&[&MAGIC[..], &[7; NONCE]].concat()).await.unwrap();
            let mut sent = [0; 4 + 8 + NONCE + PROOF];
            far.read_exact(&mut sent).await.unwrap();
            // The best attempt without the secret: reflect the proof.
            far.write_all(&sent[sent.len() - PROOF..]).await.unwrap();
        };
        let (dialled, ()) = tokio::join!(dial(&mut near, &own, Tag::random()), pretending);
        assert_eq!(dialled.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[tokio::test]
    async fn a_replayed_handshake_is_refused() {
        let (mut near, mut far) = pair();
        let (tag, own) = (Tag::random(), secret("s"));
        // Records the dialling side of a valid handshake.
        let recording = async {
            far.write_all(&[&MAGIC[..], &rand::random::<[u8; NONCE]>()].concat()).await.unwrap();
            let mut sent = vec![0; 4 + 8 + NONCE + PROOF];
            far.read_exact(&mut sent).await.unwrap();
            drop(far);
            sent
        };
        let (dialled, recorded) = tokio::join!(dial(&mut near, &own, tag), recording);
        assert!(dialled.is_err());
        let (received, error) = accept_error(&own, tag, &recorded).await;
        assert_eq!((received.len(), error), (MAGIC.len() + NONCE, io::ErrorKind::PermissionDenied));
    }

    #[tokio::test(start_paused = true)]
    async fn unauthenticated_clients_receive_only_a_nonce() {
        let (tag, own) = (Tag::random(), secret("s"));
        let (received, error) = accept_error(&own, tag, b"GET /socket.io/ HTTP/1.1\r\n\r\n").await;
        assert_eq!((received.len(), error), (MAGIC.len() + NONCE, io::ErrorKind::PermissionDenied));
        for truncated in [0, 3, 4, 20, 75] {
            let input = [&MAGIC[..], &[0; 80]].concat();
            let (_, error) = accept_error(&own, tag, &input[..truncated]).await;
            assert_eq!(error, io::ErrorKind::UnexpectedEof, "{truncated}");
        }
        // A silent peer times out.
        let (mut near, _far) = pair();
        assert_eq!(accept(&mut near, &own, tag).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut near, _far) = pair();
        assert_eq!(dial(&mut near, &own, tag).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_secret_is_long_and_never_shown() {
        assert!(Secret::new(&"x".repeat(31)).is_none());
        assert_eq!(format!("{:?}", secret("hush")), "Secret");
    }
}
