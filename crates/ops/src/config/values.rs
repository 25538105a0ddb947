//! Parsers of single values, which a clap struct names as `value_parser`. An error names what is wrong; one about a URL
//! never repeats it, since it may hold a password.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// A hundred years: far more than anybody means, far less than what overflows a clock.
const MAX_DURATION: Duration = Duration::from_secs(36_500 * 86_400);

/// What is wrong with a value, as a phrase: "must be …", "is …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(Cow<'static, str>);

impl InvalidValue {
    pub(super) const fn new(why: &'static str) -> Self {
        Self(Cow::Borrowed(why))
    }
}

/// A duration as `humantime` reads it: `250ms`, `15s`, `10m`, `1h 30m`, `7d`. At most 100 years.
///
/// # Errors
/// For anything else. A number without a unit is refused too: it says not what it counts.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidValue> {
    const SHAPE: InvalidValue = InvalidValue::new("must be a duration, such as 250ms, 15s or 1h 30m");
    const TOO_LONG: InvalidValue = InvalidValue::new("is too long, at most 36500d");
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let why = format!("needs a unit: {text}s for seconds, {text}ms for milliseconds");
        return Err(InvalidValue(why.into()));
    }
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MAX_DURATION => Ok(duration),
        Ok(_) | Err(humantime::DurationError::NumberOverflow) => Err(TOO_LONG),
        Err(_) => Err(SHAPE),
    }
}

/// A number of bytes.
///
/// # Errors
/// For anything else: units such as MB are ambiguous.
pub fn parse_bytes(text: &str) -> Result<usize, InvalidValue> {
    text.trim().parse().map_err(|_| InvalidValue::new("must be a number of bytes, such as 1048576"))
}

/// An address to listen on: `127.0.0.1:3000`, `[::]:3000`, `localhost:3000` (IPv4). Port 0 lets the system choose.
///
/// # Errors
/// For anything else, other host names included: they may change between resolving and binding.
pub fn parse_listen(text: &str) -> Result<SocketAddr, InvalidValue> {
    const SHAPE: InvalidValue = InvalidValue::new("must be ip:port, such as 0.0.0.0:3000 or [::]:3000");
    let text = text.trim();
    match text.strip_prefix("localhost:") {
        Some(port) => Ok((Ipv4Addr::LOCALHOST, port.parse().map_err(|_| SHAPE)?).into()),
        None => text.parse().map_err(|_| SHAPE),
    }
}

/// A URL with a scheme, a host, a port below 65,536 if any, and no blanks. Returns it trimmed, otherwise as given.
///
/// # Errors
/// When one of these is missing. Which schemes are allowed, [`url_with_scheme`] says.
pub fn parse_url(text: &str) -> Result<String, InvalidValue> {
    let text = text.trim();
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(InvalidValue::new("must be a URL: scheme://host:port"));
    };
    if !is_scheme(scheme) {
        return Err(InvalidValue::new("has a malformed scheme"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(InvalidValue::new("must not contain blanks"));
    }
    let (authority, _) = split_authority(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() || host.starts_with(':') {
        return Err(InvalidValue::new("names no host"));
    }
    // A colon within brackets belongs to an IPv6 address.
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(InvalidValue::new("has a bad port"));
    }
    Ok(text.to_owned())
}

/// A parser of URLs whose scheme is one of `schemes` (lower case), see [`parse_url`].
pub fn url_with_scheme(
    schemes: &'static [&'static str],
) -> impl Fn(&str) -> Result<String, InvalidValue> + Clone + Send + Sync + 'static {
    move |text| {
        let url = parse_url(text)?;
        match url.split_once("://") {
            Some((scheme, _)) if schemes.contains(&scheme.to_ascii_lowercase().as_str()) => Ok(url),
            _ => Err(InvalidValue(format!("must start with {}://", schemes.join(":// or ")).into())),
        }
    }
}

/// A web origin, `scheme://host[:port]`, in the form in which browsers send it: lower case, no default port.
///
/// # Errors
/// When there is a path (a slash at the end is one), a user, or no host.
pub fn parse_origin(text: &str) -> Result<String, InvalidValue> {
    let text = text.trim().to_ascii_lowercase();
    let Some((scheme, authority)) = text.split_once("://") else {
        return Err(InvalidValue::new("must be scheme://host[:port], such as https://chat.example.org"));
    };
    if !is_scheme(scheme) {
        return Err(InvalidValue::new("has a malformed scheme"));
    }
    if authority.contains(['/', '?', '#']) {
        return Err(InvalidValue::new("must end after the host or port: no path, no slash"));
    }
    // In `[::1]:3000` only a colon after the bracket separates the port.
    let port_at = authority.rfind(':').filter(|at| authority.rfind(']').is_none_or(|bracket| bracket < *at));
    let (host, port) = port_at.map_or((authority, None), |at| {
        let (host, port) = authority.split_at(at);
        (host, Some(port.trim_start_matches(':')))
    });
    let bare =
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::parse::<std::net::Ipv6Addr>);
    let host_is_good = match bare {
        Some(ip) => ip.is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    if !host_is_good {
        return Err(InvalidValue::new("has a malformed host"));
    }
    let Some(port) = port else { return Ok(format!("{scheme}://{host}")) };
    match (scheme, port.parse::<u16>()) {
        (_, Err(_) | Ok(0)) => Err(InvalidValue::new("has a malformed port")),
        ("http", Ok(80)) | ("https", Ok(443)) => Ok(format!("{scheme}://{host}")),
        (_, Ok(port)) => Ok(format!("{scheme}://{host}:{port}")),
    }
}

/// The URL without its user and password, fit for a log line.
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(not a URL)".to_owned() };
    // At the last @ of all, not of the authority: a password with an unescaped slash is still a password.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}"),
        None => url.to_owned(),
    }
}

fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("250ms", 250),
            ("15s", 15_000),
            (" 15s ", 15_000),
            ("10m", 600_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("0s", 0),
            ("36500d", 3_153_600_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text:?}");
        }
        for text in ["", "s", "-1s", "+1s", "15S", "soon", "٣s", "1s1"] {
            assert_eq!(
                parse_duration(text).unwrap_err(),
                InvalidValue::new("must be a duration, such as 250ms, 15s or 1h 30m"),
                "{text:?}"
            );
        }
        for text in ["36501d", "101y", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(
                parse_duration(text).unwrap_err().to_string(),
                "is too long, at most 36500d",
                "{text:?}"
            );
        }
        for text in ["15", "0", " 15 "] {
            let number = text.trim();
            assert_eq!(
                parse_duration(text).unwrap_err().to_string(),
                format!("needs a unit: {number}s for seconds, {number}ms for milliseconds")
            );
        }
    }

    #[test]
    fn numbers_of_bytes() {
        assert_eq!(parse_bytes(" 1048576 "), Ok(1_048_576));
        for text in ["", "1MB", "1MiB", "-1", "1.5", "1_000"] {
            let error = parse_bytes(text).unwrap_err().to_string();
            assert_eq!(error, "must be a number of bytes, such as 1048576", "{text:?}");
        }
    }

    #[test]
    fn urls_of_known_schemes() {
        let parse = url_with_scheme(&["redis", "redis-cluster"]);
        assert_eq!(parse("REDIS://h").as_deref(), Ok("REDIS://h"));
        assert_eq!(
            parse("http://:secret@h").unwrap_err().to_string(),
            "must start with redis:// or redis-cluster://"
        );
        assert!(parse("nowhere").unwrap_err().to_string().starts_with("must be a URL"));
    }

    #[test]
    fn listen_addresses() {
        for (text, address) in [
            ("0.0.0.0:3000", "0.0.0.0:3000"),
            ("[::]:0", "[::]:0"),
            ("localhost:80", "127.0.0.1:80"),
            (" 127.0.0.1:1 ", "127.0.0.1:1"),
        ] {
            assert_eq!(parse_listen(text).unwrap().to_string(), address);
        }
        for text in ["", "3000", ":3000", "localhost", "example.org:80", "1.2.3.4:70000", "localhost:x"] {
            assert!(parse_listen(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn urls() {
        for text in
            ["redis://h", "rediss://user:p@ss@h:6379/0", "redis://[::1]:6379", "https://h/jwks.json?a=b"]
        {
            assert_eq!(parse_url(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "h:6379",
            "://h",
            "1a://h",
            "redis://",
            "redis:///0",
            "redis://u:p@/0",
            "redis://:6379",
            "redis://h:65536",
            "redis://h:port/0",
            "redis://[::1]:",
            "a://b c",
        ] {
            assert!(parse_url(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn origins() {
        for (text, origin) in [
            ("https://Chat.Example.org", "https://chat.example.org"),
            ("https://a.b:443", "https://a.b"),
            ("http://a.b:80", "http://a.b"),
            ("http://a.b:443", "http://a.b:443"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]", "http://[::1]"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(parse_origin(text).as_deref(), Ok(origin));
        }
        for text in [
            "",
            "*",
            "null",
            "a.b",
            "https://",
            "https://a.b/",
            "https://a.b/x",
            "https://a.b?x",
            "https://u@a.b",
            "https://a.b:",
            "https://a.b:0",
            "https://a.b:70000",
            "https://:80",
            "https://a b",
            "https://[::1",
            "https://*.a.b",
            "https://a.b:8:0",
            "https://[::1]x:1",
        ] {
            assert!(parse_origin(text).is_err(), "{text:?} gave {:?}", parse_origin(text));
        }
    }

    #[test]
    fn redacts_user_and_password() {
        assert_eq!(redact_url("redis://u:p@h:1/0"), "redis://***@h:1/0");
        assert_eq!(redact_url("redis://:p/a@b@h"), "redis://***@h");
        assert_eq!(redact_url("redis://h:1"), "redis://h:1");
        assert_eq!(redact_url("secret"), "(not a URL)");
    }
}
