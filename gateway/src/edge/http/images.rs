//! `GET /images/ID`: the image of a message, from whichever gateway the client asks. Whoever knows the id may read it; it is
//! served as what it was checked for, and as nothing that a browser would execute. Called by `mod.rs`; calls `chat/`.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use roomcast_ops::error_response;
use roomcast_store::{ImageFile, ImageId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::chat::{Chat, IMAGES_PATH};

/// Images that are being sent: a client may be slow to read one, and each is up to a mebibyte.
const SENT_AT_ONCE: usize = 64;
/// Bytes that are sent at once.
const CHUNK: usize = 64 * 1024;
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

static SENDING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(SENT_AT_ONCE)));

pub(super) fn routes() -> Router<Chat> {
    Router::new().route(&format!("{IMAGES_PATH}/{{id}}"), get(image))
}

async fn image(State(chat): State<Chat>, id: Result<Path<String>, PathRejection>) -> Response {
    let Some(id) = id.ok().and_then(|Path(id)| ImageId::parse(&id)) else { return not_found() };
    let Ok(permit) = Arc::clone(&SENDING).try_acquire_owned() else {
        return unavailable("too many images are being sent; try again");
    };
    match chat.image(&id).await {
        Ok(Some(image)) => respond(image, permit),
        Ok(None) => not_found(),
        Err(error) => {
            tracing::debug!(%error, "an image could not be read");
            unavailable("the cluster's memory cannot be reached; try again")
        }
    }
}

/// The permit is held until the last byte is on its way.
fn respond(ImageFile { image_type, bytes }: ImageFile, permit: OwnedSemaphorePermit) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(image_type.media_type())),
        (CONTENT_LENGTH, HeaderValue::from(bytes.len())),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
        // An id never means another image. For the reader's browser alone: the id is a secret of the room's members.
        (CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable")),
        // Pages of other origins show it, too.
        (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin")),
    ];
    let chunks =
        stream::unfold((bytes, permit), async |(mut rest, permit): (Bytes, OwnedSemaphorePermit)| {
            let chunk = rest.split_to(CHUNK.min(rest.len()));
            (!chunk.is_empty()).then_some((Ok::<_, Infallible>(chunk), (rest, permit)))
        });
    (headers, Body::from_stream(chunks)).into_response()
}

fn not_found() -> Response {
    let mut response =
        error_response(StatusCode::NOT_FOUND, "not_found", "there is no such image, or no longer");
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn unavailable(message: &str) -> Response {
    let mut response = error_response(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
