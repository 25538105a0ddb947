#!/usr/bin/env bash
# socket.io-client 4.8.4 against socket.io 4.8.4 (npm), Node 20.20.2, seen 2026-11-28.
#
# A client is made with `retries: 3` and nothing else. One would expect an event that the server does not acknowledge to
# be sent up to four times and then to be given up, so that the next one goes out. Seen instead: while the connection
# lives there is no retry at all, and every later event waits behind the first without an error. The option works only
# beside `ackTimeout`; then the same server receives the first event four times, and the second after it.
#
# Why it matters: `retries` is what one sets to lose nothing. One handler on the server that forgets its
# acknowledgement, or one event that the server does not know, then silences that client until its connection breaks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" socket.io@4.8.4 socket.io-client@4.8.4
cd "$folder"
timeout 50 node - <<'PROBE'
const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { io } = require("socket.io-client");

async function run(options, seconds) {
  const http = createServer();
  const server = new Server(http);
  const received = [];
  server.on("connection", (socket) => {
    socket.on("unanswered", () => received.push("unanswered"));
    socket.on("answered", (ack) => { received.push("answered"); ack(); });
  });
  await new Promise((ready) => http.listen(0, "127.0.0.1", ready));
  const client = io(`http://127.0.0.1:${http.address().port}`, options);
  await new Promise((connected) => client.once("connect", connected));
  client.emit("unanswered");
  client.emit("answered");
  await new Promise((later) => setTimeout(later, seconds * 1000));
  const outcome = client.connected ? received.join(" ") : "disconnected";
  client.disconnect();
  await server.close();
  return outcome;
}

(async () => {
  const expected = [
    [{ retries: 3 }, 10, "unanswered"],
    [{ retries: 3, ackTimeout: 500 }, 4, "unanswered unanswered unanswered unanswered answered"],
  ];
  let changed = false;
  for (const [options, seconds, known] of expected) {
    const name = JSON.stringify(options);
    const seen = await run(options, seconds);
    changed ||= seen !== known;
    console.log(`${name}, after ${seconds} s the server has received: ${seen}` +
      (seen === known ? "" : `   (was: ${known})`));
  }
  if (changed) console.log("this changed");
  process.exit(changed ? 1 : 0);
})();
PROBE
