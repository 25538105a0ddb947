//! Which pages may talk to this gateway. CORS does not protect a WebSocket, so the rule is checked on
//! long-polling and on the upgrade alike. Pure. Called by `requests.rs`.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};

/// The origins that are allowed beside the gateway's own.
#[derive(Debug, Clone)]
pub(crate) struct Origins(Vec<String>);

/// What a request's origin is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// No browser's page, or the gateway's own.
    Own,
    /// Another page, which is allowed and needs to be told so.
    Allowed(HeaderValue),
    /// Another page.
    Refused,
}

impl Origins {
    /// `origins` are `scheme://host[:port]`, or `*` for any.
    pub(crate) fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    pub(crate) fn judge(&self, headers: &HeaderMap) -> Judged {
        let Some(origin) = headers.get(ORIGIN) else { return Judged::Own };
        let Ok(text) = origin.to_str() else { return Judged::Refused };
        // A proxy may have ended TLS, so the scheme is not compared; the host and port are.
        let authority = text.split_once("://").map(|(_, authority)| authority);
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if authority.is_some_and(|authority| host.is_some_and(|host| host.eq_ignore_ascii_case(authority))) {
            return Judged::Own;
        }
        if self.0.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(text)) {
            return Judged::Allowed(origin.clone());
        }
        Judged::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(allowed: &[&str], origin: Option<&str>) -> Judged {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("chat.example:8443"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        Origins::new(allowed.iter().map(|&origin| origin.to_owned()).collect()).judge(&headers)
    }

    #[test]
    fn own_pages_and_programs_pass_and_others_must_be_listed() {
        assert_eq!(judge(&[], None), Judged::Own);
        assert_eq!(judge(&[], Some("https://chat.example:8443")), Judged::Own);
        for other in
            ["https://evil.example", "https://chat.example", "null", "https://chat.example:8443.evil"]
        {
            assert_eq!(judge(&["https://good.example"], Some(other)), Judged::Refused, "{other}");
        }
        let good = "https://good.example";
        assert_eq!(judge(&[good], Some(good)), Judged::Allowed(HeaderValue::from_static(good)));
        assert_eq!(judge(&["*"], Some("null")), Judged::Allowed(HeaderValue::from_static("null")));
    }
}
