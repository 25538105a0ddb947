//! The peer listener: authenticates each connection and serves the requests that other gateways forward. Those have
//! passed the checks of the gateway that received them first (the origin check above all), so only gateways may
//! connect. Called by `mod.rs`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use roomcast_ops::{Lifecycle, accept};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::handshake::{self, Secret};
use super::sid::Tag;
use crate::edge::accept::{accept_failed, serve_connection};

/// Maximum number of connections that are not yet authenticated. Others wait before they are accepted: a gateway needs
/// a millisecond, and any other client is disconnected after two seconds.
const MAX_UNAUTHENTICATED: usize = 256;

/// How long a connection of another gateway may be idle; twice as long as that gateway keeps it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until `closed`. `tag` is the tag of this process.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    (secret, tag): (Secret, Tag),
    closed: &CancellationToken,
    lifecycle: &Lifecycle,
) {
    let permits = Arc::new(Semaphore::new(MAX_UNAUTHENTICATED));
    let serve = |mut stream: TcpStream, permit| {
        let (secret, routes, closed, own) =
            (secret.clone(), routes.clone(), closed.clone(), lifecycle.clone());
        lifecycle.spawn("peer", async move {
            let authenticated = handshake::accept(&mut stream, &secret, tag).await;
            drop(permit);
            match authenticated {
                Ok(()) => serve_connection(stream.into(), routes, IDLE_TIMEOUT, closed, &own).await,
                Err(error) => tracing::debug!(%error, "peer connection failed to authenticate"),
            }
        });
    };
    accept(listener, closed, Some(&permits), serve, accept_failed).await;
}
