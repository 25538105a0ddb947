//! The accept loop of the public listener and of the peer listener, with limits on request heads that `axum::serve`
//! does not expose. Called by `app.rs` and by `peer/listener.rs`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use roomcast_ops::Lifecycle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::handshake_stream::HandshakeStream;

/// Time allowed for a client to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a request's head, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// Time allowed for the last request of a connection once the node drains.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed accept, so that the loop does not spin while the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves the public listener until the soft token is cancelled.
pub(crate) async fn serve(listener: TcpListener, routes: Router, lifecycle: Lifecycle) {
    let soft = lifecycle.soft();
    accept(listener, &soft, None, |stream, _| {
        let (routes, soft, own) = (routes.clone(), soft.clone(), lifecycle.clone());
        lifecycle.spawn("http", async move { serve_connection(stream, routes, soft, &own).await });
    })
    .await;
}

/// Accepts connections until `stop`. With `permits`, each connection takes one, and none is accepted while no
/// permit is available.
pub(super) async fn accept(
    listener: TcpListener,
    stop: &CancellationToken,
    permits: Option<&Arc<Semaphore>>,
    mut serve: impl FnMut(TcpStream, Option<OwnedSemaphorePermit>),
) {
    // Accepted sockets inherit it from the listener, which saves a system call for each connection.
    if let Err(error) = socket2::SockRef::from(&listener).set_tcp_nodelay(true) {
        tracing::warn!(%error, "failed to set TCP_NODELAY; small packets will be delayed");
    }
    loop {
        let accepted = async {
            let permit = match permits {
                // The semaphore is never closed.
                Some(permits) => Arc::clone(permits).acquire_owned().await.ok(),
                None => None,
            };
            listener.accept().await.map(|(stream, _)| (stream, permit))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, permit)) => serve(stream, permit),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Serves one connection until it ends, or until its deadline after `stop`.
pub(super) async fn serve_connection(
    stream: TcpStream,
    routes: Router,
    stop: CancellationToken,
    lifecycle: &Lifecycle,
) {
    let mut builder = http1::Builder::new();
    // Without the timer hyper drops the timeout silently.
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    let stream = TokioIo::new(HandshakeStream::new(stream));
    let serving = builder.serve_connection(stream, TowerToHyperService::new(routes)).with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let hard = lifecycle.hard();
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = hard.cancelled() => return,
        () = stop.cancelled() => {
            // Finishes the request under way and sends `Connection: close`.
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut serving => ended,
                () = hard.cancelled() => return,
                // hyper would wait for a client that has sent no request, or only a part of one.
                () = tokio::time::sleep(LAST_REQUEST_TIMEOUT) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended with an error");
    }
}
