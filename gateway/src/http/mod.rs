//! The public listener's routes: the web UI, and Socket.IO with its rules on origins. Called by
//! `app.rs`; hands WebSockets to `upgrade.rs` and long-polling to `poll.rs`.

mod assets;
mod origin;
mod poll;
pub(crate) mod server;
mod upgrade;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode, Uri};
use roomcast_ops::Lifecycle;
use socketioxide::service::SocketIoService;

use crate::conn::{Bounds, Sessions};
use crate::http::origin::Judged;
use crate::telemetry::Events;
pub(crate) use origin::Origins;

/// socketioxide, for long-polling and for connections handed to it. What it does not know is 404.
pub(crate) type SocketIoHttp = SocketIoService<Router>;

/// What the routes share.
pub(crate) struct Web {
    pub(crate) socket_io: SocketIoHttp,
    pub(crate) origins: Origins,
    pub(crate) sessions: Sessions,
    /// How much a slow reader may cost.
    pub(crate) bounds: Bounds,
    pub(crate) events: Events,
    pub(crate) lifecycle: Lifecycle,
}

/// The public routes.
pub(crate) fn routes(web: Web) -> Router {
    Router::new()
        .route("/socket.io/", any(socket_io))
        .with_state(Arc::new(web))
        .merge(assets::routes())
        .fallback(async || refuse(StatusCode::NOT_FOUND, 0, "there is nothing here"))
}

/// An error in the shape that Engine.IO clients know: `{code, message}`.
fn refuse(status: StatusCode, code: u8, message: &str) -> Response {
    (status, Json(serde_json::json!({ "code": code, "message": message }))).into_response()
}

/// The same address in memory of its own: as it comes, it is a slice of the buffer that the request was
/// read into, and would keep all of that for as long as a session lives.
fn detached(uri: &Uri) -> Uri {
    Uri::from_maybe_shared(Bytes::from(uri.to_string())).unwrap_or_default()
}

/// One value of a query.
fn query<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find_map(|(key, value)| (key == name).then_some(value))
}

async fn socket_io(State(web): State<Arc<Web>>, request: Request) -> Response {
    let origin = match web.origins.judge(request.headers()) {
        Judged::Refused => return refuse(StatusCode::FORBIDDEN, 4, "this origin is not allowed"),
        Judged::Own => None,
        Judged::Allowed(origin) => Some(origin),
    };
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else if query(&request, "transport") == Some("websocket") {
        upgrade::upgrade(&web, request)
    } else {
        poll::poll(&web, request).await
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    response
}
