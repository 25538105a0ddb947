#!/usr/bin/env bash
# socket.io-client 4.8.4 with socket.io-msgpack-parser 3.0.2 against socket.io 4.8.4 (npm), Node 20.20.2, seen
# 2026-11-28.
#
# A client that speaks another parser than the server cannot connect. One would expect `connect_error` on each attempt
# and a delay that grows from 1 s to 5 s between them, as where the server is not there at all. Seen instead: no
# `connect_error` at all, and an attempt about every second without end. The delay is reset when the transport opens,
# before the namespace has answered, and a transport that then closes is an ordinary disconnect, not an error.
#
# Why it matters: a half-done change of the parser, or anything else that closes a connection between its opening and
# its CONNECT answer, is met by all clients at once, each at full speed, with nothing in their error handlers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" \
  socket.io@4.8.4 socket.io-client@4.8.4 socket.io-msgpack-parser@3.0.2
cd "$folder"
timeout 55 node - <<'PROBE'
const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { io } = require("socket.io-client");
const parser = require("socket.io-msgpack-parser");

const listen = async (http) => {
  await new Promise((ready) => http.listen(0, "127.0.0.1", ready));
  return http.address().port;
};

// How often a client tries within 18 s, and what it tells its application.
async function attempts(port, options) {
  // No randomization, so that the delays are 1, 2, 4, 5, 5 s where they grow.
  const client = io(`http://127.0.0.1:${port}`, { randomizationFactor: 0, ...options });
  let [tries, errors] = [0, 0];
  client.io.on("reconnect_attempt", () => { tries += 1; });
  client.on("connect_error", () => { errors += 1; });
  await new Promise((later) => setTimeout(later, 18_000));
  client.disconnect();
  return { tries, errors };
}

(async () => {
  const http = createServer();
  const server = new Server(http);
  const port = await listen(http);
  const free = createServer();
  const nobody = await listen(free);
  await new Promise((closed) => free.close(closed));

  const [wrong, absent] = await Promise.all([
    attempts(port, { parser, transports: ["websocket"] }),
    attempts(nobody, { transports: ["websocket"] }),
  ]);
  await server.close();
  console.log(`within 18 s, another parser: ${wrong.tries} attempts, ${wrong.errors} connect_error`);
  console.log(`within 18 s, no server:      ${absent.tries} attempts, ${absent.errors} connect_error`);
  const same = wrong.tries >= 12 && wrong.errors === 0 && absent.tries <= 6 && absent.errors >= absent.tries;
  if (!same) console.log("this changed");
  process.exit(same ? 0 : 1);
})();
PROBE
