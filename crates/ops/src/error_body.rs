//! The body of every HTTP answer of ours that is an error: `{code, message}`. Called by `admin`, and by what binaries add
//! to it. Answers to Engine.IO requests have the same fields, with a number as code: its clients require that.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

/// An error: `code` is a word for programs, such as `not_found`, `message` a sentence for people.
pub fn error_response(status: StatusCode, code: &'static str, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}

/// The answer to a request whose path exists, but not with its method.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let message = format!("{} does not take {method}", uri.path());
    error_response(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
}
