//! Takes what other gateways forward: each connection is authenticated, and served as the public listener serves
//! its own. What comes here was judged by the gateway that it came to first (its origin above all), which is why
//! nobody else may come. Called by `mod.rs`.

use std::sync::Arc;

use axum::Router;
use roomcast_ops::Lifecycle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::handshake::{self, Secret};
use super::sid::Tag;
use crate::edge::accept::{accept, serve_connection};

/// Connections that have not yet proved anything, at most. Others wait before they are accepted: an honest
/// one needs a millisecond, and a stranger loses its place after two seconds.
const MAX_UNAUTHENTICATED: usize = 256;

/// Until `closed`; this process is `tag`.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    (secret, tag): (Secret, Tag),
    closed: &CancellationToken,
    lifecycle: &Lifecycle,
) {
    let places = Arc::new(Semaphore::new(MAX_UNAUTHENTICATED));
    accept(listener, closed, Some(&places), |mut stream, place| {
        let (secret, routes, closed, own) =
            (secret.clone(), routes.clone(), closed.clone(), lifecycle.clone());
        lifecycle.spawn("peer", async move {
            let authenticated = handshake::accept(&mut stream, &secret, tag).await;
            drop(place);
            match authenticated {
                Ok(()) => serve_connection(stream, routes, closed, &own).await,
                Err(error) => tracing::debug!(%error, "a connection did not authenticate as a gateway"),
            }
        });
    })
    .await;
}
