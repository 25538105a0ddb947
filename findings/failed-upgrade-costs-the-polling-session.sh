#!/usr/bin/env bash
# socketioxide 0.18.9 on engineioxide 0.17.9 (crates.io), with axum 0.8.9, beside socket.io 4.8.4 and socket.io-client
# 4.8.4 (npm), Node 20.20.2, seen 2026-11-28.
#
# A client is on long-polling, tries to upgrade, and the WebSocket opens but closes again before the probe arrives, as
# behind a proxy that passes the upgrade and then refuses the frames. One would expect the attempt to cost nothing: the
# client goes on polling, and the reference server answers it. Seen instead: socketioxide ends the session with the
# attempt. A stock client with its default transports loses each of its sessions to its own attempt to upgrade, about
# once a second, often before it is told `connect`, while on socket.io it connects once and stays.
#
# Why it matters: long-polling is there for users behind exactly such proxies. They are the ones that are kept out,
# unless their client is told `transports: ["polling"]` or the server refuses upgrades altogether.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" socket.io@4.8.4 socket.io-client@4.8.4
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'MANIFEST'
[package]
name = "server"
edition = "2024"

[dependencies]
axum = { version = "=0.8.9", default-features = false, features = ["http1", "tokio"] }
engineioxide = "=0.17.9"
socketioxide = "=0.18.9"
tokio = { version = "1", features = ["macros", "net", "rt"] }

[profile.dev]
debug = false

[workspace]
MANIFEST
cat >"$folder/src/main.rs" <<'SERVER'
use socketioxide::{SocketIo, extract::SocketRef};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |_: SocketRef| {});
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    axum::serve(listener, axum::Router::new().layer(layer)).await.unwrap();
}
SERVER
# The build takes a minute or two; the probe takes 16 s.
CARGO_TARGET_DIR=$folder/target nice -n 19 cargo build --quiet --manifest-path "$folder/Cargo.toml"
cd "$folder"
timeout 50 node - "$folder/target/debug/server" <<'PROBE'
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { createServer } = require("node:http");
const net = require("node:net");
const { Server } = require("socket.io");
const { io } = require("socket.io-client");

const listen = async (server) => {
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return server.address().port;
};

// Passes everything on, upgrades included, and closes a WebSocket at the first frame from the client.
const proxy = (port) => net.createServer((client) => {
  const server = net.connect(port, "127.0.0.1");
  let upgraded = false;
  client.on("data", (data) => {
    if (upgraded) return client.destroy();
    upgraded = /^upgrade: websocket/im.test(data.toString("latin1"));
    server.write(data);
  });
  server.on("data", (data) => client.write(data));
  client.on("error", () => {}).on("close", () => server.destroy());
  server.on("error", () => {}).on("close", () => client.destroy());
});

async function run(port) {
  const client = io(`http://127.0.0.1:${await listen(proxy(port))}`);
  let [connects, losses] = [0, 0];
  client.on("connect", () => { connects += 1; });
  client.io.on("close", () => { losses += 1; });
  await new Promise((later) => setTimeout(later, 8_000));
  const seen = { connects, losses };
  client.disconnect();
  return seen;
}

(async () => {
  const http = createServer();
  new Server(http);
  const rust = spawn(process.argv[2], { stdio: ["ignore", "pipe", "inherit"] });
  process.once("SIGTERM", () => process.exit(1));
  process.on("exit", () => rust.kill());
  const [port] = await once(rust.stdout, "data");
  const reference = await run(await listen(http));
  const seen = await run(Number(port));
  console.log(`socket.io:    after 8 s ${JSON.stringify(reference)}`);
  console.log(`socketioxide: after 8 s ${JSON.stringify(seen)}`);
  const same = reference.connects === 1 && reference.losses === 0 && seen.losses >= 3;
  if (!same) console.log("this changed");
  process.exit(same ? 0 : 1);
})();
PROBE
