#!/usr/bin/env bash
# python-socketio 5.18.1 on python-engineio 4.15.1 (PyPI) against socket.io 4.8.4 (npm), Node 20.20.2, seen 2026-11-28.
#
# A `socketio.SimpleClient` waits in `receive()`, and the server disconnects it for good (`socket.disconnect()`). One
# would expect the waiting call to raise `DisconnectedError` at once, as the next call does. Seen instead: nothing wakes
# it. With a timeout it raises `TimeoutError` when that has passed, which looks like a quiet room; without one, the
# default, it waits for ever, though `connected` is False.
#
# Why it matters: `receive()` in a loop is how a bot is written. After a kick, a ban or an expired session such a bot
# neither ends nor comes back, and nothing is logged.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" socket.io@4.8.4
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder/python" \
  python-socketio==5.18.1 python-engineio==4.15.1 requests==2.32.5 websocket-client==1.9.0
cat >"$folder/server.js" <<'SERVER'
const http = require("node:http").createServer();
new (require("socket.io").Server)(http).on("connection", (socket) => {
  socket.on("end", () => setTimeout(() => socket.disconnect(), 500));
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
process.stdin.resume().on("end", () => process.exit());
SERVER
cat >"$folder/client.py" <<'CLIENT'
import os, subprocess, sys, threading, time
import socketio

server = subprocess.Popen(["node", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
wrong = 0


def report(name, seen, expected):
    global wrong
    wrong += seen != expected
    print(f"{name}: {seen}" + ("" if seen == expected else f"   (was: {expected})"))


def outcome(call):
    began = time.monotonic()
    try:
        call()
        result = "returned"
    except Exception as error:
        result = type(error).__name__
    return f"{result} after {round(time.monotonic() - began)} s"


try:
    url = f"http://127.0.0.1:{int(server.stdout.readline())}"

    def ended():
        client = socketio.SimpleClient()
        client.connect(url)
        client.emit("end")
        return client

    client = ended()
    seen = outcome(lambda: client.receive(timeout=3))
    report("receive(timeout=3), disconnected after 0.5 s", seen, "TimeoutError after 3 s")
    seen = outcome(lambda: client.receive(timeout=3))
    report("the next receive(timeout=3)", seen, "DisconnectedError after 0 s")

    client, seen = ended(), []
    waiting = threading.Thread(target=lambda: seen.append(outcome(client.receive)), daemon=True)
    waiting.start()
    waiting.join(8)
    seen = seen[0] if seen else f"still waiting after 8 s, connected is {client.connected}"
    report("receive(), disconnected after 0.5 s", seen, "still waiting after 8 s, connected is False")
    print("this changed" if wrong else "", end="", flush=True)
finally:
    server.stdin.close()
    server.wait()
os._exit(1 if wrong else 0)  # the waiting thread and the client's own ones do not end by themselves
CLIENT
PYTHONPATH=$folder/python timeout 50 python3 "$folder/client.py" "$folder/server.js"
