#!/usr/bin/env bash
# socket.io-client 4.8.4 against socket.io 4.8.4 (npm), Node 20.20.2, seen 2026-11-28.
#
# A client joins its room in its `connect` handler, since the server has forgotten the rooms of a connection that broke.
# What it emits while it is away is buffered. One would expect the handler to run first and the buffer to follow, for
# only then does the server know the room again. Seen instead: on the first connection and on every reconnection the
# buffered events leave before the `connect` handler is called. `retries` keeps the same order.
#
# Why it matters: a server that checks membership, or a login that is an event, refuses everything that was written
# offline, and does so with an acknowledgement, so that even a client with `retries` takes it for delivered.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" socket.io@4.8.4 socket.io-client@4.8.4
cd "$folder"
timeout 50 node - <<'PROBE'
const { createServer } = require("node:http");
const { once } = require("node:events");
const { Server } = require("socket.io");
const { io } = require("socket.io-client");

async function run(options) {
  const http = createServer();
  const server = new Server(http);
  const connections = [];
  server.on("connection", (socket) => {
    const received = [];
    connections.push(received);
    socket.onAny((event, ...args) => {
      received.push(event);
      args.pop()();
      if (received.length === 2) server.emit("both");
    });
  });
  await new Promise((ready) => http.listen(0, "127.0.0.1", ready));
  const client = io(`http://127.0.0.1:${http.address().port}`, { reconnectionDelay: 100, ...options });
  client.on("connect", () => client.emit("join", () => {}));
  let both = new Promise((done) => client.once("both", done));
  client.emit("message", () => {});
  await both;
  const closed = new Promise((done) => client.once("disconnect", done));
  client.io.engine.close();
  await closed;
  both = new Promise((done) => client.once("both", done));
  client.emit("message", () => {});
  client.io.connect();
  await both;
  client.disconnect();
  await server.close();
  return connections.map((received) => received.join(", ")).join("; then, reconnected: ");
}

(async () => {
  const known = "message, join; then, reconnected: message, join";
  let changed = false;
  for (const options of [{}, { retries: 3, ackTimeout: 2000 }]) {
    const name = JSON.stringify(options);
    const seen = await run(options);
    changed ||= seen !== known;
    console.log(`${name}: ${seen}` + (seen === known ? "" : `   (was: ${known})`));
  }
  if (changed) console.log("this changed");
  process.exit(changed ? 1 : 0);
})();
PROBE
