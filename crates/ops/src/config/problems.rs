//! Collects every mistake in the settings before the first complaint. The `config` module of each binary calls
//! it; it calls the parsers in `values`. `run_main` prints the result and exits 64.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::values::{self, BadValue};

/// The mistakes found so far, one line each, every line starting with the flag it is about.
///
/// A method that parses returns a stand-in when it records a mistake, so that the caller can go on and find the
/// next one; [`finish`](Self::finish) then fails, so no stand-in is ever used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    lines: Vec<String>,
    /// Flags with a mistake: what follows from it is not worth a line.
    flags: BTreeSet<String>,
}

impl Problems {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records `why` about `flag`, as "`flag` `why`".
    pub fn add(&mut self, flag: &str, why: impl fmt::Display) {
        self.lines.push(format!("{flag} {why}"));
        self.flags.insert(flag.to_owned());
    }

    /// Records `why` about `flag` unless `ok`.
    pub fn check(&mut self, ok: bool, flag: &str, why: impl fmt::Display) {
        if !ok {
            self.add(flag, why);
        }
    }

    /// Records `why` unless `ok`, where `ok` depends on several flags; says nothing if one of them already has a
    /// mistake of its own. `why` is the whole line.
    pub fn relate(&mut self, flags: &[&str], ok: bool, why: impl fmt::Display) {
        if !ok && !flags.iter().any(|flag| self.flags.contains(*flag)) {
            self.lines.push(why.to_string());
        }
    }

    /// A duration, see [`parse_duration`](super::parse_duration). Stand-in: zero.
    pub fn duration(&mut self, flag: &str, text: &str) -> Duration {
        self.value(flag, values::parse_duration(text), text, Duration::ZERO)
    }

    /// An address to listen on, see [`parse_listen`](super::parse_listen). Stand-in: 127.0.0.1:0.
    pub fn listen(&mut self, flag: &str, text: &str) -> SocketAddr {
        self.value(flag, values::parse_listen(text), text, (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// A URL whose scheme is one of `schemes` (lower case), see [`parse_url`](super::parse_url). Stand-in: empty.
    pub fn url(&mut self, flag: &str, text: &str, schemes: &[&str]) -> String {
        match values::parse_url(text) {
            // No value in the complaint: it may hold a password.
            Err(why) => self.add(flag, why),
            Ok(url) => match url.split_once("://") {
                Some((scheme, _)) if schemes.contains(&scheme.to_ascii_lowercase().as_str()) => return url,
                _ => self.add(flag, format!("must start with {}://", schemes.join(":// or "))),
            },
        }
        String::new()
    }

    /// A web origin, see [`parse_origin`](super::parse_origin). Stand-in: empty.
    pub fn origin(&mut self, flag: &str, text: &str) -> String {
        self.value(flag, values::parse_origin(text), text, String::new())
    }

    /// Checks that `value`, parsed or not, is at least `min`.
    pub fn at_least<T: PartialOrd + Copy + fmt::Debug>(&mut self, flag: &str, value: T, min: T) {
        self.relate(&[flag], value >= min, format_args!("{flag} must be at least {min:?}, not {value:?}"));
    }

    /// Checks that `value` is at most `max`.
    pub fn at_most<T: PartialOrd + Copy + fmt::Debug>(&mut self, flag: &str, value: T, max: T) {
        self.relate(&[flag], value <= max, format_args!("{flag} must be at most {max:?}, not {value:?}"));
    }

    /// How many mistakes there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The end of checking.
    ///
    /// # Errors
    /// With all of them, if there is any.
    pub fn finish(self) -> Result<(), Problems> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    fn value<T>(&mut self, flag: &str, parsed: Result<T, BadValue>, text: &str, stand_in: T) -> T {
        parsed.unwrap_or_else(|why| {
            self.add(flag, format_args!("{why}, not {text:?}"));
            stand_in
        })
    }
}

/// One line per mistake, in the order of finding, without a newline at the end.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_every_mistake_and_no_consequence_of_one() {
        let mut problems = Problems::new();
        let lease = problems.duration("--lease", "soon");
        let renew = problems.duration("--renew", "5s");
        problems.at_least("--lease", lease, Duration::from_secs(1));
        problems.at_least("--renew", renew, Duration::from_secs(10));
        problems.relate(&["--lease", "--renew"], lease > renew, "--lease must be longer than --renew");
        problems.relate(&["--a", "--b"], false, "--a excludes --b");
        problems.listen("--listen", "3000");
        problems.url("--redis", "http://:secret@h", &["redis", "rediss"]);
        problems.url("--jwks", "nowhere", &["https"]);
        problems.origin("--origin", "https://a.b/");
        problems.at_most("--rooms", 200, 100);
        problems.check(false, "--node", "must not be empty");
        problems.check(true, "--node", "is fine");
        assert_eq!(problems.len(), 9);
        assert_eq!(
            problems.finish().unwrap_err().to_string(),
            "--lease must be a whole number with ms, s, m, h or d, such as 250ms or 15s, not \"soon\"\n\
             --renew must be at least 10s, not 5s\n\
             --a excludes --b\n\
             --listen must be ip:port, such as 0.0.0.0:3000 or [::]:3000, not \"3000\"\n\
             --redis must start with redis:// or rediss://\n\
             --jwks must be a URL, such as redis://127.0.0.1:6379\n\
             --origin must end after the host or port: no path, no slash, not \"https://a.b/\"\n\
             --rooms must be at most 100, not 200\n\
             --node must not be empty"
        );
    }

    #[test]
    fn good_values_come_back() {
        let mut problems = Problems::new();
        assert_eq!(problems.duration("--lease", "15s"), Duration::from_secs(15));
        assert_eq!(problems.listen("--listen", "[::]:80").port(), 80);
        assert_eq!(problems.url("--redis", "REDIS://h", &["redis"]), "REDIS://h");
        assert_eq!(problems.origin("--origin", "https://A.b"), "https://a.b");
        assert_eq!(problems.finish(), Ok(()));
    }
}
