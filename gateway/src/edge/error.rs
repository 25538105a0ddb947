//! The error body of Engine.IO requests: `{code, message}`, with a number as code, as its clients require. Called by the
//! public and the peer listener; all other errors have `roomcast_ops::error_response`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

/// An error response.
#[derive(Debug, Clone, Copy)]
pub(super) struct HttpError {
    status: StatusCode,
    code: u8,
    message: &'static str,
}

impl HttpError {
    /// The session is unknown to this node; official clients then start a new one.
    pub(super) const UNKNOWN_SESSION: Self = Self::bad(1, "Session ID unknown");
    /// The request does not fit its session, or the protocol.
    pub(super) const BAD_REQUEST: Self = Self::bad(3, "Bad request");

    /// `code` is Engine.IO's error number: 0 unknown transport, 1 unknown session, 2 a session is not opened by this
    /// method, 3 bad request, 4 forbidden, 5 unsupported protocol version.
    pub(super) const fn new(status: StatusCode, code: u8, message: &'static str) -> Self {
        Self { status, code, message }
    }

    /// An error of the request.
    pub(super) const fn bad(code: u8, message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let Self { status, code, message } = self;
        (status, Json(serde_json::json!({ "code": code, "message": message }))).into_response()
    }
}
