//! How two gateways come to trust one TCP connection: each proves that it knows the cluster's secret, and
//! for this connection only (docs/adr/0006). Afterwards the connection is as it was, and carries HTTP.
//! Called by `owner.rs` (dialling) and `listener.rs` (accepting).
//!
//! ```text
//! accepting → dialling   magic, nonce A
//! dialling  → accepting  magic, tag of the process that is meant, nonce D, proof "dialling"
//! accepting → dialling   proof "accepting"
//! ```
//!
//! A proof is an HMAC-SHA256 over its side's label, the tag and both nonces. Whoever dials proves first,
//! so that a stranger who dials learns nothing that was made with the secret.

use std::fmt;
use std::io;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::sid::Tag;

/// Says which version of this it is, and tells a stranger at its first bytes.
const MAGIC: [u8; 4] = *b"RCP1";
const NONCE: usize = 32;
const PROOF: usize = 32;
/// How long it may take: it is three packets and no work.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);

/// What all gateways of a cluster know and nobody else does.
#[derive(Clone)]
pub(crate) struct Secret(Hmac<Sha256>);

impl Secret {
    /// Characters that it needs at least: 32 random ones cannot be guessed.
    pub(crate) const LEAST: usize = 32;

    /// None where it is too short.
    pub(crate) fn new(text: &str) -> Option<Self> {
        // A key of any length will do.
        Hmac::new_from_slice(text.as_bytes()).ok().filter(|_| text.chars().count() >= Self::LEAST).map(Self)
    }

    fn mac(&self, label: &[u8], tag: Tag, nonces: [&[u8; NONCE]; 2]) -> Hmac<Sha256> {
        // Each part but the label has a fixed length, and the labels differ in their first byte.
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

fn stranger(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn magic(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic).await?;
    if magic == MAGIC { Ok(()) } else { Err(stranger("it speaks something else")) }
}

/// The side that dialled: it means the process `tag` and nobody else at that address.
pub(super) async fn dial<S>(stream: &mut S, secret: &Secret, tag: Tag) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    in_time(async {
        magic(stream).await?;
        let (mut theirs, ours) = ([0; NONCE], rand::random::<[u8; NONCE]>());
        stream.read_exact(&mut theirs).await?;
        let proof = secret.mac(DIALLING, tag, [&theirs, &ours]).finalize().into_bytes();
        stream.write_all(&[&MAGIC[..], &tag.to_bytes(), &ours, &proof].concat()).await?;
        let mut proof = [0; PROOF];
        stream.read_exact(&mut proof).await?;
        // Compares in constant time.
        let proved = secret.mac(ACCEPTING, tag, [&theirs, &ours]).verify_slice(&proof);
        proved.map_err(|_| stranger("it does not know the secret"))
    })
    .await
}

/// The side that accepted, which is the process `tag`.
pub(super) async fn accept<S>(stream: &mut S, secret: &Secret, tag: Tag) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    in_time(async {
        let ours = rand::random::<[u8; NONCE]>();
        stream.write_all(&[&MAGIC[..], &ours].concat()).await?;
        magic(stream).await?;
        let (mut meant, mut theirs, mut proof) = ([0; 8], [0; NONCE], [0; PROOF]);
        stream.read_exact(&mut meant).await?;
        stream.read_exact(&mut theirs).await?;
        stream.read_exact(&mut proof).await?;
        let meant = Tag::from_bytes(meant);
        let proved = secret.mac(DIALLING, meant, [&ours, &theirs]).verify_slice(&proof);
        proved.map_err(|_| stranger("it does not know the secret"))?;
        if meant != tag {
            return Err(stranger("it means another process"));
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
        Secret::new(&text.repeat(Secret::LEAST)).unwrap()
    }

    fn pair() -> (DuplexStream, DuplexStream) {
        duplex(1_024)
    }

    /// What a side that accepts says first, and what it makes of `said`.
    async fn accepting(secret: &Secret, tag: Tag, said: &[u8]) -> (Vec<u8>, io::ErrorKind) {
        let (mut near, mut far) = pair();
        let accepting = async {
            let error = accept(&mut near, secret, tag).await.unwrap_err().kind();
            drop(near);
            error
        };
        let speaking = async {
            far.write_all(said).await.unwrap_or_default();
            far.shutdown().await.unwrap();
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let (error, heard) = tokio::join!(accepting, speaking);
        (heard, error)
    }

    #[tokio::test]
    async fn two_that_know_the_secret_agree_and_nothing_is_read_beyond() {
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
        for (other, meant) in [(secret("t"), tag), (secret("s"), Tag::random())] {
            let (mut near, mut far) = pair();
            let own = secret("s");
            let (dialled, accepted) = tokio::join!(dial(&mut near, &other, meant), async {
                let accepted = accept(&mut far, &own, tag).await;
                drop(far);
                accepted
            });
            assert_eq!(accepted.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(dialled.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "it gets no proof");
        }
    }

    #[tokio::test]
    async fn whoever_answers_must_know_the_secret_too() {
        let (mut near, mut far) = pair();
        let own = secret("s");
        let pretending = async {
            far.write_all(&[&MAGIC[..], &[7; NONCE]].concat()).await.unwrap();
            let mut said = [0; 4 + 8 + NONCE + PROOF];
            far.read_exact(&mut said).await.unwrap();
            // The best that can be done without it: say back what was said.
            far.write_all(&said[said.len() - PROOF..]).await.unwrap();
        };
        let (dialled, ()) = tokio::join!(dial(&mut near, &own, Tag::random()), pretending);
        assert_eq!(dialled.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[tokio::test]
    async fn a_replayed_handshake_is_refused() {
        let (mut near, mut far) = pair();
        let (tag, own) = (Tag::random(), secret("s"));
        // Somebody listens in on a good one.
        let listening = async {
            far.write_all(&[&MAGIC[..], &rand::random::<[u8; NONCE]>()].concat()).await.unwrap();
            let mut said = vec![0; 4 + 8 + NONCE + PROOF];
            far.read_exact(&mut said).await.unwrap();
            drop(far);
            said
        };
        let (dialled, recorded) = tokio::join!(dial(&mut near, &own, tag), listening);
        assert!(dialled.is_err());
        let (heard, error) = accepting(&own, tag, &recorded).await;
        assert_eq!((heard.len(), error), (MAGIC.len() + NONCE, io::ErrorKind::PermissionDenied));
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_are_told_nothing() {
        let (tag, own) = (Tag::random(), secret("s"));
        let (heard, error) = accepting(&own, tag, b"GET /socket.io/ HTTP/1.1\r\n\r\n").await;
        assert_eq!((heard.len(), error), (MAGIC.len() + NONCE, io::ErrorKind::PermissionDenied));
        for truncated in [0, 3, 4, 20, 75] {
            let said = [&MAGIC[..], &[0; 80]].concat();
            let (_, error) = accepting(&own, tag, &said[..truncated]).await;
            assert_eq!(error, io::ErrorKind::UnexpectedEof, "{truncated}");
        }
        // One that says nothing is given up.
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
