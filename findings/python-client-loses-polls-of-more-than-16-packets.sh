#!/usr/bin/env bash
# python-socketio 5.18.1 on python-engineio 4.15.1 (PyPI) against socket.io 4.8.4 (npm), Node 20.20.2, seen 2026-11-28.
#
# A server emits a burst to a Python client that is on long-polling. The reference server puts all that waits into the
# answer of one poll. One would expect the client to take it: neither the protocol nor the `maxPayload` of the handshake
# (1,000,000 bytes) limits the number of packets. Seen instead: an answer of 16 packets arrives whole, one of 17 is
# thrown away whole, and the client leaves with `transport error`. The limit is
# `engineio.payload.Payload.max_decode_packets`, and raising it in the client helps.
#
# Why it matters: 17 short messages at once are an ordinary burst in a chat, and the history after a join even more so.
# Tests on WebSocket never meet this; a user behind a proxy that refuses WebSocket is thrown out again and again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" socket.io@4.8.4
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder/python" \
  python-socketio==5.18.1 python-engineio==4.15.1 requests==2.32.5
cat >"$folder/server.js" <<'SERVER'
const http = require("node:http").createServer();
new (require("socket.io").Server)(http).on("connection", (socket) => {
  // The pending poll takes the first packet alone, so that all the rest waits for the next one.
  socket.on("burst", function burst(count) {
    if (!socket.conn.transport.writable) return setImmediate(burst, count);
    for (let number = 0; number <= count; number += 1) socket.emit("message", number);
  });
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
process.stdin.resume().on("end", () => process.exit());
SERVER
cat >"$folder/client.py" <<'CLIENT'
import os, subprocess, sys, threading
import engineio.payload, socketio

server = subprocess.Popen(["node", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
try:
    url = f"http://127.0.0.1:{int(server.stdout.readline())}"

    def burst(count):
        """What a polling client has received, and why it was disconnected, if it was."""
        client = socketio.Client(reconnection=False)
        received, reasons, over = [], [], threading.Event()

        @client.on("message")
        def message(number):
            if number > 0:
                received.append(number)
            if len(received) == count:
                over.set()

        @client.on("disconnect")
        def disconnect(reason):
            reasons.append(reason)
            over.set()

        client.connect(url, transports=["polling"])
        client.emit("burst", count)
        over.wait(10)
        seen = f"{len(received)} received, {reasons[0] if reasons else 'connected'}"
        client.disconnect()
        return seen

    known = {16: "16 received, connected", 17: "0 received, transport error"}
    wrong = 0
    for raised in (False, True):
        if raised:
            engineio.payload.Payload.max_decode_packets = 1000
            known = {17: "17 received, connected"}
        for count, expected in known.items():
            seen = burst(count)
            wrong += seen != expected
            limit = engineio.payload.Payload.max_decode_packets
            print(f"limit {limit}: burst of {count}: {seen}" + ("" if seen == expected else f"   (was: {expected})"))
    raise SystemExit("this changed" if wrong else 0)
finally:
    server.stdin.close()
    server.wait()
CLIENT
PYTHONPATH=$folder/python timeout 50 python3 "$folder/client.py" "$folder/server.js"
