//! The admin listener: an HTTP server apart from the public one, on its own OS thread with its own runtime, so
//! that it answers when the data plane is saturated. Binaries bind it early and add their `/debug/…` routes;
//! it serves `Readiness`, `Metrics` and `LogLevel`. It is private: no authentication, no TLS.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::{fmt, io};

use axum::extract::rejection::StringRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use tokio::sync::oneshot;

use crate::error_body::{error_response, method_not_allowed};
use crate::metrics::Metrics;
use crate::ready::Readiness;
use crate::telemetry::LogLevel;

/// Bytes of the largest request body: a log filter is short.
const MAX_BODY: usize = 4096;

/// One line of the list that answers unknown paths.
#[derive(Clone, Debug, Serialize)]
struct Endpoint {
    method: &'static str,
    path: &'static str,
    does: &'static str,
}

const fn endpoint(method: &'static str, path: &'static str, does: &'static str) -> Endpoint {
    Endpoint { method, path, does }
}

const ENDPOINTS: [Endpoint; 6] = [
    endpoint("GET", "/livez", "200 while the process can answer; asks nothing"),
    endpoint("GET", "/readyz", "200 or 503, and what is missing"),
    endpoint("GET", "/startupz", "200 once the process has been ready, 503 before"),
    endpoint("GET", "/metrics", "Prometheus text format"),
    endpoint("GET", "/log-level", "the log filter in force"),
    endpoint(
        "PUT",
        "/log-level",
        "replaces the log filter; the body is the filter, such as info,roomcast=debug",
    ),
];

/// A bound listener that does not answer yet: connections wait until [`start`](Self::start).
#[must_use = "the listener answers only after start()"]
pub struct Admin {
    state: Shared,
    extra: Router,
    handle: AdminHandle,
    /// Hands the finished router to the thread.
    routes: oneshot::Sender<Router>,
}

#[derive(Clone)]
struct Shared {
    readiness: Readiness,
    metrics: Metrics,
    log: LogLevel,
    endpoints: Vec<Endpoint>,
}

impl Admin {
    /// Binds `addr` (port 0 lets the system choose) and starts the thread; everything that can fail fails here.
    ///
    /// # Errors
    /// When the address is taken or not ours, or no thread or runtime can be had.
    pub fn bind(addr: SocketAddr, readiness: Readiness, metrics: Metrics, log: LogLevel) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (routes, to_serve) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (ready, outcome) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || serve(listener, &ready, to_serve, stopped))?;
        // A closed channel means that the thread died before it could report.
        outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the admin thread ended")))?;
        let handle = AdminHandle { address, stop: Some(stop), thread: Some(thread) };
        let state = Shared { readiness, metrics, log, endpoints: ENDPOINTS.to_vec() };
        Ok(Self { state, extra: Router::new(), handle, routes })
    }

    /// Where it listens, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.handle.address
    }

    /// Adds routes, by convention under `/debug/`. The built-in ones win over equal ones among these; their
    /// handlers run on the admin thread and must not block it.
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.extra = self.extra.merge(routes);
        self
    }

    /// Lists a route added by [`with_routes`](Self::with_routes) in the answer to unknown paths.
    pub fn describe(mut self, method: &'static str, path: &'static str, does: &'static str) -> Self {
        self.state.endpoints.push(endpoint(method, path, does));
        self
    }

    /// Begins to answer, until the handle is stopped or dropped.
    pub fn start(self) -> AdminHandle {
        // If the thread has died it has logged why, and the handle is as good as stopped.
        if self.routes.send(router(self.state, self.extra)).is_err() {
            tracing::error!("the admin thread has ended");
        }
        self.handle
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("address", &self.handle.address).finish_non_exhaustive()
    }
}

/// The running admin listener; dropping it stops it.
#[derive(Debug)]
#[must_use = "dropping the handle stops the listener"]
pub struct AdminHandle {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminHandle {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and its connections at once; when this returns, the port is free.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin thread panicked");
        }
    }
}

/// The thread: reports through `ready` whether it could start, waits for its routes, serves until stopped.
fn serve(
    listener: std::net::TcpListener,
    ready: &mpsc::SyncSender<io::Result<()>>,
    routes: oneshot::Receiver<Router>,
    stopped: oneshot::Receiver<()>,
) {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let _entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok((listener, runtime))
    });
    let (report, started) = match started {
        Ok(started) => (Ok(()), Some(started)),
        Err(error) => (Err(error), None),
    };
    let (Ok(()), Some((listener, runtime))) = (ready.send(report), started) else { return };
    runtime.block_on(async {
        let serving = async {
            // No routes means that `start` was never called and never will be.
            if let Ok(router) = routes.await
                && let Err(error) = axum::serve(listener, router).await
            {
                tracing::error!(%error, "the admin listener failed");
            }
        };
        tokio::select! {
            () = serving => {}
            // Either way the other end of the channel is done with us.
            _ = stopped => {}
        }
    });
    // Does not wait for blocking work that a debug route may have begun.
    runtime.shutdown_background();
}

fn router(state: Shared, extra: Router) -> Router {
    let endpoints = state.endpoints.clone();
    let unknown = move |method: Method, uri: Uri| {
        let message = format!("no such endpoint: {method} {}", uri.path());
        let body = json!({ "code": "not_found", "message": message, "endpoints": endpoints });
        std::future::ready((StatusCode::NOT_FOUND, Json(body)))
    };
    Router::new()
        .route("/livez", get(async || Json(json!({ "live": true }))))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/metrics", get(metrics))
        .route("/log-level", get(log_level).put(set_log_level))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(state)
        // A fallback and not a merge, which panics when two routes are equal.
        .fallback_service(extra.method_not_allowed_fallback(method_not_allowed).fallback(unknown))
}

async fn readyz(State(state): State<Shared>) -> Response {
    let report = state.readiness.report();
    (ok_if(report.ready), Json(report)).into_response()
}

async fn startupz(State(state): State<Shared>) -> Response {
    let started = state.readiness.started();
    (ok_if(started), Json(json!({ "started": started, "missing": state.readiness.report().missing })))
        .into_response()
}

async fn metrics(State(state): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], state.metrics.encode()).into_response()
}

async fn log_level(State(state): State<Shared>) -> Response {
    Json(json!({ "filter": state.log.get() })).into_response()
}

async fn set_log_level(State(state): State<Shared>, body: Result<String, StringRejection>) -> Response {
    let filter = match body {
        Ok(filter) if !filter.trim().is_empty() => filter,
        Ok(_) => {
            return error_response(StatusCode::BAD_REQUEST, "bad_filter", "the body must be a log filter");
        }
        Err(rejection) => return error_response(rejection.status(), "bad_body", &rejection.body_text()),
    };
    let old = state.log.get();
    if let Err(why) = state.log.set(&filter) {
        return error_response(StatusCode::BAD_REQUEST, "bad_filter", &why.to_string());
    }
    tracing::warn!(from = old, to = state.log.get(), "log filter changed");
    log_level(State(state)).await
}

fn ok_if(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
