//! Takes what other gateways pass on: accepts, has each connection authenticated, and serves it as the
//! public listener serves its own. What comes here was judged by the gateway that it came to first (its
//! origin above all), which is why nobody else may come. Called by `mod.rs`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Inner, handshake};
use crate::http::server;

/// Connections that have not yet proved anything, at most. Others wait before they are accepted: an honest
/// one needs a millisecond, and a stranger loses its place after two seconds.
const STRANGERS: usize = 256;
/// The pause after the process could not accept, so that it does not spin while it has no files left.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn serve(listener: TcpListener, routes: Router, peers: &Arc<Inner>) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    server::answer_at_once(&listener);
    loop {
        let accepted = async {
            // Never closed.
            let place = Arc::clone(&strangers).acquire_owned().await.ok();
            listener.accept().await.map(|(stream, _)| (stream, place))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = peers.closed.cancelled() => return,
        };
        let (mut stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection of a gateway could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (peers, routes) = (Arc::clone(peers), routes.clone());
        let lifecycle = peers.lifecycle.clone();
        lifecycle.spawn("peer", async move {
            let authenticated = handshake::accept(&mut stream, &peers.secret, peers.tag).await;
            drop(place);
            match authenticated {
                Ok(()) => {
                    server::connection(stream, routes, peers.closed.clone(), &peers.lifecycle).await;
                }
                Err(error) => tracing::debug!(%error, "a connection was not that of a gateway"),
            }
        });
    }
}
