//! Flags and environment into a clap struct, the only place that reads either. clap stops at the first mistake; this
//! goes on and reports them all. `run_main` and `healthcheck` call it, and the tests of each binary's settings.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::num::{ParseFloatError, ParseIntError};

use clap::builder::Resettable;
use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, Command, Id, Parser};

use super::Problems;

/// Why there are no settings.
#[derive(Debug)]
pub enum ParseError {
    /// `--help` or `--version`: print this to standard output and exit 0.
    Help(String),
    /// Mistakes that leave nothing to go on with: print them to standard error and exit 64.
    Invalid(Problems),
}

/// The settings from `args` (the first is the program) and the environment of this process, and the mistakes in them.
/// Where there are any, the settings hold defaults in their places: for finding further mistakes, not for use. A
/// variable that is set to nothing counts as not set.
///
/// # Errors
/// On `--help` and `--version`, and where the mistakes leave no settings to return.
pub fn parse_from<T: Parser>(
    args: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<(T, Problems), ParseError> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let is_blank = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    parse_with(args.into_iter().map(Into::into).collect(), is_blank)
}

fn parse_with<T: Parser>(
    mut args: Vec<OsString>,
    is_blank: impl Fn(&OsStr) -> bool,
) -> Result<(T, Problems), ParseError> {
    let mut problems = Problems::new();
    let mut wrong: Vec<Id> = Vec::new();
    // Each round finds one mistake and removes it, so that the next round finds the next.
    loop {
        let mut command = T::command().mut_args(|arg| {
            let ignored = wrong.contains(arg.get_id()) || arg.get_env().is_some_and(&is_blank);
            if ignored { arg.env(Resettable::Reset) } else { arg }
        });
        let parsed = command.try_get_matches_from_mut(&args);
        let error = match parsed.and_then(|matches| T::from_arg_matches(&matches)) {
            Ok(settings) => return Ok((settings, problems)),
            Err(error) => error,
        };
        if !error.use_stderr() {
            // As clap shows it without our changes.
            let original = T::command().try_get_matches_from(&args).err().filter(|e| !e.use_stderr());
            return Err(ParseError::Help(original.unwrap_or(error).render().to_string()));
        }
        // What is missing may be missing only because its value was wrong.
        if error.kind() == ErrorKind::MissingRequiredArgument && !wrong.is_empty() {
            return Err(ParseError::Invalid(problems));
        }
        match culprit(&error, &T::command()) {
            Some(arg) if !wrong.contains(arg.get_id()) => {
                problems.add(&name_of(&arg), describe(&error, &arg));
                let takes_value = arg.get_action().takes_values();
                while remove_flag(&mut args, &name_of(&arg), takes_value) {}
                wrong.push(arg.get_id().clone());
            }
            _ => {
                // The name that it was called by: a subcommand has another one than its struct.
                let name = command.get_bin_name().unwrap_or(command.get_name());
                problems.add(&format!("{name}:"), first_paragraph(&error));
                // After anything but an unknown flag, such as a missing argument, there is no sensible next round.
                if !remove_unknown(&error, &command, &mut args) {
                    return Err(ParseError::Invalid(problems));
                }
            }
        }
    }
}

/// Takes an unknown flag out of `args`; false if the error is another one.
fn remove_unknown(error: &clap::Error, command: &Command, args: &mut Vec<OsString>) -> bool {
    let (ErrorKind::UnknownArgument, Some(flag)) = (error.kind(), error.get(ContextKind::InvalidArg)) else {
        return false;
    };
    // An unknown flag may have a value: what follows is taken for it where it can be nothing else.
    let takes_value = command.get_positionals().next().is_none() && !command.has_subcommands();
    remove_flag(args, &flag.to_string(), takes_value)
}

/// Takes the first `--flag`, `--flag=value` or `--flag value` out of `args`; false if there is none.
fn remove_flag(args: &mut Vec<OsString>, flag: &str, takes_value: bool) -> bool {
    let is_it = |arg: &OsString| arg.to_string_lossy().split('=').next() == Some(flag);
    let Some(at) = args.iter().skip(1).position(is_it).map(|at| at + 1) else { return false };
    let has_value = args.remove(at).to_string_lossy().contains('=');
    let next_is_value = args.get(at).is_some_and(|next| !next.to_string_lossy().starts_with('-'));
    if takes_value && !has_value && next_is_value {
        args.remove(at);
    }
    true
}

/// The argument with the bad value, if the error is about a bad value.
fn culprit(error: &clap::Error, command: &Command) -> Option<Arg> {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8)
    {
        return None;
    }
    let shown = error.get(ContextKind::InvalidArg)?.to_string();
    let mut command = command.clone();
    // Fills in what clap derives, such as value names.
    command.build();
    command.get_arguments().find(|arg| arg.to_string() == shown).cloned()
}

fn name_of(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| arg.to_string(), |long| format!("--{long}"))
}

fn describe(error: &clap::Error, arg: &Arg) -> String {
    let mut text = match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(why), _) if why.is::<ParseIntError>() => "must be a whole number".to_owned(),
        (Some(why), _) if why.is::<ParseFloatError>() => "must be a number".to_owned(),
        (Some(why), _) => why.to_string(),
        // clap's form of an option that is the last word of the line.
        (None, Some(valid)) if valid.to_string().is_empty() => return "needs a value".to_owned(),
        (None, Some(valid)) => format!("must be one of: {valid}"),
        (None, None) => "has a bad value".to_owned(),
    };
    match error.get(ContextKind::InvalidValue).map(ToString::to_string) {
        Some(value) if value.is_empty() && text.ends_with("empty") => {}
        Some(value) if value.is_empty() => text.push_str(", not empty"),
        // Settings that may hold a secret are marked so.
        Some(value) if !arg.is_hide_env_values_set() => text.push_str(&format!(", not {value:?}")),
        _ => {}
    }
    match arg.get_env() {
        Some(env) => format!("(or {}): {text}", env.display()),
        None => text,
    }
}

/// "unexpected argument '--foo' found", without usage and tips.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::LogFormat;
    use crate::config::{parse_duration, parse_url};

    /// A test process.
    #[derive(Debug, Parser)]
    #[command(name = "process", version = "1.2.3")]
    struct Settings {
        #[arg(long, env = "ROOMCAST_TEST_PORT", default_value_t = 3000)]
        port: u16,
        #[arg(long, default_value = "15s", value_parser = parse_duration)]
        lease: Duration,
        #[arg(long, env = "ROOMCAST_TEST_REDIS", hide_env_values = true, value_parser = parse_url)]
        redis: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        log_format: LogFormat,
        #[arg(long)]
        origin: Vec<String>,
        #[arg(long, default_value_t = 0.5)]
        share: f64,
        #[arg(long, value_parser = |_: &str| Err::<String, _>("is empty"))]
        user: Option<String>,
        #[arg(long)]
        quiet: bool,
    }

    fn settings(args: &[&str]) -> Result<(Settings, Problems), ParseError> {
        parse_with(
            std::iter::once("process").chain(args.iter().copied()).map(OsString::from).collect(),
            |_| false,
        )
    }

    fn mistakes(args: &[&str]) -> String {
        match settings(args) {
            Ok((_, problems)) | Err(ParseError::Invalid(problems)) => problems.to_string(),
            other @ Err(ParseError::Help(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn good_settings() {
        let (defaults, problems) = settings(&[]).unwrap();
        assert!(problems.is_empty(), "{problems}");
        assert_eq!((defaults.port, defaults.lease, defaults.redis), (3000, Duration::from_secs(15), None));
        assert_eq!((defaults.log_format, defaults.quiet), (LogFormat::Auto, false));
        let given =
            settings(&["--redis", "redis://h", "--origin=a", "--origin=b", "--quiet", "--log-format=json"]);
        let (given, _) = given.unwrap();
        assert_eq!((given.redis.as_deref(), given.origin.len(), given.quiet), (Some("redis://h"), 2, true));
        assert_eq!(given.log_format, LogFormat::Json);
    }

    #[test]
    fn every_bad_value_is_reported() {
        assert_eq!(
            mistakes(&["--port", "70000", "--lease=soon", "--redis", "secret", "--log-format", "xml"]),
            "--port (or ROOMCAST_TEST_PORT): 70000 is not in 0..=65535, not \"70000\"\n\
             --lease must be a duration, such as 250ms, 15s or 1h 30m, not \"soon\"\n\
             --redis (or ROOMCAST_TEST_REDIS): must be a URL: scheme://host:port\n\
             --log-format must be one of: auto, text, json, not \"xml\""
        );
    }

    #[test]
    fn a_bad_number_is_called_that() {
        assert_eq!(mistakes(&["--share=x"]), "--share must be a number, not \"x\"");
        let port = "--port (or ROOMCAST_TEST_PORT): must be a whole number";
        assert_eq!(mistakes(&["--port=1MB"]), format!("{port}, not \"1MB\""));
        assert_eq!(mistakes(&["--port="]), format!("{port}, not empty"));
    }

    #[test]
    fn an_empty_value_is_called_empty_once() {
        assert_eq!(mistakes(&["--user="]), "--user is empty");
    }

    #[test]
    fn an_option_without_its_value_is_reported() {
        assert_eq!(mistakes(&["--port=1", "--lease"]), "--lease needs a value");
    }

    #[test]
    fn mistakes_leave_the_defaults() {
        let (settings, problems) = settings(&["--lease", "soon", "--port=1", "--lease=15"]).unwrap();
        assert_eq!((settings.lease, settings.port), (Duration::from_secs(15), 1));
        assert_eq!(problems.to_string().lines().count(), 1, "{problems}");
    }

    #[test]
    fn unknown_arguments_do_not_hide_other_mistakes() {
        // In which order clap finds them is its own business.
        let found = mistakes(&["--port", "x", "--prot=1", "--lease=soon", "--nonsense", "2"]);
        let mut lines: Vec<_> = found.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "--lease must be a duration, such as 250ms, 15s or 1h 30m, not \"soon\"",
                "--port (or ROOMCAST_TEST_PORT): must be a whole number, not \"x\"",
                "process: unexpected argument '--nonsense' found",
                "process: unexpected argument '--prot' found",
            ]
        );
        assert_eq!(mistakes(&["stray", "--port=x"]).lines().count(), 2);
    }

    #[test]
    fn a_missing_argument_is_reported() {
        #[derive(Debug, Parser)]
        #[command(name = "process")]
        struct Needy {
            #[arg(long)]
            redis: String,
        }
        match parse_with::<Needy>(vec![OsString::from("process")], |_| false) {
            Err(ParseError::Invalid(problems)) => assert_eq!(
                problems.to_string(),
                "process: the following required arguments were not provided: --redis <REDIS>"
            ),
            other => panic!("{:?}", other.map(|(needy, _)| needy.redis)),
        }
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        for (flag, part) in [("--help", "ROOMCAST_TEST_PORT"), ("--version", "process 1.2.3")] {
            match settings(&["--port=x", flag]) {
                Err(ParseError::Help(text)) => assert!(text.contains(part), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_variable_set_to_nothing_counts_as_not_set() {
        // PATH stands for any variable that is set in every environment.
        #[derive(Debug, Parser)]
        struct FromPath {
            #[arg(long, env = "PATH")]
            value: Option<String>,
        }
        let args = || vec![OsString::from("process")];
        assert!(parse_with::<FromPath>(args(), |_| false).unwrap().0.value.is_some());
        assert!(parse_with::<FromPath>(args(), |_| true).unwrap().0.value.is_none());
    }

    #[test]
    fn a_bad_switch_in_the_environment_is_reported() {
        #[derive(Debug, Parser)]
        struct FromPath {
            #[arg(long, env = "PATH")]
            switch: bool,
            #[arg(long)]
            number: u8,
        }
        let args = ["process", "--number=x"].map(OsString::from).to_vec();
        match parse_with::<FromPath>(args, |_| false) {
            Err(ParseError::Invalid(problems)) => assert_eq!(problems.len(), 2, "{problems}"),
            other => panic!("{:?}", other.map(|(s, _)| (s.switch, s.number))),
        }
    }
}
