//! The public listener: the directory's connections, with limits that `axum::serve` does not
//! have. Called by `app.rs`; hands requests to the router it is given.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use roomcast_ops::{Lifecycle, accept};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::telemetry::Telemetry;

/// Connections open at once; more wait in the kernel's queue until one closes.
const MAX_CONNECTIONS: usize = 1_024;
/// From the opening of a connection, or the end of a request on it, to the last byte of the next head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the largest request head: the longest name, percent-encoded, takes some 1,500.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Headers of one request.
const MAX_HEADERS: usize = 64;
/// After this a connection is asked to close: the only bound on a client that reads its answers slowly.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(300);
/// How long a connection that was asked to close may take to send its last answer, once there is one.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// A bound address on which nothing is accepted yet.
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds; port 0 lets the system choose.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it is bound, with the port that the system chose.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the soft token is cancelled, then closes the listener. Each connection is a task of the
    /// lifecycle and closes after its request.
    pub(crate) async fn serve(self, router: Router, telemetry: Telemetry, lifecycle: Lifecycle) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let serve = |stream, permit| {
            let connected = telemetry.connected();
            let connection = connection(stream, router.clone(), lifecycle.clone());
            lifecycle.spawn("connection", async move {
                connection.await;
                drop((connected, permit));
            });
        };
        let failed = |error: &io::Error| telemetry.accept_failed(error);
        accept(self.listener, &lifecycle.soft(), Some(&permits), serve, failed).await;
    }
}

/// One connection, until either side ends it.
async fn connection(stream: TcpStream, router: Router, lifecycle: Lifecycle) {
    let (busy, mut is_busy) = watch::channel(false);
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        let (answer, busy) = (service.call(request), busy.clone());
        async move {
            busy.send_replace(true);
            let answer = answer.await;
            busy.send_replace(false);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let (soft, hard) = (lifecycle.soft(), lifecycle.hard());
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = soft.cancelled() => None,
        () = sleep(MAX_CONNECTION_AGE) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            // hyper would wait for the request of a client that never asked, or is still asking.
            let quiet = async {
                let waited = is_busy.wait_for(|busy| !busy).await.map(drop);
                sleep(FLUSH_TIMEOUT).await;
                waited
            };
            tokio::select! {
                ended = connection => ended,
                () = hard.cancelled() => return,
                _ = quiet => return,
            }
        }
    };
    if let Err(error) = ended {
        // A client that went away, was too slow or does not speak HTTP: no error of this process.
        tracing::debug!(%error, "connection ended with an error");
    }
}
