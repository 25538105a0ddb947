//! Requests that reach the wrong gateway: a load balancer that knows nothing of sessions spreads the
//! requests of one client over all of them, and each is passed to the one that holds the session. The
//! session's id says which (`sid.rs`, `directory.rs`), a connection that both sides have authenticated
//! carries it (`owner.rs`, `handshake.rs`, `listener.rs`), and a WebSocket becomes a tunnel
//! (`tunnel.rs`). Why so: docs/adr/0006. Called by `edge/socketio/` and `app.rs`.

mod directory;
mod handshake;
mod listener;
mod owner;
pub(crate) mod sid;
mod tunnel;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{
    CONNECTION, CONTENT_TYPE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use roomcast_ops::Lifecycle;
use roomcast_store::Nodes;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::telemetry::{Forward, Forwarded, Telemetry};
use directory::Directory;
pub(crate) use handshake::Secret;
use owner::Failure;
use sid::Tag;
use tunnel::End;

/// Requests and tunnels under way at once, at most.
const MAX_FORWARDED: usize = 16_384;
/// How long the head of an answer may take, beyond the wait of a poll that has no news: a connect packet
/// may wait for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Tunnels that are ended at once when the node goes away, at most, and the pause between such batches.
const DRAIN_BATCH: u32 = 64;
const DRAIN_PAUSE: Duration = Duration::from_millis(100);

/// How gateways reach each other.
#[derive(Debug, Clone)]
pub(crate) struct Peering {
    /// Where this one listens for others.
    pub(crate) listen: SocketAddr,
    /// Under which address they find it; the bound one where absent.
    pub(crate) address: Option<String>,
    /// What all of them know.
    pub(crate) secret: Secret,
}

/// A handle; clones share the connections.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Inner>);

struct Inner {
    tag: Tag,
    secret: Secret,
    directory: Directory,
    forward_permits: Arc<Semaphore>,
    /// How long a poll waits at most when there is nothing to say.
    longest_poll: Duration,
    /// How long ending the tunnels may take at the end.
    drain: Duration,
    telemetry: Telemetry,
    lifecycle: Lifecycle,
    /// Nothing is taken from others any more.
    closed: CancellationToken,
}

/// What forwarding is set up with.
pub(crate) struct PeerConfig {
    pub(crate) tag: Tag,
    pub(crate) secret: Secret,
    /// How long a poll waits at most when there is nothing to say.
    pub(crate) longest_poll: Duration,
    pub(crate) drain: Duration,
    pub(crate) telemetry: Telemetry,
    pub(crate) lifecycle: Lifecycle,
}

impl Peers {
    pub(crate) fn new(nodes: Arc<dyn Nodes>, config: PeerConfig) -> Self {
        let PeerConfig { tag, secret, longest_poll, drain, telemetry, lifecycle } = config;
        Self(Arc::new(Inner {
            tag,
            secret,
            directory: Directory::new(nodes, tag),
            forward_permits: Arc::new(Semaphore::new(MAX_FORWARDED)),
            longest_poll,
            drain,
            telemetry,
            lifecycle,
            closed: CancellationToken::new(),
        }))
    }

    /// Of this process.
    pub(crate) fn tag(&self) -> Tag {
        self.0.tag
    }

    /// Keeps the directory, for ever.
    pub(crate) async fn keep(self, every: Duration) {
        self.0.directory.keep(every).await;
    }

    /// Serves what others pass on, until [`Peers::close`].
    pub(crate) async fn serve(self, listener: TcpListener, routes: Router) {
        let Inner { tag, secret, closed, lifecycle, .. } = &*self.0;
        listener::serve(listener, routes, (secret.clone(), *tag), closed, lifecycle).await;
    }

    /// Every session of this node was cut: nothing is taken from others any more.
    pub(crate) fn close(&self) {
        self.0.closed.cancel();
        for owner in self.0.directory.all() {
            owner.close_idle();
        }
    }

    /// Passes a poll on; `body` is whole, so that its length is known and bounded. None where the session
    /// cannot be reached: to the client it is gone, and stock clients begin another.
    pub(crate) async fn poll(&self, tag: Tag, request: Request) -> Option<Response> {
        let (head, body) = request.into_parts();
        let mut forwarded = Request::new(body);
        *forwarded.method_mut() = head.method;
        *forwarded.uri_mut() = path_and_query(&head.uri);
        copy(&head.headers, forwarded.headers_mut(), &[CONTENT_TYPE]);
        let forwarded = self.forward(tag, forwarded).await;
        self.0.telemetry.connections.forwarded(Forward::Poll, outcome(&forwarded));
        forwarded.ok().map(|(response, _)| response)
    }

    /// Passes an upgrade on, and becomes a tunnel where it is accepted.
    pub(crate) async fn upgrade(&self, tag: Tag, mut request: Request) -> Option<Response> {
        let mut forwarded = Request::new(Body::empty());
        *forwarded.uri_mut() = path_and_query(request.uri());
        // That it asks for this was seen, in however many headers it did.
        let asked = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
        forwarded.headers_mut().extend(asked.map(|(name, value)| (name, HeaderValue::from_static(value))));
        copy(request.headers(), forwarded.headers_mut(), &[SEC_WEBSOCKET_KEY]);
        let forwarded = self.forward(tag, forwarded).await;
        self.0.telemetry.connections.forwarded(Forward::Upgrade, outcome(&forwarded));
        let (mut response, permit) = forwarded.ok()?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (near, far) = (hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut response));
            let peers = self.clone();
            self.0.lifecycle.spawn("tunnel", async move {
                let _permit = permit;
                match tokio::try_join!(near, far) {
                    Ok((near, far)) => peers.tunnel(End::client(near), End::owner(far)).await,
                    Err(error) => tracing::debug!(%error, "an upgrade was not finished"),
                }
            });
        }
        Some(response)
    }

    async fn forward(
        &self,
        tag: Tag,
        mut request: Request,
    ) -> Result<(Response, OwnedSemaphorePermit), ForwardError> {
        let permit =
            Arc::clone(&self.0.forward_permits).try_acquire_owned().map_err(|_| ForwardError::TooMany)?;
        let owner = self.0.directory.find(tag).await.ok_or(ForwardError::Unknown)?;
        request.headers_mut().insert(HOST, HeaderValue::from_static("peer"));
        let waits = request.method() == Method::GET && !request.headers().contains_key(UPGRADE);
        let timeout = ANSWER_TIMEOUT + if waits { self.0.longest_poll } else { Duration::ZERO };
        let sending = owner.send(request, &self.0.secret, &self.0.lifecycle);
        let answered = tokio::time::timeout(timeout, sending).await;
        let (connection, response) =
            answered.unwrap_or(Err(Failure::Unreachable)).map_err(ForwardError::Failed)?;
        let (head, body) = response.into_parts();
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = head.status;
        *response.extensions_mut() = head.extensions;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let agreed = [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT];
            copy(&head.headers, response.headers_mut(), &agreed);
            *response.body_mut() = Body::empty();
        } else {
            copy(&head.headers, response.headers_mut(), &[CONTENT_TYPE]);
            if !self.0.closed.is_cancelled() {
                owner.keep_idle(connection);
            }
        }
        Ok((response, permit))
    }

    async fn tunnel(&self, near: Option<End>, far: Option<End>) {
        let (Some(near), Some(far)) = (near, far) else {
            return tracing::error!("a connection is not the listener's own");
        };
        let (soft, hard) = (self.0.lifecycle.soft(), self.0.lifecycle.hard());
        let going_away = async {
            soft.cancelled().await;
            // As clients of this node are: spread, so that their coming back is.
            let open =
                u32::try_from(MAX_FORWARDED - self.0.forward_permits.available_permits()).unwrap_or(u32::MAX);
            let spread = self.0.drain.min(DRAIN_PAUSE * open.div_ceil(DRAIN_BATCH));
            tokio::time::sleep(spread.mul_f64(rand::random_range(0.0..1.0))).await;
        };
        tokio::select! {
            ended = tunnel::join(near, far) => if let Err(error) = ended {
                tracing::debug!(%error, "a tunnel ended badly");
            },
            () = going_away => {}
            () = hard.cancelled() => {}
        }
    }
}

/// Why a request was not passed on.
enum ForwardError {
    /// It would be one too many.
    TooMany,
    /// No gateway has this tag.
    Unknown,
    Failed(Failure),
}

fn outcome<T>(forwarded: &Result<T, ForwardError>) -> Forwarded {
    match forwarded {
        Ok(_) => Forwarded::Ok,
        Err(ForwardError::Unknown) => Forwarded::Unknown,
        Err(ForwardError::Failed(Failure::Unreachable)) => Forwarded::Unreachable,
        Err(ForwardError::TooMany | ForwardError::Failed(Failure::Refused)) => Forwarded::Refused,
    }
}

/// What a client asked for, without what only a proxy would be told.
fn path_and_query(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map(Uri::from).unwrap_or_default()
}

/// Nothing else that a client says is passed on: neither cookies nor what proxies in front of us added.
fn copy(from: &HeaderMap, to: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        if let Some(value) = from.get(name) {
            to.insert(name, value.clone());
        }
    }
}
