//! Connections of the public listener and of the peer listener, with limits on request heads that `axum::serve` does not
//! expose, and a bound for the number of clients. Called by `app.rs` and by `peer/listener.rs`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use roomcast_ops::{Lifecycle, accept};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, ServiceExt as _};

use super::client_stream::ClientStream;
use super::handshake_stream::HandshakeStream;

/// Time allowed for a client to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a request's head, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// Time allowed for the last request of a connection once the node drains.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long bytes may wait for a client that reads nothing, or is gone, before its connection ends.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Files that clients cannot take: for the admin listener, Redis, and the connections between gateways.
const RESERVED_FILES: u64 = 128;

/// Serves the public listener until the soft token is cancelled. `keep_alive` is how long a connection may be idle
/// between two requests.
pub(crate) async fn serve(listener: TcpListener, routes: Router, keep_alive: Duration, lifecycle: Lifecycle) {
    let soft = lifecycle.soft();
    let clients = Arc::new(Semaphore::new(max_clients()));
    // Accepted sockets inherit it.
    if let Err(error) = socket2::SockRef::from(&listener).set_tcp_user_timeout(Some(UNREAD_TIMEOUT)) {
        tracing::warn!(%error, "failed to limit the time of unread bytes; slow readers may hold images");
    }
    let serve = |stream, place| {
        let (routes, soft, own) = (routes.clone(), soft.clone(), lifecycle.clone());
        let stream = ClientStream::new(stream, place);
        lifecycle
            .spawn("http", async move { serve_connection(stream, routes, keep_alive, soft, &own).await });
    };
    accept(listener, &soft, Some(&clients), serve, accept_failed).await;
}

pub(super) fn accept_failed(error: &io::Error) {
    tracing::warn!(%error, "accept failed");
}

/// How many clients may be connected at once: further ones wait until another one goes.
fn max_clients() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let clients = files.unwrap_or(u64::MAX).saturating_sub(RESERVED_FILES).max(1);
    usize::try_from(clients).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// Serves one connection until it ends, or until its deadline after `stop`. Its requests have its address as an
/// extension, `ConnectInfo`.
pub(super) async fn serve_connection(
    stream: ClientStream,
    routes: Router,
    keep_alive: Duration,
    stop: CancellationToken,
    lifecycle: &Lifecycle,
) {
    // Without an address the client has already gone.
    let Ok(address) = stream.stream().peer_addr() else { return };
    let routes = Extension(ConnectInfo(address)).layer(routes);
    let mut builder = http1::Builder::new();
    let stream = HandshakeStream::new(stream, HEAD_TIMEOUT);
    let requests = stream.requests();
    // hyper's timeout is that of an idle connection, too: `HandshakeStream` has the one of a head that has begun.
    // Without the timer hyper drops the timeout silently.
    builder.timer(TokioTimer::new()).header_read_timeout(keep_alive).max_buf_size(HEAD_BYTES);
    let service = service_fn(|request: Request<Incoming>| {
        let under_way = requests.begin();
        let response = routes.clone().oneshot(request.map(Body::new));
        async move {
            let response = response.await;
            drop(under_way);
            response
        }
    });
    let serving = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
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
