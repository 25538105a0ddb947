//! Forwarding between gateways: a load balancer without session affinity spreads the requests of one client over all
//! gateways, and each request is forwarded to the one that owns the session. The session id names the owner (`sid.rs`,
//! `directory.rs`), a mutually authenticated connection carries the request (`owner.rs`, `handshake.rs`,
//! `listener.rs`), and a WebSocket is tunnelled (`tunnel.rs`). The reasons are in docs/adr/0006. Called by
//! `edge/socketio/` and `app.rs`.

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
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::Response;
use http::header::{
    CONNECTION, CONTENT_TYPE, COOKIE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use roomcast_ops::Lifecycle;
use roomcast_store::Nodes;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::socketio::LONG_TIMEOUT;
use crate::telemetry::{Forward, Forwarded, Telemetry};
use directory::Directory;
pub(crate) use handshake::Secret;
use owner::OwnerError;
use sid::Tag;
use tunnel::End;

/// Maximum number of concurrent requests and tunnels.
const MAX_FORWARDED: usize = 16_384;
/// Time allowed for the head of a response, in addition to the wait of an empty poll: a POST may wait for the answer to
/// a connect packet.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Tunnels closed per batch when the node drains, and the pause between batches.
const DRAIN_BATCH: u32 = 64;
const DRAIN_PAUSE: Duration = Duration::from_millis(100);

/// Settings of the connections between gateways.
#[derive(Debug, Clone)]
pub(crate) struct Peering {
    /// Address of the peer listener.
    pub(crate) listen: SocketAddr,
    /// Address under which other gateways reach it; the bound address if absent.
    pub(crate) address: Option<String>,
    /// The secret that all gateways share.
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
    /// Longest wait of a poll without packets.
    longest_poll: Duration,
    /// Window over which tunnels are closed when the node drains.
    drain: Duration,
    telemetry: Telemetry,
    lifecycle: Lifecycle,
    /// Forwarded requests are no longer accepted.
    closed: CancellationToken,
}

/// Settings and dependencies of forwarding.
pub(crate) struct PeerConfig {
    pub(crate) tag: Tag,
    pub(crate) secret: Secret,
    /// Longest wait of a poll without packets.
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

    /// The tag of this process.
    pub(crate) fn tag(&self) -> Tag {
        self.0.tag
    }

    /// Refreshes the directory at this interval, for ever.
    pub(crate) async fn keep(self, every: Duration) {
        self.0.directory.keep(every).await;
    }

    /// Serves the requests that other gateways forward, until [`Peers::close`].
    pub(crate) async fn serve(self, listener: TcpListener, routes: Router) {
        let Inner { tag, secret, closed, lifecycle, .. } = &*self.0;
        listener::serve(listener, routes, (secret.clone(), *tag), closed, lifecycle).await;
    }

    /// Stops accepting forwarded requests; called once every session of this node is closed.
    pub(crate) fn close(&self) {
        self.0.closed.cancel();
        for owner in self.0.directory.all() {
            owner.close_idle();
        }
    }

    /// Forwards a poll. Its body has been read, or is bounded and arrives within [`LONG_TIMEOUT`]. None if the owner cannot be
    /// reached: the client is then answered that the session is unknown, and official clients start a new one.
    pub(crate) async fn poll(&self, tag: Tag, request: Request) -> Option<Response> {
        let (head, body) = request.into_parts();
        let mut forwarded = Request::new(body);
        *forwarded.method_mut() = head.method;
        *forwarded.uri_mut() = path_and_query(&head.uri);
        copy(&head.headers, forwarded.headers_mut(), &[CONTENT_TYPE, COOKIE]);
        let forwarded = self.forward(tag, forwarded).await;
        self.0.telemetry.connections.forwarded(Forward::Poll, outcome(&forwarded));
        forwarded.ok().map(|(response, _)| response)
    }

    /// Forwards an upgrade, and starts a tunnel if the owner accepts it.
    pub(crate) async fn upgrade(&self, tag: Tag, mut request: Request) -> Option<Response> {
        let mut forwarded = Request::new(Body::empty());
        *forwarded.uri_mut() = path_and_query(request.uri());
        // The caller has checked that the request has these, possibly spread over several headers.
        let upgrade_headers =
            [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
        forwarded
            .headers_mut()
            .extend(upgrade_headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
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
                    Err(error) => tracing::debug!(%error, "upgrade failed"),
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
        let may_wait = request.method() == Method::GET && !request.headers().contains_key(UPGRADE);
        let mut timeout = ANSWER_TIMEOUT;
        if may_wait {
            timeout += self.0.longest_poll;
        }
        if request.body().size_hint().exact().is_none() {
            timeout += LONG_TIMEOUT;
        }
        let sending = owner.send(request, &self.0.secret, &self.0.lifecycle);
        let answered = tokio::time::timeout(timeout, sending).await;
        let (connection, response) =
            answered.unwrap_or(Err(OwnerError::Unreachable)).map_err(ForwardError::Owner)?;
        let (head, body) = response.into_parts();
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = head.status;
        *response.extensions_mut() = head.extensions;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let upgrade_headers = [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT];
            copy(&head.headers, response.headers_mut(), &upgrade_headers);
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
            return tracing::error!("upgraded connection was not accepted by this listener");
        };
        let (soft, hard) = (self.0.lifecycle.soft(), self.0.lifecycle.hard());
        let draining = async {
            soft.cancelled().await;
            // Spread over the drain window, like this node's own clients, so that the reconnects are spread.
            let open =
                u32::try_from(MAX_FORWARDED - self.0.forward_permits.available_permits()).unwrap_or(u32::MAX);
            let spread = self.0.drain.min(DRAIN_PAUSE * open.div_ceil(DRAIN_BATCH));
            tokio::time::sleep(spread.mul_f64(rand::random_range(0.0..1.0))).await;
        };
        tokio::select! {
            ended = tunnel::join(near, far) => if let Err(error) = ended {
                tracing::debug!(%error, "tunnel ended with an error");
            },
            () = draining => {}
            () = hard.cancelled() => {}
        }
    }
}

/// Why a request was not forwarded.
enum ForwardError {
    /// Too many requests and tunnels are under way.
    TooMany,
    /// No gateway has this tag.
    Unknown,
    Owner(OwnerError),
}

fn outcome<T>(forwarded: &Result<T, ForwardError>) -> Forwarded {
    match forwarded {
        Ok(_) => Forwarded::Ok,
        Err(ForwardError::Unknown) => Forwarded::Unknown,
        Err(ForwardError::Owner(OwnerError::Unreachable)) => Forwarded::Unreachable,
        Err(ForwardError::TooMany | ForwardError::Owner(OwnerError::Refused)) => Forwarded::Refused,
    }
}

/// The URI without scheme and authority, which only a request to a proxy has.
fn path_and_query(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map(Uri::from).unwrap_or_default()
}

/// Copies these headers. No others are forwarded, such as those that proxies added. Of cookies, the caller has left the
/// one that the owner may read.
fn copy(from: &HeaderMap, to: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        if let Some(value) = from.get(name) {
            to.insert(name, value.clone());
        }
    }
}
