//! The one accept loop, of the public listener and of the one for other gateways, with the limits on request
//! heads that axum's own does not expose. Called by `app.rs` and by `peer/listener.rs`.

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

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head, at most.
const HEAD_BYTES: usize = 16 * 1024;
/// How long the last request of a connection may take once the node goes away.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after the process could not accept, so that it does not spin while it has no files left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves the public listener until the soft token is pulled.
pub(crate) async fn serve(listener: TcpListener, routes: Router, lifecycle: Lifecycle) {
    let soft = lifecycle.soft();
    accept(listener, &soft, None, |stream, _| {
        let (routes, soft, own) = (routes.clone(), soft.clone(), lifecycle.clone());
        lifecycle.spawn("http", async move { serve_connection(stream, routes, soft, &own).await });
    })
    .await;
}

/// Accepts until `stop`. With `places`, each connection is given one of them, and none is accepted while there
/// is none.
pub(super) async fn accept(
    listener: TcpListener,
    stop: &CancellationToken,
    places: Option<&Arc<Semaphore>>,
    mut serve: impl FnMut(TcpStream, Option<OwnedSemaphorePermit>),
) {
    // Small packets do not wait for others. A connection has it from its listener, for no call of its own.
    if let Err(error) = socket2::SockRef::from(&listener).set_tcp_nodelay(true) {
        tracing::warn!(%error, "TCP_NODELAY could not be set: small packets will be delayed");
    }
    loop {
        let accepted = async {
            let place = match places {
                // Never closed.
                Some(places) => Arc::clone(places).acquire_owned().await.ok(),
                None => None,
            };
            listener.accept().await.map(|(stream, _)| (stream, place))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, place)) => serve(stream, place),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// One connection, until it ends or, some time after `stop`, must.
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
            // Finish the request under way, and say `Connection: close`.
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut serving => ended,
                () = hard.cancelled() => return,
                // hyper waits for a client that never sent a request, or only half of one.
                () = tokio::time::sleep(LAST_REQUEST_TIMEOUT) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
