//! What both mains share: configuration → telemetry → runtime → run → flush. It calls `config`, `telemetry`
//! and `lifecycle`; the binary's closures check the settings, build the application, print its addresses and run it.

use std::ffi::OsString;
use std::fmt::Display;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::config::{EXIT_CONFIG, ParseError, Problems, parse_from};
use crate::trace::{self, Otlp};
use crate::{Lifecycle, LogFormat, LogLevel, Outcome, healthcheck, telemetry};

/// How long blocked threads may take to end after everything else has.
const BLOCKED_THREADS_TIMEOUT: Duration = Duration::from_millis(500);

/// What `run_main` must know before there is anything to run.
#[derive(Clone, Debug)]
pub struct Process {
    /// How a line looks.
    pub format: LogFormat,
    /// Such as `info,roomcast=debug`.
    pub filter: String,
    /// Threads that run tasks; half of the cores, at least one, where absent: a task woken on another
    /// thread costs a switch, and the kernel and Redis want cores too.
    pub workers: Option<usize>,
    /// Where traces are sent.
    pub otlp: Option<Otlp>,
}

/// Runs a process from its settings to its exit code; a `main` is little more than this call.
///
/// - `name`: of the binary, for error messages and the first log line.
/// - `check`: turns the parsed flags and environment `A` into a configuration `C`, or into every mistake; it is given
///   those that parsing found, and adds its own.
/// - `run`: builds and runs the process until [`Lifecycle::finish`]; SIGINT and SIGTERM already stop the given
///   lifecycle. An error, typically one of building, is logged with its causes (`{:#}`).
///
/// Exit codes: 0 graceful, `--help` or `--version`; 1 crashed or `run` failed; 2 gave up; 64 bad configuration,
/// with all mistakes on standard error. Called as `name healthcheck`, it asks a running process instead.
pub fn run_main<A, C, E, F, Fut>(
    name: &'static str,
    check: impl FnOnce(A, Problems) -> Result<(Process, C), Problems>,
    run: F,
) -> ExitCode
where
    A: Parser,
    E: Display,
    F: FnOnce(C, Lifecycle, LogLevel) -> Fut,
    Fut: Future<Output = Result<Outcome, E>>,
{
    // Here and not in `run_from`, whose tests share their process with others.
    telemetry::log_panics();
    run_from(std::env::args_os().collect(), &mut std::io::stdout(), &mut std::io::stderr(), name, check, run)
}

fn run_from<A, C, E, F, Fut>(
    args: Vec<OsString>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
    name: &'static str,
    check: impl FnOnce(A, Problems) -> Result<(Process, C), Problems>,
    run: F,
) -> ExitCode
where
    A: Parser,
    E: Display,
    F: FnOnce(C, Lifecycle, LogLevel) -> Fut,
    Fut: Future<Output = Result<Outcome, E>>,
{
    if let Some(code) = healthcheck::run::<A>(&args, name, stdout, stderr) {
        return code;
    }
    // The exit code says the same, so a failed write is ignored.
    let mut report = |why: &dyn Display| {
        writeln!(stderr, "{name}: bad configuration\n{why}").unwrap_or_default();
        ExitCode::from(EXIT_CONFIG)
    };
    let parsed =
        parse_from(args).and_then(|(args, problems)| check(args, problems).map_err(ParseError::Invalid));
    let (process, config) = match parsed {
        Ok(checked) => checked,
        Err(ParseError::Invalid(problems)) => return report(&problems),
        Err(ParseError::Help(text)) => {
            write!(stdout, "{text}").unwrap_or_default();
            return ExitCode::SUCCESS;
        }
    };
    let log = match telemetry::init(process.format, &process.filter) {
        Ok(log) => log,
        Err(error) => return report(&error),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = process.workers.unwrap_or(cores / 2).max(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(process = name, %error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let traces = {
        let _entered = runtime.enter();
        process.otlp.as_ref().map(|otlp| trace::start(name, otlp)).transpose()
    };
    let traces = match traces {
        Ok(traces) => traces,
        Err(error) => return report(&format_args!("--otlp: {error}")),
    };
    let outcome = runtime.block_on(async {
        let lifecycle = Lifecycle::new();
        lifecycle.listen_for_signals();
        // Boxed: the future of a whole process is large, and this stack frame is not.
        Box::pin(run(config, lifecycle, log)).await
    });
    // The runtime carries the last spans.
    traces.into_iter().for_each(trace::Exporting::flush);
    runtime.shutdown_timeout(BLOCKED_THREADS_TIMEOUT);
    let code = match outcome {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            tracing::error!(process = name, error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    };
    // Log lines are written unbuffered; only what `run` printed may still be waiting.
    stdout.flush().unwrap_or_default();
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Args {
        #[arg(long, default_value_t = 1)]
        workers: u8,
        #[arg(long, default_value = "warn")]
        log: String,
    }

    fn check(args: Args, mut problems: Problems) -> Result<(Process, u8), Problems> {
        problems.at_least("--workers", args.workers, 1);
        problems.check(!args.log.is_empty(), "--log", "must not be empty");
        problems.finish()?;
        Ok((Process { format: LogFormat::Auto, filter: args.log, workers: None, otlp: None }, args.workers))
    }

    fn process<Fut>(args: &[&str], run: impl FnOnce(Lifecycle) -> Fut) -> (ExitCode, String)
    where
        Fut: Future<Output = Result<Outcome, &'static str>>,
    {
        let args = std::iter::once("process").chain(args.iter().copied()).map(OsString::from).collect();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let code = run_from(args, &mut stdout, &mut stderr, "process", check, |_, life, _| run(life));
        stderr.extend(stdout);
        (code, String::from_utf8(stderr).unwrap())
    }

    async fn never(_: Lifecycle) -> Result<Outcome, &'static str> {
        panic!("must not run")
    }

    #[test]
    fn bad_configuration_prints_every_mistake_and_exits_64() {
        let (code, text) = process(&["--workers=0", "--log="], never);
        assert_eq!(code, ExitCode::from(64));
        assert_eq!(
            text,
            "process: bad configuration\n--workers must be at least 1, not 0\n--log must not be empty\n"
        );
        let (_, text) = process(&["--workers=x", "--log="], never);
        assert_eq!(text.lines().count(), 3, "what does not parse hides nothing else: {text}");
        for args in [["--workers=x"], ["--nonsense"], ["--log=a=loud"]] {
            let (code, text) = process(&args, never);
            assert_eq!(code, ExitCode::from(64), "{args:?}");
            assert!(text.starts_with("process: bad configuration\n"), "{text}");
        }
    }

    #[test]
    fn help_exits_0() {
        let (code, text) = process(&["--help"], never);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(text.contains("--workers"), "{text}");
    }

    #[test]
    fn the_outcome_is_the_exit_code() {
        let minute = Duration::from_secs(60);
        let (code, _) = process(&[], |life| async move {
            life.stop();
            Ok(life.finish(minute).await)
        });
        assert_eq!(code, ExitCode::SUCCESS);
        let (code, _) = process(&[], |life| async move {
            life.spawn_critical("worker", std::future::ready(()));
            Ok(life.finish(minute).await)
        });
        assert_eq!(code, ExitCode::FAILURE);
        let (code, _) = process(&[], |life| async move {
            life.spawn("stuck", std::future::pending::<()>());
            life.stop();
            life.hard().cancel();
            Ok(life.finish(minute).await)
        });
        assert_eq!(code, ExitCode::from(2));
        let (code, _) = process(&[], |_| std::future::ready(Err("cannot bind")));
        assert_eq!(code, ExitCode::FAILURE);
    }
}
