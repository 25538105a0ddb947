//! Collects every mistake in the settings before any is reported. `parse` adds the values that do not parse, the
//! `config` module of each binary what does not go together. `run_main` prints the result and exits 64.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The mistakes found so far, one line each, every line starting with the flag it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    lines: Vec<String>,
    /// Flags with a mistake: consequences of it are not reported.
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

    /// Checks that `value` is at least `min`.
    pub fn at_least<T: Quantity>(&mut self, flag: &str, value: T, min: T) {
        let (shown, limit) = (value.show(), min.show());
        self.relate(&[flag], value >= min, format_args!("{flag} must be at least {limit}, not {shown}"));
    }

    /// Checks that `value` is at most `max`.
    pub fn at_most<T: Quantity>(&mut self, flag: &str, value: T, max: T) {
        let (shown, limit) = (value.show(), max.show());
        self.relate(&[flag], value <= max, format_args!("{flag} must be at most {limit}, not {shown}"));
    }

    /// How many mistakes there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Ends the checks.
    ///
    /// # Errors
    /// With all of them, if there is any.
    pub fn finish(self) -> Result<(), Problems> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// One line per mistake, in the order of finding, without a newline at the end.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// What has limits: a number, or a duration.
pub trait Quantity: PartialOrd + Copy {
    /// As a flag would be given it.
    fn show(self) -> String;
}

impl Quantity for Duration {
    fn show(self) -> String {
        humantime::format_duration(self).to_string()
    }
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl Quantity for $number {
            fn show(self) -> String {
                self.to_string()
            }
        }
    )+};
}

numbers!(u8, i32, usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_every_mistake_and_no_consequence_of_one() {
        let mut problems = Problems::new();
        problems.add("--lease", "must be a duration, not \"soon\"");
        problems.at_least("--lease", Duration::ZERO, Duration::from_secs(1));
        problems.at_least("--renew", Duration::from_secs(5), Duration::from_secs(10));
        problems.at_least("--grace", Duration::ZERO, Duration::from_millis(500));
        problems.relate(&["--lease", "--renew"], false, "--lease must be longer than --renew");
        problems.relate(&["--a", "--b"], false, "--a excludes --b");
        problems.at_most("--rooms", 200, 100);
        problems.check(false, "--node", "must not be empty");
        problems.check(true, "--node", "is fine");
        assert_eq!(problems.len(), 6);
        assert_eq!(
            problems.finish().unwrap_err().to_string(),
            "--lease must be a duration, not \"soon\"\n\
             --renew must be at least 10s, not 5s\n\
             --grace must be at least 500ms, not 0s\n\
             --a excludes --b\n\
             --rooms must be at most 100, not 200\n\
             --node must not be empty"
        );
        assert_eq!(Problems::new().finish(), Ok(()));
    }
}
