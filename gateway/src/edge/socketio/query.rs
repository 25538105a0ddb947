//! Addresses of requests and what their queries say. Pure. Called by `requests.rs`, `poll.rs` and `upgrade.rs`.

use std::borrow::Cow;

use axum::extract::Request;
use bytes::Bytes;
use http::Uri;

/// The same address in memory of its own: as it comes, it is a slice of the buffer that the request was
/// read into, and would keep all of that for as long as a session lives.
pub(super) fn detached(uri: &Uri) -> Uri {
    Uri::from_maybe_shared(Bytes::from(uri.to_string())).unwrap_or_default()
}

/// One value of a query.
pub(super) fn query<'a>(request: &'a Request, name: &str) -> Option<Cow<'a, str>> {
    let pairs = form_urlencoded::parse(request.uri().query()?.as_bytes());
    pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))
}

/// The same address with Engine.IO's own session id.
pub(super) fn with_own_sid(uri: &Uri, id: &str) -> Result<Uri, http::uri::InvalidUri> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let pairs = pairs.map(|(key, value)| if key == "sid" { (key, Cow::Borrowed(id)) } else { (key, value) });
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Uri::from_maybe_shared(Bytes::from(format!("{}?{query}", uri.path())))
}
