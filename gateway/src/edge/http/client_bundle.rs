//! The official JavaScript client, embedded in the binary and served below the path of Socket.IO, where tutorials load it
//! from: `<script src="/socket.io/socket.io.js">`. Called by `mod.rs`; built by `gateway/ui/scripts/build.mjs`.

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

macro_rules! embedded {
    ($file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/ui/dist/socket.io/", $file))
    };
}

macro_rules! file {
    ($file:literal, $type:expr) => {
        (concat!("/socket.io/", $file), $type, embedded!($file))
    };
}

/// The files under the names that the reference server gives them. The one with the msgpack parser is left out: the
/// gateway does not speak msgpack.
const FILES: [(&str, &str, &str); 6] = [
    file!("socket.io.js", JAVASCRIPT),
    file!("socket.io.js.map", JSON),
    file!("socket.io.min.js", JAVASCRIPT),
    file!("socket.io.min.js.map", JSON),
    file!("socket.io.esm.min.js", JAVASCRIPT),
    file!("socket.io.esm.min.js.map", JSON),
];

/// The client's version: the files of one version never change.
const VERSION: &str = embedded!("version");

fn respond(request: &HeaderMap, content_type: &'static str, body: &'static str) -> Response {
    let etag = format!("\"{}\"", VERSION.trim());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        // The name has no version, so browsers revalidate it.
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=0, must-revalidate")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // Pages of other sites may load it, also as a module: it is public.
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin")),
    ];
    let known = request.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    // A proxy that compresses makes the tag weak.
    let mut known = known.flat_map(|tags| tags.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    if known.any(|tag| tag == etag || tag == "*") {
        return (StatusCode::NOT_MODIFIED, headers, [(ETAG, etag)]).into_response();
    }
    (headers, [(ETAG, etag)], body).into_response()
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, content_type, body)| {
        let serve = async move |headers: HeaderMap| respond(&headers, content_type, body);
        router.route(path, get(serve))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_has_the_version_gets_no_body() {
        let with =
            |tags: &'static str| HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(tags))]);
        let whole = respond(&HeaderMap::new(), JAVASCRIPT, "body");
        assert_eq!(whole.status(), StatusCode::OK);
        let etag = whole.headers()[ETAG].clone();
        let known = HeaderMap::from_iter([(IF_NONE_MATCH, etag.clone())]);
        let not_modified = respond(&known, JAVASCRIPT, "body");
        assert_eq!((not_modified.status(), &not_modified.headers()[ETAG]), (StatusCode::NOT_MODIFIED, &etag));
        assert_eq!(respond(&with("*"), JAVASCRIPT, "body").status(), StatusCode::NOT_MODIFIED);
        let weak: HeaderValue = format!("\"1.0.0\", W/{}", etag.to_str().unwrap()).parse().unwrap();
        let weak = HeaderMap::from_iter([(IF_NONE_MATCH, weak)]);
        assert_eq!(respond(&weak, JAVASCRIPT, "body").status(), StatusCode::NOT_MODIFIED);
        assert_eq!(respond(&with("\"1.0.0\""), JAVASCRIPT, "body").status(), StatusCode::OK);
    }
}
