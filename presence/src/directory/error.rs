//! Refusals of the directory, all of one shape. Made by the extractors and the handlers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roomcast_protocol::Refusal;
use roomcast_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use super::Directory;

/// Why there is no other answer.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// The body of every answer that is not 200.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// What went wrong.
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorDetail {
    /// A word for programs, such as `bad_limit`.
    #[schema(value_type = String, example = "bad_limit")]
    code: &'static str,
    /// A sentence for people.
    message: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// 400: the request must be mended.
    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 503: the same request may work later.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl Directory {
    /// What a failure of the store means to a client.
    pub(super) fn refused(&self, error: &StoreError) -> Refused {
        match error {
            // Reading may be repeated, so it does not matter whether the command arrived.
            StoreError::Unavailable(_) | StoreError::Unknown(_) => {
                Refused::unavailable("the cluster's memory cannot be reached; try again")
            }
            _ => {
                self.telemetry.store_broken(error);
                Refused::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "something is wrong here; see the log",
                )
            }
        }
    }
}

/// A name that is none: the code and the words of the wire.
impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::bad(refusal.code.name(), refusal.message)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self { status, code, message } = self;
        let mut response = (status, Json(ErrorBody { error: ErrorDetail { code, message } })).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // Seconds: a lost connection is tried again four times in each.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
