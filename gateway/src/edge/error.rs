//! The one shape of an HTTP error on the public listener and between gateways: `{code, message}`, which Engine.IO
//! clients know. Called by all of the edge.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

/// A refusal. `code` is Engine.IO's number: 0 unknown transport, 1 unknown session, 3 bad request, 4 forbidden,
/// 5 unsupported protocol version.
pub(super) fn refuse(status: StatusCode, code: u8, message: &str) -> Response {
    (status, Json(serde_json::json!({ "code": code, "message": message }))).into_response()
}

/// The session is not known here: stock clients begin another.
pub(super) fn unknown_session() -> Response {
    refuse(StatusCode::BAD_REQUEST, 1, "Session ID unknown")
}
