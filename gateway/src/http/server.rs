//! The public listener's accept loop, with the limits that axum's own does not expose: time and size of
//! request heads. Called by `app.rs`; `peer/listener.rs` serves other gateways' connections likewise.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use roomcast_ops::Lifecycle;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::edge::Edge;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head, at most.
const HEAD_BYTES: usize = 16 * 1024;
/// How long the last request of a connection may take once the node goes away.
const LAST_REQUEST: Duration = Duration::from_secs(2);
/// The pause after the process could not accept, so that it does not spin while it has no files left.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the soft token is pulled.
pub(crate) async fn serve(listener: TcpListener, routes: Router, lifecycle: Lifecycle) {
    let soft = lifecycle.soft();
    answer_at_once(&listener);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = soft.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (routes, soft, own) = (routes.clone(), soft.clone(), lifecycle.clone());
                lifecycle.spawn("http", async move { connection(stream, routes, soft, &own).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Small packets do not wait for others. A connection has it from its listener, for no call of its own.
pub(crate) fn answer_at_once(listener: &TcpListener) {
    if let Err(error) = socket2::SockRef::from(listener).set_tcp_nodelay(true) {
        tracing::warn!(%error, "connections will be answered late");
    }
}

/// One connection, until it ends or, some time after `stop`, must.
pub(crate) async fn connection(
    stream: TcpStream,
    routes: Router,
    stop: CancellationToken,
    lifecycle: &Lifecycle,
) {
    let mut builder = http1::Builder::new();
    // Without the timer hyper drops the timeout silently.
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    let stream = TokioIo::new(Edge::new(stream));
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
                () = tokio::time::sleep(LAST_REQUEST) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}
