//! The client of another gateway: its address and a pool of idle connections. Each connection is authenticated when it
//! is made (`handshake.rs`) and carries one request after the other, or a tunnel. Called by `mod.rs`; `directory.rs`
//! holds one for each gateway.

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

/// Time allowed for a TCP connect: gateways of one cluster are close to each other.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A host that disappeared without closing its connections is noticed after twice this time, also on idle tunnels.
const KEEPALIVE: Duration = Duration::from_secs(4);
/// How long an idle connection is kept: half of the time that the other side waits for a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of idle connections kept.
const MAX_IDLE: usize = 1_024;

pub(super) struct Owner {
    pub(super) tag: Tag,
    address: String,
    idle: Mutex<Vec<(SendRequest<Body>, Instant)>>,
    /// Whether the failed authentication has been logged.
    warned: AtomicBool,
}

/// Why a request was not answered by the owner of its session.
#[derive(Debug)]
pub(super) enum OwnerError {
    /// The owner is gone or does not answer.
    Unreachable,
    /// One of the two gateways could not prove that it knows the secret.
    Refused,
}

impl Owner {
    pub(super) fn new(tag: Tag, address: String) -> Self {
        Self { tag, address, idle: Mutex::default(), warned: AtomicBool::new(false) }
    }

    /// Sends a request and waits for the head of its response. A request that may have arrived is never sent again.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        secret: &Secret,
        lifecycle: &Lifecycle,
    ) -> Result<(SendRequest<Body>, Response<Incoming>), OwnerError> {
        while let Some(mut connection) = self.take_idle() {
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                // The idle connection was closed in the meantime; without a message, the request may have been sent.
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

    /// Returns a connection to the pool. It is idle once its response has been read to the end.
    pub(super) fn keep_idle(&self, connection: SendRequest<Body>) {
        let mut idle = self.idle.lock();
        if idle.len() == idle.capacity() {
            idle.retain(|(connection, since)| !connection.is_closed() && since.elapsed() < IDLE_TIMEOUT);
        }
        if idle.len() < MAX_IDLE {
            idle.push((connection, Instant::now()));
        }
    }

    /// Closes the idle connections.
    pub(super) fn close_idle(&self) {
        self.idle.lock().clear();
    }

    /// Takes the most recently used connection, so that surplus ones time out.
    fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock();
        loop {
            let (connection, since) = idle.pop()?;
            if since.elapsed() >= IDLE_TIMEOUT {
                // All others are older.
                *idle = Vec::new();
                return None;
            }
            // One that is not ready is still receiving a response; dropping it closes it after that.
            if connection.is_ready() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self, secret: &Secret, lifecycle: &Lifecycle) -> Result<SendRequest<Body>, OwnerError> {
        let stream = self.dial(secret).await.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::UnexpectedEof => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(address = self.address, %error,
                        "authentication between gateways failed; is --peer-secret the same on both?");
                }
                OwnerError::Refused
            }
            _ => unreachable(&error),
        })?;
        let (connection, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
        let hard = lifecycle.hard();
        lifecycle.spawn("peer-connection", async move {
            if let Some(Err(error)) = hard.run_until_cancelled(driver.with_upgrades()).await {
                tracing::debug!(%error, "connection to a gateway ended with an error");
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

fn unreachable(error: &(dyn std::error::Error + 'static)) -> OwnerError {
    tracing::debug!(error, "a gateway could not be reached");
    OwnerError::Unreachable
}
