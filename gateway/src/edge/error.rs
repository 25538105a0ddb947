//! The HTTP error body of the public and the peer listener: `{code, message}`, as Engine.IO defines it. Called by the
//! whole edge.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

/// An error response. `code` is Engine.IO's error number: 0 unknown transport, 1 unknown session, 3 bad request, 4
/// forbidden, 5 unsupported protocol version.
pub(super) fn refuse(status: StatusCode, code: u8, message: &str) -> Response {
    (status, Json(serde_json::json!({ "code": code, "message": message }))).into_response()
}

/// The session is unknown to this node; official clients then start a new one.
pub(super) fn unknown_session() -> Response {
    refuse(StatusCode::BAD_REQUEST, 1, "Session ID unknown")
}
