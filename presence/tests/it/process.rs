//! The binary, as a process.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::{Redis, TIMEOUT, get, until};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast-presence"));
    command.args(args).env_clear().kill_on_drop(true).stdin(Stdio::null());
    command
}

async fn fails(command: &mut Command) -> (Option<i32>, String) {
    let output = timeout(TIMEOUT, command.output()).await.expect("it ends in time").unwrap();
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A running process, the address of its directory and of its admin listener.
async fn start(redis: &Redis) -> (Child, String, String) {
    let mut command = command(&["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--log=warn"]);
    let mut child = command
        .env("ROOMCAST_REDIS", redis.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = async |prefix: &str| {
        let line = timeout(TIMEOUT, lines.next_line()).await.expect("a line in time").unwrap().unwrap();
        line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    let (addr, admin) = (line("listening on http://").await, line("admin on http://").await);
    (child, addr, admin)
}

#[tokio::test]
async fn without_redis_it_exits_with_every_mistake() {
    let (code, text) = fails(&mut command(&[])).await;
    assert_eq!(code, Some(64));
    assert!(text.contains("--redis (or ROOMCAST_REDIS) is required"), "{text}");
    let (code, text) =
        fails(command(&["--listen=nowhere", "--sweep-every=1h"]).env("ROOMCAST_LEASE", "x")).await;
    assert_eq!(code, Some(64));
    for flag in ["--listen", "--redis", "--lease"] {
        assert!(text.lines().any(|line| line.starts_with(flag)), "{text}");
    }
    let (code, text) = fails(&mut command(&["--redis=http://user:secret@host"])).await;
    assert_eq!(code, Some(64));
    assert!(
        text.contains("--redis (or ROOMCAST_REDIS): must start with redis://") && !text.contains("secret"),
        "{text}"
    );
}

#[tokio::test]
async fn help_shows_no_secret() {
    let output = command(&["--help"]).env("ROOMCAST_REDIS", "redis://:secret@host").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("--redis <URL>") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn an_address_in_use_is_reported() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (flag, other) in [("--listen", "--admin=127.0.0.1:0"), ("--admin", "--listen=127.0.0.1:0")] {
        let arg = format!("{flag}={addr}");
        let (code, text) = fails(&mut command(&[&arg, other, "--redis=redis://127.0.0.1:1"])).await;
        assert_eq!(code, Some(1));
        assert!(text.contains(&format!("cannot listen on {addr}")), "{text}");
    }
}

#[tokio::test]
async fn sigterm_ends_it_in_time_with_open_connections() {
    let redis = Redis::start();
    let (mut child, addr, admin) = start(&redis).await;
    let (addr, admin) = (addr.parse().unwrap(), admin.parse().unwrap());
    until("it is ready", async || (get(admin, "/readyz").await.status == 200).then_some(())).await;
    assert_eq!(get(addr, "/nodes").await.status, 200);
    // One without a request, one within a request, one kept alive after a request.
    let _silent = TcpStream::connect(addr).await.unwrap();
    let mut half = TcpStream::connect(addr).await.unwrap();
    half.write_all(b"GET /nodes HTTP/1.1\r\nho").await.unwrap();
    let mut idle = TcpStream::connect(addr).await.unwrap();
    idle.write_all(b"GET /nodes HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);

    let begin = Instant::now();
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let status = timeout(TIMEOUT, child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}
