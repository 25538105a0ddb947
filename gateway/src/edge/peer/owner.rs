//! Another gateway, as seen from this one: where it is, and the connections to it that are idle. Each was
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
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A machine that went without a word is noticed after twice that, also where nothing is being said.
const KEEPALIVE: Duration = Duration::from_secs(4);
/// How long an idle connection is kept; half of what the other side waits for a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections kept, at most.
const MAX_IDLE: usize = 1_024;

pub(super) struct Owner {
    pub(super) tag: Tag,
    address: String,
    idle: Mutex<Vec<(SendRequest<Body>, Instant)>>,
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
        Self { tag, address, idle: Mutex::default(), warned: AtomicBool::new(false) }
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

    /// A connection whose request was answered: idle once the answer was read to its end.
    pub(super) fn keep_idle(&self, connection: SendRequest<Body>) {
        let mut idle = self.idle.lock();
        if idle.len() == idle.capacity() {
            idle.retain(|(connection, since)| !connection.is_closed() && since.elapsed() < IDLE_TIMEOUT);
        }
        if idle.len() < MAX_IDLE {
            idle.push((connection, Instant::now()));
        }
    }

    /// Ends the connections that are idle.
    pub(super) fn close_idle(&self) {
        self.idle.lock().clear();
    }

    /// The one that was used last: the others may grow old.
    fn take(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock();
        loop {
            let (connection, since) = idle.pop()?;
            if since.elapsed() >= IDLE_TIMEOUT {
                // All before it are older.
                *idle = Vec::new();
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
        let mut stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        let socket = socket2::SockRef::from(&stream);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 2))?;
        socket.set_tcp_user_timeout(Some(KEEPALIVE))?;
        handshake::dial(&mut stream, secret, self.tag).await?;
        Ok(stream)
    }
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> Failure {
    tracing::debug!(error, "a gateway cannot be reached");
    Failure::Unreachable
}
