//! URIs of requests and their query parameters. Pure. Called by `requests.rs`, `poll.rs` and `upgrade.rs`.

use std::borrow::Cow;

use axum::extract::Request;
use bytes::Bytes;
use http::Uri;

/// A copy of the URI in its own memory: the original is a slice of the buffer into which the request was read, and
/// would keep that buffer alive as long as the session.
pub(super) fn detached(uri: &Uri) -> Uri {
    Uri::from_maybe_shared(Bytes::from(uri.to_string())).unwrap_or_default()
}

/// The value of a query parameter.
pub(super) fn query<'a>(request: &'a Request, name: &str) -> Option<Cow<'a, str>> {
    let pairs = form_urlencoded::parse(request.uri().query()?.as_bytes());
    pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))
}

/// The URI with the session id replaced by Engine.IO's own id.
pub(super) fn with_sid(uri: &Uri, id: &str) -> Result<Uri, http::uri::InvalidUri> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let pairs = pairs.map(|(key, value)| if key == "sid" { (key, Cow::Borrowed(id)) } else { (key, value) });
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Uri::from_maybe_shared(Bytes::from(format!("{}?{query}", uri.path())))
}
