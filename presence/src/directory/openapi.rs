//! The OpenAPI document, put together from what stands on the handlers. Served by the directory and
//! written to `docs/` by `bin/openapi.rs`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use utoipa::OpenApi;

use super::{index, nodes, rooms, users};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roomcast directory",
        description = "Who is online where in a Roomcast cluster. Every replica of roomcast-presence answers the \
            same: it reads the cluster's Redis and keeps nothing. Answers other than 200 carry `error.code` for \
            programs and `error.message` for people."
    ),
    paths(index::index, rooms::rooms, rooms::users, users::user, nodes::nodes, openapi),
    tags(
        (name = "directory", description = "Who is online where"),
        (name = "about", description = "What there is"),
    )
)]
struct Document;

/// The document as indented JSON with a newline at its end; the same for every call.
///
/// # Errors
/// When it cannot be written as JSON, which nothing in it makes happen.
pub fn document() -> serde_json::Result<String> {
    let mut text = Document::openapi().to_pretty_json()?;
    text.push('\n');
    Ok(text)
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "about",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object))
)]
pub(super) async fn openapi() -> Response {
    match document() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
