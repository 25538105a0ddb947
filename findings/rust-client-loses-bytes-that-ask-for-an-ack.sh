#!/usr/bin/env bash
# rust_socketio 0.6.0 (crates.io) against socket.io 4.8.4 (npm), Node 20.20.2, seen 2026-11-28.
#
# A client sends an event with bytes in it. One would expect `emit_with_ack` to do what `emit` does, and to call back.
# Seen instead: with text both reach the server, with bytes only `emit` does. `emit_with_ack` sends them as a binary
# acknowledgement (packet type 6) in place of a binary event (5). The server takes that for the answer to a question it
# has not asked, and drops it; the client's call returns Ok, and its callback is never called, not even when its time is
# up.
#
# Why it matters: it is the reliable one of the two calls that loses the message, without an error on either side, and
# the server's operators see nothing at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" socket.io@4.8.4
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'MANIFEST'
[package]
name = "client"
version = "0.0.0"
edition = "2024"

[dependencies]
rust_socketio = "=0.6.0"

[profile.dev]
debug = false

[workspace]
MANIFEST
cat >"$folder/server.js" <<'SERVER'
const http = require("node:http").createServer();
new (require("socket.io").Server)(http).on("connection", (socket) => {
  // The client reads here what has arrived: the name of an event and whether it asks for an acknowledgement.
  socket.onAny((event, ...args) => {
    const acknowledge = args.pop();
    if (typeof acknowledge === "function") acknowledge("received");
    console.log(event);
  });
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
process.stdin.resume().on("end", () => process.exit());
SERVER
cat >"$folder/src/main.rs" <<'CLIENT'
use rust_socketio::{ClientBuilder, Payload};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio, exit},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

fn main() {
    let mut server = Command::new("node");
    server.arg("server.js").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let (lines, said) = channel();
    let output = BufReader::new(server.stdout.take().unwrap());
    thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let port = said.recv_timeout(Duration::from_secs(10)).unwrap();

    let (open, opened) = channel();
    let client = ClientBuilder::new(format!("http://127.0.0.1:{port}"));
    let client = client.on("open", move |_, _| open.send(()).unwrap_or_default()).connect().unwrap();
    opened.recv_timeout(Duration::from_secs(10)).unwrap();
    let text = || Payload::Text(vec!["hello".into()]);
    let bytes = || Payload::Binary(vec![1, 2, 3].into());
    let mut changed = false;
    for (name, payload, ask, known) in [
        ("text", text(), false, "received"),
        ("text", text(), true, "received and acknowledged"),
        ("bytes", bytes(), false, "received"),
        ("bytes", bytes(), true, "lost"),
    ] {
        let (acknowledge, acknowledged) = channel();
        if ask {
            let called = move |_: Payload, _| acknowledge.send(()).unwrap_or_default();
            client.emit_with_ack(name, payload, Duration::from_secs(3), called).unwrap();
        } else {
            client.emit(name, payload).unwrap();
        }
        let received = said.recv_timeout(Duration::from_secs(5)).is_ok();
        let answered = ask && acknowledged.recv_timeout(Duration::from_secs(3)).is_ok();
        let seen = match (received, answered) {
            (true, true) => "received and acknowledged",
            (true, false) => "received",
            (false, true) => "acknowledged",
            (false, false) => "lost",
        };
        changed |= seen != known;
        let call = if ask { "emit_with_ack" } else { "emit" };
        let was = if seen == known { String::new() } else { format!("   (was: {known})") };
        println!("{name}, {call}: Ok, {seen}{was}");
    }
    drop(server.stdin.take());
    server.wait().unwrap();
    if changed {
        println!("this changed");
    }
    exit(i32::from(changed));
}
CLIENT
# The build takes one to four minutes; the probe takes 10 s.
CARGO_TARGET_DIR=$folder/target nice -n 19 cargo build --quiet --manifest-path "$folder/Cargo.toml"
cd "$folder"
timeout 50 "$folder/target/debug/client"
