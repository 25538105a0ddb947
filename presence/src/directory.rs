//! The directory over HTTP: routes, and what stands around every answer. Made by `app.rs`, served by
//! `listener.rs`; the handlers read the store and keep nothing.

mod cursor;
mod error;
mod extract;
mod index;
mod nodes;
mod openapi;
mod rooms;
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
use error::Refused;

pub use openapi::document;

/// After this an answer that is not there yet is not awaited: every command of the store has a deadline,
/// but a request may take several.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What handlers share.
#[derive(Clone)]
struct Directory {
    store: Store,
    telemetry: Telemetry,
}

/// The routes. Every answer is JSON, mistakes included.
pub(crate) fn router(store: Store, telemetry: Telemetry) -> Router {
    Router::new()
        .route("/", get(index::index))
        .route("/openapi.json", get(openapi::openapi))
        .route("/rooms", get(rooms::rooms))
        .route("/rooms/{room}/users", get(rooms::users))
        .route("/users/{user}", get(users::user))
        .route("/nodes", get(nodes::nodes))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(telemetry.clone(), around))
        .with_state(Directory { store, telemetry })
}

/// Bounds the time of a request, counts it, and says to browsers that an answer is what it says it is.
async fn around(State(telemetry): State<Telemetry>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let answering = async {
        let response = tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await.unwrap_or_else(|_| {
            Refused::unavailable("the cluster's memory is too slow; try again").into_response()
        });
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

async fn unknown(uri: Uri) -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {}; see /", uri.path()))
}

async fn wrong_method(method: Method) -> Refused {
    let message = format!("the directory is read with GET, not {method}");
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
