#!/usr/bin/env bash
# socket.io-client 2.5.0 against socket.io 4.8.4 with `allowEIO3` (npm), Node 20.20.2, seen 2026-11-28.
#
# The server may refuse an old client in two ways: the namespace does not exist, or a middleware calls `next(error)`.
# One would expect both as in socket.io 2, where the `error` event carries a string. Seen instead: the middleware's
# refusal is a string, that of an unknown namespace is an object, `{"message":"Invalid namespace"}`, from the same
# server to the same client. socket.io 2.5.1 itself sends strings for both.
#
# Why it matters: `allowEIO3` is there so that old clients need no change. One that prints or compares the error meets
# `[object Object]` for a wrong namespace only. Who writes a compatible server has to send both shapes, each in its
# place.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" \
  socket.io@4.8.4 socket.io-2@npm:socket.io@2.5.1 socket.io-client@2.5.0
cd "$folder"
timeout 50 node - <<'PROBE'
const { createServer } = require("node:http");
const io = require("socket.io-client");

async function refusals(make) {
  const http = createServer();
  const server = make(http);
  server.of("/closed").use((socket, next) => next(new Error("not today")));
  await new Promise((ready) => http.listen(0, "127.0.0.1", ready));
  const seen = [];
  for (const namespace of ["/closed", "/nowhere"]) {
    const client = io(`http://127.0.0.1:${http.address().port}${namespace}`, { forceNew: true });
    seen.push(await new Promise((told) => client.once("error", told)));
    client.close();
  }
  await server.close();
  return seen.map((error) => JSON.stringify(error)).join(" and ");
}

(async () => {
  const expected = [
    ["socket.io 4.8.4", (http) => new (require("socket.io").Server)(http, { allowEIO3: true }),
      '"not today" and {"message":"Invalid namespace"}'],
    ["socket.io 2.5.1", (http) => require("socket.io-2")(http), '"not today" and "Invalid namespace"'],
  ];
  let changed = false;
  for (const [name, make, known] of expected) {
    const seen = await refusals(make);
    changed ||= seen !== known;
    console.log(`${name}: ${seen}` + (seen === known ? "" : `   (was: ${known})`));
  }
  if (changed) console.log("this changed");
  process.exit(changed ? 1 : 0);
})();
PROBE
