"""An official python-socketio client, driven by lines of JSON: requests on stdin, answers and events on stdout.

{"op": "connect", "url", "auth", "namespace", "transports"}   -> {"re": n, "ok": true} or {"re": n, "error"}
{"op": "emit", "event", "data"}                               -> {"re": n, "ok": acknowledgement}
{"op": "disconnect"}                                          -> {"re": n, "ok": true}
Every request carries {"re": n}; every server event is written as {"event", "payload"}.
"""

import json
import sys
import threading

import socketio

ACK_TIMEOUT = 15
_out = threading.Lock()


def write(line):
    """Writes one line of JSON at a time: the client's callbacks run on its own threads."""
    with _out:
        print(json.dumps(line), flush=True)


def serve():
    """Reads requests until stdin ends."""
    client = socketio.Client()
    namespace = "/"
    for raw in sys.stdin:
        request = json.loads(raw)
        re, op = request["re"], request["op"]
        try:
            if op == "connect":
                namespace = request.get("namespace") or "/"
                client.on("*", lambda event, *data: write({"event": event, "payload": next(iter(data), None)}),
                          namespace=namespace)
                client.on("connect_error", lambda data=None: write({"event": "connect_error", "payload": data}),
                          namespace=namespace)
                client.connect(request["url"], auth=request["auth"], namespaces=[namespace],
                               transports=request.get("transports"), wait_timeout=ACK_TIMEOUT)
                answer = True
            elif op == "emit":
                answer = client.call(request["event"], request["data"], namespace=namespace, timeout=ACK_TIMEOUT)
            elif op == "disconnect":
                client.disconnect()
                answer = True
            else:
                raise ValueError(f"no such op: {op}")
            write({"re": re, "ok": answer})
        except Exception as error:  # the test decides whether the error is expected
            write({"re": re, "error": f"{type(error).__name__}: {error}"})
    if client.connected:
        client.disconnect()


if __name__ == "__main__":
    serve()
