//! The directory over HTTP: the routes and their middleware. Made by `app.rs`, served by
//! `listener.rs`; the handlers read the store and keep nothing.

mod cursor;
mod error;
mod extract;
mod index;
mod nodes;
mod openapi;
mod rooms;
mod state;
mod users;

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use roomcast_ops::trace::{self, Kind};
use roomcast_store::Store;

use crate::telemetry::Telemetry;
use error::ApiError;
use state::Directory;

pub use openapi::document;

/// How long a request may take. Every command of the store has a deadline, but a request may need several.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The routes. Every answer is JSON, errors included.
pub(crate) fn router(store: Store, telemetry: Telemetry) -> Router {
    Router::new()
        .route("/", get(index::index))
        .route("/openapi.json", get(openapi::openapi))
        .route("/rooms", get(rooms::rooms))
        .route("/rooms/{room}/users", get(rooms::users))
        .route("/users/{user}", get(users::user))
        .route("/nodes", get(nodes::nodes))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(telemetry.clone(), instrument))
        .with_state(Directory { store, telemetry })
}

/// Bounds the time of a request, counts it, and keeps browsers from guessing content types and from caching.
async fn instrument(State(telemetry): State<Telemetry>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let answering = async {
        let response = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request))
            .await
            .unwrap_or_else(|_| ApiError::unavailable("Redis is too slow; try again").into_response());
        let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
        let status = response.status().as_u16();
        trace::note("http.route", || route.to_owned());
        trace::note("http.response.status_code", || i64::from(status));
        telemetry.answered(route, status, begin.elapsed());
        response
    };
    let mut response = trace::request("directory", Kind::Server, answering).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {}; see /", uri.path()))
}

async fn method_not_allowed(method: Method) -> ApiError {
    let message = format!("the directory is read with GET, not {method}");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
