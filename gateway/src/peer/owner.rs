//! Another gateway, as seen from this one: where it is, and the connections to it that are free. Each was
//! authenticated when it was made (`handshake.rs`) and carries one request after the other, or a tunnel.
//! Called by `mod.rs`; `directory.rs` knows them all.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use roomcast_ops::Lifecycle;
use socket2::TcpKeepalive;
use tokio::net::TcpStream;

use super::handshake::{self, Secret};
use super::sid::Tag;

/// How long a connection may take to come about: pods of one cluster are close to each other.
const CONNECT: Duration = Duration::from_secs(1);
/// A machine that went without a word is noticed after twice that, also where nothing is being said.
const SILENCE: Duration = Duration::from_secs(4);
/// How long a connection is kept free; half of what the other side waits for a request.
const FREE_FOR: Duration = Duration::from_secs(5);
/// Connections kept free, at most.
const FREE: usize = 1_024;

pub(super) struct Owner {
    pub(super) tag: Tag,
    address: String,
    free: Mutex<Vec<(SendRequest<Body>, Instant)>>,
    /// Whether it was said that it does not trust us, or we not it.
    warned: AtomicBool,
}

/// Why a request did not reach its owner, or its answer not us.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is gone, or does not answer.
    Unreachable,
    /// One of the two did not prove that it knows the secret.
    Refused,
}

impl Owner {
    pub(super) fn new(tag: Tag, address: String) -> Self {
        Self { tag, address, free: Mutex::default(), warned: AtomicBool::new(false) }
    }

    /// Sends a request and waits for the head of its answer. One that may have arrived is never sent again.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        secret: &Secret,
        lifecycle: &Lifecycle,
    ) -> Result<(SendRequest<Body>, Response<Incoming>), Failure> {
        while let Some(mut connection) = self.take() {
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                // It had been closed in the meantime, and nothing was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(unreachable(&error.into_error())),
                },
            }
        }
        let mut connection = self.connect(secret, lifecycle).await?;
        let response = connection.send_request(request).await.map_err(|error| unreachable(&error))?;
        Ok((connection, response))
    }

    /// A connection whose request was answered: free once the answer was read to its end.
    pub(super) fn give_back(&self, connection: SendRequest<Body>) {
        let mut free = self.free.lock();
        if free.len() == free.capacity() {
            free.retain(|(connection, since)| !connection.is_closed() && since.elapsed() < FREE_FOR);
        }
        if free.len() < FREE {
            free.push((connection, Instant::now()));
        }
    }

    /// Ends the connections that are free.
    pub(super) fn let_go(&self) {
        self.free.lock().clear();
    }

    /// The one that was used last: the others may grow old.
    fn take(&self) -> Option<SendRequest<Body>> {
        let mut free = self.free.lock();
        loop {
            let (connection, since) = free.pop()?;
            if since.elapsed() >= FREE_FOR {
                // All before it are older.
                *free = Vec::new();
                return None;
            }
            // One that is not ready still carries the rest of an answer, and ends behind it.
            if connection.is_ready() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self, secret: &Secret, lifecycle: &Lifecycle) -> Result<SendRequest<Body>, Failure> {
        let stream = self.dial(secret).await.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::UnexpectedEof => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(address = self.address, %error,
                        "a gateway and this one do not trust each other; is --peer-secret the same?");
                }
                Failure::Refused
            }
            _ => unreachable(&error),
        })?;
        let (connection, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
        let hard = lifecycle.hard();
        lifecycle.spawn("peer-connection", async move {
            if let Some(Err(error)) = hard.run_until_cancelled(driver.with_upgrades()).await {
                tracing::debug!(%error, "a connection to a gateway ended badly");
            }
        });
        Ok(connection)
    }

    async fn dial(&self, secret: &Secret) -> io::Result<TcpStream> {
        let connecting = TcpStream::connect(&self.address);
        let mut stream = tokio::time::timeout(CONNECT, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        let socket = socket2::SockRef::from(&stream);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 2))?;
        socket.set_tcp_user_timeout(Some(SILENCE))?;
        handshake::dial(&mut stream, secret, self.tag).await?;
        Ok(stream)
    }
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> Failure {
    tracing::debug!(error, "a gateway cannot be reached");
    Failure::Unreachable
}
