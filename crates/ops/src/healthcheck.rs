//! `BINARY healthcheck`: asks a running process of the same binary whether it is ready. For container engines,
//! whose images hold no shell and no curl. `run_main` hands over here; needs no runtime and starts nothing.

use std::ffi::OsString;
use std::io::{self, Read as _, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{CommandFactory, Parser};

use crate::config::{EXIT_CONFIG, ParseError, Problems, parse_from, parse_listen};

/// For `after_help` of both binaries.
pub const HELP: &str = "Commands:
  healthcheck [--admin <ADMIN>]  ask the process on this machine whether it is ready; exit code 0 if so, else 1";

const NAME: &str = "healthcheck";
/// For the whole exchange; a process that is slower than this is not healthy.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read; readiness reports are far shorter.
const MAX_ANSWER: u64 = 16 * 1024;

/// Asks the admin listener for /readyz: exit code 0 if it answers 200, else 1 and a line that says why.
#[derive(Debug, Parser)]
struct Ask {
    /// Where the process answers operators [default: as of the process]
    #[arg(long, env = "ROOMCAST_ADMIN", value_parser = parse_listen)]
    admin: Option<SocketAddr>,
}

/// The exit code where `args` ask for a check, and nothing where they are those of a process.
pub(crate) fn run<A: CommandFactory>(
    args: &[OsString],
    name: &str,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Option<ExitCode> {
    let (_, rest) = args.split_first()?;
    let (_, rest) = rest.split_first().filter(|(first, _)| *first == NAME)?;
    let own = std::iter::once(OsString::from(format!("{name} {NAME}"))).chain(rest.iter().cloned());
    // The exit code says the same, so a failed write is ignored.
    Some(match address::<A>(own.collect()) {
        Ok(admin) => match ask(admin, TIMEOUT) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                writeln!(stderr, "{name}: not ready, says http://{admin}/readyz: {why}").unwrap_or_default();
                ExitCode::FAILURE
            }
        },
        Err(ParseError::Help(text)) => {
            write!(stdout, "{text}").unwrap_or_default();
            ExitCode::SUCCESS
        }
        Err(ParseError::Invalid(problems)) => {
            writeln!(stderr, "{name} {NAME}: bad arguments\n{problems}").unwrap_or_default();
            ExitCode::from(EXIT_CONFIG)
        }
    })
}

/// Where a process with this flag, this environment or neither of them would listen, seen from this machine.
fn address<A: CommandFactory>(args: Vec<OsString>) -> Result<SocketAddr, ParseError> {
    let (Ask { admin }, problems) = parse_from::<Ask>(args)?;
    problems.finish().map_err(ParseError::Invalid)?;
    let default = || {
        let command = A::command();
        let flag = command.get_arguments().find(|arg| arg.get_id() == "admin")?;
        parse_listen(flag.get_default_values().first()?.to_str()?).ok()
    };
    let Some(mut address) = admin.or_else(default) else {
        let mut problems = Problems::new();
        problems.add("--admin", "is required");
        return Err(ParseError::Invalid(problems));
    };
    // Listening on every address is a thing to listen on, not to connect to.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(address)
}

fn ask(admin: SocketAddr, timeout: Duration) -> Result<(), String> {
    let answer = exchange(admin, Instant::now() + timeout).map_err(|error| match error.kind() {
        // What a socket's timeout is called differs between systems.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("no answer within {timeout:?}"),
        _ => error.to_string(),
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("no HTTP");
    if status == "200" { Ok(()) } else { Err(format!("{status} {body}").trim_end().to_owned()) }
}

fn exchange(admin: SocketAddr, deadline: Instant) -> io::Result<String> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        // A socket takes a timeout of zero for none.
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let mut stream = TcpStream::connect_timeout(&admin, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut stream = stream.take(MAX_ANSWER);
    let mut chunk = [0; 1024];
    loop {
        stream.get_ref().set_read_timeout(Some(left()?))?;
        match stream.read(&mut chunk)? {
            0 => return Ok(String::from_utf8_lossy(&answer).into_owned()),
            read => answer.extend(chunk.iter().take(read)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[derive(Debug, Parser)]
    struct Args {
        #[arg(long, default_value = "0.0.0.0:9464")]
        admin: String,
    }

    fn check(args: &[&str]) -> (Option<ExitCode>, String) {
        let args: Vec<_> =
            std::iter::once("process").chain(args.iter().copied()).map(OsString::from).collect();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let code = run::<Args>(&args, "process", &mut stdout, &mut stderr);
        stderr.extend(stdout);
        (code, String::from_utf8(stderr).unwrap())
    }

    /// A listener that gives one connection this answer.
    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"), "{request:?}");
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_the_first_word_is_a_command() {
        for args in [vec![], vec!["--admin", "healthcheck"], vec!["--admin=127.0.0.1:1", "healthcheck"]] {
            assert_eq!(check(&args).0, None, "{args:?}");
        }
    }

    #[test]
    fn ready_is_0_and_anything_else_is_1() {
        let ready = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        assert_eq!(check(&["healthcheck", "--admin", &ready]), (Some(ExitCode::SUCCESS), String::new()));
        for (answer, why) in [
            (
                "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"missing\":[\"bus\"]}",
                "503 {\"missing\":[\"bus\"]}",
            ),
            ("HTTP/1.1 2", "no HTTP"),
            ("SSH-2.0", "no HTTP"),
            ("", "no HTTP"),
        ] {
            let admin = answering(answer);
            let (code, text) = check(&["healthcheck", "--admin", &admin]);
            assert_eq!(code, Some(ExitCode::FAILURE), "{answer:?}");
            assert_eq!(text, format!("process: not ready, says http://{admin}/readyz: {why}\n"));
        }
    }

    #[test]
    fn no_listener_is_1() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (code, text) = check(&["healthcheck", "--admin", &free]);
        assert_eq!(code, Some(ExitCode::FAILURE));
        assert!(text.contains("refused"), "{text}");
    }

    #[test]
    fn a_process_that_does_not_answer_is_given_up() {
        // Connects, for the backlog has room, and then nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let why = ask(silent.local_addr().unwrap(), Duration::from_millis(50)).unwrap_err();
        assert_eq!(why, "no answer within 50ms");
    }

    #[test]
    fn the_address_is_that_of_the_process() {
        let address = |args: &[&str]| {
            address::<Args>(
                std::iter::once("process").chain(args.iter().copied()).map(OsString::from).collect(),
            )
        };
        // Where the process listens on every address, it is asked on this machine's own.
        assert_eq!(address(&[]).unwrap().to_string(), "127.0.0.1:9464");
        assert_eq!(address(&["--admin", "[::]:1"]).unwrap().to_string(), "[::1]:1");
        assert_eq!(address(&["--admin", "10.0.0.7:1"]).unwrap().to_string(), "10.0.0.7:1");
    }

    #[test]
    fn bad_arguments_and_help() {
        let (code, text) = check(&["healthcheck", "--admin", "nowhere", "--nonsense"]);
        assert_eq!(code, Some(ExitCode::from(EXIT_CONFIG)));
        assert!(text.starts_with("process healthcheck: bad arguments\n"), "{text}");
        assert!(text.contains("\nprocess healthcheck: unexpected argument '--nonsense' found\n"), "{text}");
        let (code, text) = check(&["healthcheck", "--help"]);
        assert_eq!(code, Some(ExitCode::SUCCESS));
        assert!(text.contains("process healthcheck") && text.contains("ROOMCAST_ADMIN"), "{text}");
    }
}
