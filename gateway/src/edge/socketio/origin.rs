//! Which pages may connect: the check of `Origin`, and the CORS headers of the answers. CORS does not protect
//! WebSockets, so the check applies to long-polling and to upgrades alike. Called by `requests.rs`, and by
//! `edge/http/threads.rs`.

use std::fmt;
use std::net::IpAddr;

use axum::extract::Request;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::edge::hosts::{Addressed, Hosts, shown, split_port};
use crate::telemetry::{Telemetry, TransportKind};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Settings of the check.
#[derive(Debug, Clone, Default)]
pub(crate) struct OriginSettings {
    /// Origins that are allowed besides the gateway's own: `scheme://host[:port]`, or `*` for any.
    pub(crate) allowed: Vec<String>,
    /// Headers that pages of those origins may send besides `authorization` and `content-type`.
    pub(crate) headers: Vec<HeaderName>,
}

/// The check.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    allowed: Vec<String>,
    hosts: Hosts,
    /// The value of `Access-Control-Allow-Headers`.
    allow_headers: HeaderValue,
}

/// What the answer to an accepted request says about the page's origin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cors {
    /// Nothing: there is no `Origin` (no browser), or it is the gateway's own.
    SameOrigin,
    /// This origin is allowed by its name, with credentials.
    Named { origin: HeaderValue, headers: HeaderValue },
    /// Any origin is allowed, without credentials: with them, any page could act for its visitors.
    Any { headers: HeaderValue },
}

/// A request whose origin is not allowed, as the log shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RefusedOrigin {
    origin: String,
    host: String,
    forwarded: Option<ForwardedHost>,
}

/// The host that a proxy names in `X-Forwarded-Host`.
#[derive(Debug, PartialEq, Eq)]
struct ForwardedHost {
    host: String,
    proxy: Option<IpAddr>,
    trusted: bool,
}

impl Origins {
    pub(crate) fn new(settings: OriginSettings, hosts: Hosts) -> Self {
        let OriginSettings { allowed, headers } = settings;
        let names = [AUTHORIZATION, CONTENT_TYPE].into_iter().chain(headers);
        let names: Vec<_> = names.map(|name| name.as_str().to_owned()).collect();
        // Names of headers are always a valid value.
        let allow_headers = HeaderValue::try_from(names.join(", "))
            .unwrap_or(HeaderValue::from_static("authorization, content-type"));
        Self { allowed, hosts, allow_headers }
    }

    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Checks a request.
    ///
    /// # Errors
    /// Its origin is not allowed.
    pub(crate) fn check(&self, request: &Request) -> Result<Cors, RefusedOrigin> {
        let headers = request.headers();
        let Some(origin) = headers.get(ORIGIN) else { return Ok(Cors::SameOrigin) };
        let addressed = self.hosts.addressed(request);
        let text = origin.to_str().unwrap_or_default();
        if self.is_own(text, &addressed, PortLeftOut::Any) {
            return Ok(Cors::SameOrigin);
        }
        let headers_allowed = self.allow_headers.clone();
        if self.is_listed(text) {
            return Ok(Cors::Named { origin: origin.clone(), headers: headers_allowed });
        }
        if self.allowed.iter().any(|allowed| allowed == "*") {
            return Ok(Cors::Any { headers: headers_allowed });
        }
        let forwarded = addressed.forwarded_host().map(|host| ForwardedHost {
            host: host.to_owned(),
            proxy: addressed.client,
            trusted: addressed.from_trusted_proxy,
        });
        let host = headers.get(HOST).map(shown).unwrap_or_default();
        Err(RefusedOrigin { origin: shown(origin), host, forwarded })
    }

    /// Whether the cookie of a request may be read: only where the browser says which page it acts for, and that is the
    /// gateway's own, port included, or listed by its name. A page that is allowed by `*` acts for nobody.
    pub(super) fn reads_cookie(&self, request: &Request) -> bool {
        let addressed = self.hosts.addressed(request);
        let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let is_known = origin.is_some_and(|origin| {
            self.is_own(origin, &addressed, PortLeftOut::Default) || self.is_listed(origin)
        });
        is_known && addressed.host().is_some_and(|host| self.hosts.has_cookies(host))
    }

    /// Whether a browser may be given a cookie by the answer to a request: only for a page of the gateway's own. Most
    /// browsers say so themselves; they send no `Origin` with the request of a page's own script.
    pub(super) fn gives_cookie(&self, request: &Request) -> bool {
        let addressed = self.hosts.addressed(request);
        let headers = request.headers();
        let is_own = |origin: &HeaderValue| {
            origin.to_str().is_ok_and(|origin| self.is_own(origin, &addressed, PortLeftOut::Default))
        };
        headers.get(ORIGIN).is_none_or(is_own)
            && headers.get(SEC_FETCH_SITE).is_none_or(|site| site == "same-origin")
            && addressed.host().is_some_and(|host| self.hosts.has_cookies(host))
    }

    fn is_listed(&self, origin: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// Whether an origin is the gateway's own, as the request addresses it.
    fn is_own(&self, origin: &str, addressed: &Addressed<'_>, left_out: PortLeftOut) -> bool {
        let (default_port, origin) = match origin.split_once("://") {
            Some(("http", authority)) => ("80", authority),
            Some(("https", authority)) => ("443", authority),
            _ => return false,
        };
        let (host, port) = split_port(origin);
        let port = port.unwrap_or(default_port);
        let is_same = |(name, its_port): (&str, Option<&str>)| {
            let same_port = match (its_port, left_out) {
                // A trusted proxy may pass the name alone, such as nginx with `Host $host`.
                (None, PortLeftOut::Any) if addressed.from_trusted_proxy => true,
                (its_port, _) => port == its_port.unwrap_or(default_port),
            };
            !name.is_empty() && name.eq_ignore_ascii_case(host) && same_port
        };
        // The scheme is not compared otherwise: what the gateway receives is http, and a proxy may have terminated TLS.
        if addressed.is_secure() && default_port != "443" || !self.hosts.is_served(host) {
            return false;
        }
        let forwarded = addressed.forwarded_host().filter(|_| addressed.from_trusted_proxy);
        forwarded.is_some_and(|host| is_same(split_port(host)))
            || addressed.received_host().is_some_and(|host| is_same(split_port(host)))
    }
}

/// Which port a host without one may stand for.
#[derive(Debug, Clone, Copy)]
enum PortLeftOut {
    /// That of the scheme.
    Default,
    /// Any, where a trusted proxy says so.
    Any,
}

impl Cors {
    /// Adds the headers to an answer.
    pub(crate) fn add_to(self, answer: &mut HeaderMap) {
        let headers = match self {
            Self::SameOrigin => return,
            Self::Named { origin, headers } => {
                answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                answer.insert(VARY, HeaderValue::from_static("Origin"));
                headers
            }
            Self::Any { headers } => {
                answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                headers
            }
        };
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }
}

impl RefusedOrigin {
    /// Counts the refusal and logs it.
    pub(crate) fn report(&self, telemetry: &Telemetry, is_websocket: bool) {
        let transport = if is_websocket { TransportKind::WebSocket } else { TransportKind::Polling };
        telemetry.connections.origin_refused(transport, &self.origin, &self.host, self.forwarded.as_ref());
    }
}

impl fmt::Display for ForwardedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trust = if self.trusted { "trusted" } else { "not trusted" };
        match self.proxy {
            Some(proxy) => write!(f, "{:?} by {proxy}, {trust}", self.host),
            None => write!(f, "{:?}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use roomcast_ops::config::parse_network;

    use super::*;

    fn origins(allowed: &[&str], trusted: &[&str]) -> Origins {
        let settings = OriginSettings {
            allowed: allowed.iter().map(|&origin| origin.to_owned()).collect(),
            headers: vec![HeaderName::from_static("x-request-id")],
        };
        let trusted_proxies = trusted.iter().map(|network| parse_network(network).unwrap()).collect();
        Origins::new(settings, Hosts { trusted_proxies, ..Hosts::default() })
    }

    /// A request of 10.0.0.7.
    fn request(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(Body::empty());
        for &(name, value) in headers {
            request.headers_mut().append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 7], 1))));
        request
    }

    fn is_own(trusted: &[&str], headers: &[(&str, &str)]) -> bool {
        origins(&[], trusted).check(&request(headers)) == Ok(Cors::SameOrigin)
    }

    #[test]
    fn the_own_origin_may_have_the_default_port_or_not() {
        for (host, origin, own) in [
            ("chat.example:8443", "https://chat.example:8443", true),
            ("chat.example", "https://chat.example", true),
            ("Chat.Example", "http://chat.example", true),
            ("chat.example:443", "https://chat.example", true),
            ("chat.example:80", "http://chat.example", true),
            ("chat.example", "https://chat.example:443", true),
            ("[::1]:3000", "http://[::1]:3000", true),
            ("[::1]", "http://[::1]:80", true),
            ("chat.example:80", "https://chat.example", false),
            ("chat.example:443", "http://chat.example", false),
            ("chat.example:8443", "https://chat.example", false),
            ("chat.example", "https://chat.example:8443", false),
            ("chat.example:8443", "https://chat.example:8443.evil", false),
            ("chat.example", "https://evil.example", false),
            ("chat.example", "chat.example", false),
            ("chat.example", "null", false),
            ("", "https://", false),
            ("localhost", "capacitor://localhost", false),
        ] {
            assert_eq!(is_own(&[], &[("host", host), ("origin", origin)]), own, "{origin} at {host}");
        }
        assert!(is_own(&[], &[("host", "chat.example")]), "no origin");
        assert!(!is_own(&[], &[("origin", "https://chat.example")]), "no host");
    }

    #[test]
    fn only_a_trusted_proxy_says_how_the_page_addresses_the_gateway() {
        let port_left_out = [("host", "chat.example"), ("origin", "https://chat.example:8443")];
        let forwarded = [
            ("host", "upstream:3000"),
            ("x-forwarded-host", "chat.example:8443, inner.example"),
            ("origin", "https://chat.example:8443"),
        ];
        for headers in [&port_left_out[..], &forwarded] {
            assert!(is_own(&["10.0.0.0/8"], headers), "{headers:?}");
            assert!(is_own(&["::1", "10.0.0.7"], headers), "{headers:?}");
            assert!(!is_own(&["10.0.0.8"], headers), "{headers:?}");
            assert!(!is_own(&[], headers), "{headers:?}");
        }
        let other = [("host", "chat.example"), ("origin", "https://evil.example:8443")];
        assert!(!is_own(&["10.0.0.0/8"], &other));
        let mut direct = request(&port_left_out);
        direct.extensions_mut().clear();
        assert!(origins(&[], &["0.0.0.0/0"]).check(&direct).is_err(), "a client without an address");
    }

    #[test]
    fn a_plain_page_is_another_origin_than_one_behind_tls() {
        for (scheme, origin, own) in [
            ("https", "https://chat.example", true),
            ("https", "http://chat.example", false),
            ("wss", "http://chat.example", false),
            // A second proxy behind the one that terminates TLS may say http.
            ("http", "https://chat.example", true),
            ("http", "http://chat.example", true),
        ] {
            let headers = [("host", "chat.example"), ("x-forwarded-proto", scheme), ("origin", origin)];
            assert_eq!(is_own(&["10.0.0.7"], &headers), own, "{origin} by {scheme}");
        }
    }

    #[test]
    fn a_listed_origin_is_allowed_with_credentials_and_any_other_without() {
        let answer = |allowed: &[&str], origin: &str| {
            let headers = [("host", "chat.example"), ("origin", origin)];
            let mut answer = HeaderMap::new();
            origins(allowed, &[]).check(&request(&headers)).unwrap().add_to(&mut answer);
            answer
        };
        let named = answer(&["*", "https://good.example"], "https://good.example");
        assert_eq!(named[ACCESS_CONTROL_ALLOW_ORIGIN], "https://good.example");
        assert_eq!(named[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(named[ACCESS_CONTROL_ALLOW_HEADERS], "authorization, content-type, x-request-id");
        assert_eq!(named[VARY], "Origin");
        let any = answer(&["*"], "null");
        assert_eq!(any[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(any[ACCESS_CONTROL_ALLOW_HEADERS], "authorization, content-type, x-request-id");
        assert!(!any.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
        assert!(answer(&["*"], "https://chat.example").is_empty(), "the own origin");
    }

    #[test]
    fn a_refusal_says_what_was_seen() {
        let headers = [
            ("host", "upstream:3000"),
            ("x-forwarded-host", "chat.example"),
            ("origin", "https://chat.example"),
        ];
        let refused = origins(&["https://good.example"], &[]).check(&request(&headers)).unwrap_err();
        assert_eq!((&*refused.origin, &*refused.host), ("https://chat.example", "upstream:3000"));
        let forwarded = refused.forwarded.unwrap().to_string();
        assert_eq!(forwarded, "\"chat.example\" by 10.0.0.7, not trusted");
    }
    #[test]
    fn a_cookie_is_read_for_known_pages_only() {
        let reads = |allowed: &[&str], headers: &[(&str, &str)]| {
            origins(allowed, &["10.0.0.7"]).reads_cookie(&request(headers))
        };
        let at = |origin| [("host", "127.0.0.1:3000"), ("origin", origin)];
        assert!(reads(&[], &at("http://127.0.0.1:3000")));
        assert!(!reads(&[], &[("host", "127.0.0.1:3000")]), "no origin: any page may have caused it");
        assert!(!reads(&[], &at("http://127.0.0.1:3001")), "another port");
        assert!(reads(&["*"], &at("http://127.0.0.1:3000")), "the own page, whatever else is allowed");
        assert!(!reads(&["*"], &at("https://good.example")));
        assert!(reads(&["*", "https://good.example"], &at("https://good.example")));
        let named = [("host", "chat.example"), ("origin", "http://chat.example")];
        assert!(!reads(&[], &named), "a name that anybody may have");
        let port_left_out = [("host", "127.0.0.1"), ("origin", "https://127.0.0.1:8443")];
        assert!(is_own(&["10.0.0.7"], &port_left_out) && !reads(&[], &port_left_out));
    }

    #[test]
    fn a_cookie_is_given_to_own_pages_only() {
        let gives = |headers: &[(&str, &str)]| {
            let host = [("host", "localhost:3000")];
            origins(&["*", "https://good.example"], &[])
                .gives_cookie(&request(&[&host[..], headers].concat()))
        };
        assert!(gives(&[]) && gives(&[("sec-fetch-site", "same-origin")]));
        assert!(gives(&[("origin", "http://localhost:3000")]));
        for site in ["same-site", "cross-site", "none"] {
            assert!(!gives(&[("sec-fetch-site", site)]), "{site}");
        }
        for origin in ["https://good.example", "http://localhost:3001", "null"] {
            assert!(!gives(&[("origin", origin)]), "{origin}");
        }
    }
}
