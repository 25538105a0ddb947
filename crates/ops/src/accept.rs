//! The accept loop of every public listener. Called by the gateway's `edge/accept.rs` and `edge/peer/listener.rs`, and by
//! the presence service's `listener.rs`; what is done with a connection is theirs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Pause after a failed accept, so that the loop does not spin while the process is out of file descriptors.
const RETRY: Duration = Duration::from_millis(100);

/// Accepts connections until `stop`, and closes the listener. With `permits`, each connection takes one, and none is
/// accepted while no permit is available. Small packets of the connections are not delayed. `failed` is told of each
/// accept that failed, most likely for lack of file descriptors; the next one follows after a pause.
pub async fn accept(
    listener: TcpListener,
    stop: &CancellationToken,
    permits: Option<&Arc<Semaphore>>,
    mut serve: impl FnMut(TcpStream, Option<OwnedSemaphorePermit>),
    failed: impl Fn(&io::Error),
) {
    // Accepted sockets inherit it from the listener, which saves a system call for each connection.
    if let Err(error) = socket2::SockRef::from(&listener).set_tcp_nodelay(true) {
        tracing::warn!(%error, "failed to set TCP_NODELAY; small packets will be delayed");
    }
    let accept = async || {
        let permit = match permits {
            // The semaphore is never closed.
            Some(permits) => Arc::clone(permits).acquire_owned().await.ok(),
            None => None,
        };
        listener.accept().await.map(|(stream, _)| (stream, permit))
    };
    while let Some(accepted) = stop.run_until_cancelled(accept()).await {
        match accepted {
            Ok((stream, permit)) => serve(stream, permit),
            Err(error) => {
                failed(&error);
                stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
            }
        }
    }
}
