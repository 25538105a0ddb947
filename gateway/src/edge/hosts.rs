//! How clients address the gateway: by which host, and whether over TLS; and which hosts are served (`--public-host`).
//! Cookies are given and read on known hosts only, because any name may be resolved to this gateway's address. Pure. Called
//! by `edge/mod.rs` for every request of the public listener, and by `socketio/`.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use roomcast_ops::config::Network;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Settings of the hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    /// The hosts that are served, without ports; all if there are none.
    pub(crate) public: Vec<String>,
    /// Proxies whose `X-Forwarded-Host` and `X-Forwarded-Proto` are believed.
    pub(crate) trusted_proxies: Vec<Network>,
}

/// How one request addresses the gateway.
pub(crate) struct Addressed<'a> {
    headers: &'a HeaderMap,
    /// The address from which the request came; none for one that was not accepted by a listener.
    pub(crate) client: Option<IpAddr>,
    pub(crate) from_trusted_proxy: bool,
}

impl Hosts {
    pub(crate) fn addressed<'a>(&self, request: &'a Request) -> Addressed<'a> {
        let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let is_trusted = |client| self.trusted_proxies.iter().any(|network| network.contains(client));
        Addressed { headers: request.headers(), client, from_trusted_proxy: client.is_some_and(is_trusted) }
    }

    /// Whether a request is for a host that is served.
    pub(crate) fn serves(&self, request: &Request) -> bool {
        self.public.is_empty() || self.addressed(request).host().is_some_and(|host| self.is_public(host))
    }

    /// Whether a host (with or without a port) is served.
    pub(crate) fn is_served(&self, host: &str) -> bool {
        self.public.is_empty() || self.is_public(host)
    }

    /// Whether a browser may be given a cookie for a host, and whether one that it sends is read.
    pub(crate) fn has_cookies(&self, host: &str) -> bool {
        if self.public.is_empty() { is_local(split_port(host).0) } else { self.is_public(host) }
    }

    fn is_public(&self, host: &str) -> bool {
        let name = without_dot(split_port(host).0);
        self.public.iter().any(|public| public.eq_ignore_ascii_case(name))
    }
}

/// Whether a host can have no other address than the one that it says.
fn is_local(name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok() || without_dot(name).eq_ignore_ascii_case("localhost")
}

/// `chat.example.` is `chat.example`.
fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

impl<'a> Addressed<'a> {
    /// The `Host` of the request; none if there are several.
    pub(crate) fn received_host(&self) -> Option<&'a str> {
        let mut hosts = self.headers.get_all(HOST).iter();
        let (first, second) = (hosts.next()?, hosts.next());
        first.to_str().ok().filter(|_| second.is_none())
    }

    /// The host that a proxy names, whether it is trusted or not.
    pub(crate) fn forwarded_host(&self) -> Option<&'a str> {
        first(self.headers, &X_FORWARDED_HOST)
    }

    /// The host that the client asked for: of the request, or of the request to a trusted proxy.
    pub(crate) fn host(&self) -> Option<&'a str> {
        self.forwarded_host().filter(|_| self.from_trusted_proxy).or_else(|| self.received_host())
    }

    /// Whether a trusted proxy says that the client's connection is encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        // Traefik calls the scheme of a WebSocket wss.
        let secure = |scheme: &str| ["https", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        self.from_trusted_proxy && first(self.headers, &X_FORWARDED_PROTO).is_some_and(secure)
    }
}

/// The first value of a header that each proxy on the way may have appended to: what the outermost one received.
fn first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim)
}

/// Splits `host[:port]`. In `[::1]:3000` only a colon after the bracket separates the port.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// A header's value as the log shows it.
pub(crate) fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Parses the name of a host, or an IP address: neither a scheme nor a port.
pub(crate) fn parse_public_host(text: &str) -> Result<String, &'static str> {
    let text = text.trim().to_ascii_lowercase();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
    if let Ok(ip) = bare.parse::<std::net::Ipv6Addr>() {
        return Ok(format!("[{ip}]"));
    }
    let name = without_dot(&text);
    let is_name = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err("must be the name of a host without a port, such as chat.example.org");
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use roomcast_ops::config::parse_network;

    use super::*;

    fn hosts(public: &[&str]) -> Hosts {
        let public = public.iter().map(|host| parse_public_host(host).unwrap()).collect();
        Hosts { public, trusted_proxies: vec![parse_network("10.0.0.0/8").unwrap()] }
    }

    #[test]
    fn only_public_hosts_are_served_and_have_cookies() {
        let named = hosts(&["Chat.Example.", "10.1.2.3", "::1"]);
        for host in ["chat.example", "CHAT.example.:8443", "chat.example:80", "10.1.2.3:3000", "[::1]:3000"] {
            assert!(named.is_served(host) && named.has_cookies(host), "{host}");
        }
        for host in ["localhost", "127.0.0.1:3000", "evil.example", "chat.example.evil", "xchat.example", ""]
        {
            assert!(!named.is_served(host) && !named.has_cookies(host), "{host}");
        }
    }

    #[test]
    fn without_public_hosts_all_are_served_and_only_local_ones_have_cookies() {
        let any = hosts(&[]);
        for host in
            ["localhost", "LocalHost:3000", "127.0.0.1:3000", "192.168.7.7", "[fd00::1]:3000", "[::1]"]
        {
            assert!(any.is_served(host) && any.has_cookies(host), "{host}");
        }
        for host in ["chat.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil", ""] {
            assert!(any.is_served(host) && !any.has_cookies(host), "{host}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_says_how_the_client_addressed_it() {
        let headers = [
            ("host", "upstream:3000"),
            ("x-forwarded-host", "chat.example, inner"),
            ("x-forwarded-proto", "WSS"),
        ];
        for (client, host, secure) in
            [([10, 0, 0, 7], "chat.example", true), ([11, 0, 0, 7], "upstream:3000", false)]
        {
            let mut request = Request::new(Body::empty());
            for (name, value) in headers {
                request.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from((client, 1))));
            let hosts = hosts(&[]);
            let addressed = hosts.addressed(&request);
            assert_eq!((addressed.host(), addressed.is_secure()), (Some(host), secure));
        }
        let mut twice = Request::new(Body::empty());
        twice.headers_mut().append(HOST, HeaderValue::from_static("chat.example"));
        twice.headers_mut().append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(hosts(&[]).addressed(&twice).host(), None);
    }

    #[test]
    fn a_public_host_has_neither_scheme_nor_port() {
        assert_eq!(parse_public_host("FD00::0:1").unwrap(), "[fd00::1]");
        for bad in
            ["", ".", "chat.example:443", "https://chat.example", "*", "*.example", "a/b", "a b", "[::1]:1"]
        {
            assert!(parse_public_host(bad).is_err(), "{bad}");
        }
    }
}
