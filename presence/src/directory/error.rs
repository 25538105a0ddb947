//! The error answers of the directory, all of one shape. Made by the extractors and the handlers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roomcast_protocol::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

/// An answer that is not 200.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// The body of every answer that is not 200; that of `roomcast_ops::error_response`, with a schema.
#[derive(Debug, Serialize, ToSchema)]
#[schema(description = "The body of every answer that is not 200.")]
pub(super) struct ErrorBody {
    /// A word for programs, such as `bad_limit`.
    #[schema(value_type = String, example = "bad_limit")]
    code: &'static str,
    /// A sentence for people.
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// 400: the request must be corrected.
    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 503: the same request may work later.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

/// A name that is not valid: code and message as in the Socket.IO protocol.
impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::bad_request(refusal.code.name(), refusal.message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { status, code, message } = self;
        let mut response = (status, Json(ErrorBody { code, message })).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // Seconds: a lost connection is tried again four times in each.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
