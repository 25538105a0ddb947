//! The cookie by which the pages that gateways serve for the classic chats are the same person after a reload, in every
//! tab, and on every gateway. It holds 128 random bits and nothing else: they are the secret with which a name is claimed,
//! and are neither logged nor stored, except as its hash.
//!
//! The cookie belongs to the path of Socket.IO, so that a page is requested without it. Such a page therefore loads an
//! empty script of that path before it connects ([`serve_script`]): the answer gives the browser the cookie, unless it has
//! one. It is read from the first request of a session that carries an `Origin` (`requests.rs`), which is the handshake of
//! a WebSocket, or the POST with the connect packet of long-polling.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};
use roomcast_store::Secret;

use super::context::RequestContext;

/// The path of the script that gives the cookie.
pub(crate) const SCRIPT: &str = "/socket.io/visitor.js";

const NAME: &str = "roomcast";
/// Hexadecimal digits of the value.
const DIGITS: usize = 32;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const BODY: &str = "// Loaded for its answer, which gives this browser a cookie: see docs/CLASSIC.md.\n";

/// The cookies of a request that have our name.
enum Sent<'a> {
    None,
    One(&'a str),
    /// Another site of the same domain may have set one of them: neither is believed.
    Several,
}

fn sent(headers: &HeaderMap) -> Sent<'_> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == NAME).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) if is_ours(value) => Sent::One(value),
        (_, Some(_)) => Sent::Several,
        (_, None) => Sent::None,
    }
}

fn is_ours(value: &str) -> bool {
    value.len() == DIGITS && value.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// The secret in the cookie of a request, of which [`restrict`] has left no other.
pub(super) fn secret(headers: &HeaderMap) -> Option<Secret> {
    match sent(headers) {
        Sent::One(value) => Some(Secret::proved(value)),
        Sent::None | Sent::Several => None,
    }
}

/// Leaves no cookie in a request but this one, and not even that unless it may be read.
pub(super) fn restrict(headers: &mut HeaderMap, may_be_read: bool) {
    if !headers.contains_key(COOKIE) {
        return;
    }
    let kept = match sent(headers) {
        Sent::One(value) if may_be_read => HeaderValue::try_from(format!("{NAME}={value}")).ok(),
        _ => None,
    };
    headers.remove(COOKIE);
    if let Some(mut kept) = kept {
        kept.set_sensitive(true);
        headers.insert(COOKIE, kept);
    }
}

/// Serves the empty script; to a page of the gateway's own without a cookie, it gives one.
pub(crate) async fn serve_script(State(requests): State<Arc<RequestContext>>, request: Request) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        // What a cache gave to another browser would make both the same person.
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    ];
    let mut response = (headers, BODY).into_response();
    if matches!(sent(request.headers()), Sent::None) && requests.origins.gives_cookie(&request) {
        let secure = requests.origins.hosts().addressed(&request).is_secure();
        if let Ok(mut cookie) = HeaderValue::try_from(new_cookie(secure)) {
            cookie.set_sensitive(true);
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
    }
    response
}

fn new_cookie(secure: bool) -> String {
    let value = rand::random::<u128>();
    let secure = if secure { "; Secure" } else { "" };
    format!("{NAME}={value:0DIGITS$x}; Path=/socket.io/; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "0123456789abcdef0123456789abcdef";

    fn headers(cookies: &[&str]) -> HeaderMap {
        cookies.iter().map(|cookie| (COOKIE, HeaderValue::try_from(*cookie).unwrap())).collect()
    }

    #[test]
    fn a_new_cookie_has_128_random_bits_and_all_attributes() {
        let (cookie, other) = (new_cookie(false), new_cookie(false));
        assert_ne!(cookie, other);
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/socket.io/; HttpOnly; SameSite=Strict");
        assert!(is_ours(pair.strip_prefix("roomcast=").unwrap()), "{cookie}");
        assert!(secret(&headers(&[pair])).is_some());
        assert!(new_cookie(true).ends_with("; SameSite=Strict; Secure"));
    }

    #[test]
    fn only_one_well_formed_value_is_believed() {
        let ours = format!("roomcast={VALUE}");
        for sent in [
            &[ours.as_str()][..],
            &[&format!("a=b; {ours};c=d")],
            &["a=b", &ours],
            &["roomcastx=1; xroomcast=2", &ours],
        ] {
            assert!(secret(&headers(sent)) == Some(Secret::proved(VALUE)), "{sent:?}");
        }
        let other = format!("roomcast={}", VALUE.replace('0', "1"));
        for sent in [
            &[][..],
            &["roomcast"],
            &["roomcast="],
            &["roomcast=0123"],
            &[&ours.to_uppercase()],
            &[&format!("roomcast={}", VALUE.to_uppercase())],
            &[&format!("{ours}0")],
            &[&ours, &other],
            &[&format!("{ours}; {other}")],
            &[&ours, &ours],
        ] {
            assert!(secret(&headers(sent)).is_none(), "{sent:?}");
        }
    }

    #[test]
    fn no_other_cookie_is_left_and_none_that_may_not_be_read() {
        let restricted = |sent: &[&str], may_be_read| {
            let mut headers = headers(sent);
            restrict(&mut headers, may_be_read);
            headers.get(COOKIE).map(|cookie| cookie.to_str().unwrap().to_owned())
        };
        let ours = format!("roomcast={VALUE}");
        let mixed = format!("session=secret; {ours}");
        assert_eq!(restricted(&[&mixed, "more=1"], true).as_deref(), Some(ours.as_str()));
        for (sent, may_be_read) in [(&[mixed.as_str()][..], false), (&["session=secret"], true), (&[], true)]
        {
            assert_eq!(restricted(sent, may_be_read), None, "{sent:?}");
        }
    }
}
