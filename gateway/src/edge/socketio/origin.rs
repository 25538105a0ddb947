//! The origin check. CORS does not protect WebSockets, so it applies to long-polling and to upgrades alike. Pure.
//! Called by `requests.rs`.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};

/// The origins that are allowed besides the gateway's own.
#[derive(Debug, Clone)]
pub(crate) struct Origins(Vec<String>);

/// The result of checking a request's origin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OriginCheck {
    /// No `Origin` header (not a browser), or the gateway's own origin.
    SameOrigin,
    /// Another origin that is allowed; the response needs CORS headers.
    Allowed(HeaderValue),
    /// Another origin that is not allowed.
    Denied,
}

impl Origins {
    /// `origins` are `scheme://host[:port]`, or `*` for any.
    pub(crate) fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    pub(crate) fn check(&self, headers: &HeaderMap) -> OriginCheck {
        let Some(origin) = headers.get(ORIGIN) else { return OriginCheck::SameOrigin };
        let Ok(text) = origin.to_str() else { return OriginCheck::Denied };
        // A proxy may have terminated TLS, so only host and port are compared, not the scheme.
        let authority = text.split_once("://").map(|(_, authority)| authority);
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if authority.is_some_and(|authority| host.is_some_and(|host| host.eq_ignore_ascii_case(authority))) {
            return OriginCheck::SameOrigin;
        }
        if self.0.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(text)) {
            return OriginCheck::Allowed(origin.clone());
        }
        OriginCheck::Denied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &[&str], origin: Option<&str>) -> OriginCheck {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("chat.example:8443"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        Origins::new(allowed.iter().map(|&origin| origin.to_owned()).collect()).check(&headers)
    }

    #[test]
    fn same_origin_and_no_origin_pass_and_others_must_be_listed() {
        assert_eq!(check(&[], None), OriginCheck::SameOrigin);
        assert_eq!(check(&[], Some("https://chat.example:8443")), OriginCheck::SameOrigin);
        for other in
            ["https://evil.example", "https://chat.example", "null", "https://chat.example:8443.evil"]
        {
            assert_eq!(check(&["https://good.example"], Some(other)), OriginCheck::Denied, "{other}");
        }
        let good = "https://good.example";
        assert_eq!(check(&[good], Some(good)), OriginCheck::Allowed(HeaderValue::from_static(good)));
        assert_eq!(check(&["*"], Some("null")), OriginCheck::Allowed(HeaderValue::from_static("null")));
    }
}
