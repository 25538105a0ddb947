"""One python-socketio client: joins the room at each connect and does what is said there (see ../run.mjs). KIND is
Client, AsyncClient or SimpleClient."""

import asyncio
import json
import os
import re
import sys
import threading

import socketio

URL, NAME, ROOM, KIND = (os.environ[name] for name in ("URL", "NAME", "ROOM", "KIND"))
AUTH = {"username": NAME, "resume": os.environ["RESUME"]}
TRANSPORTS = os.environ.get("TRANSPORTS")
CONNECT = {"auth": AUTH, "transports": TRANSPORTS.split(",") if TRANSPORTS else None}


# Its threads print whole lines.
OUTPUT = threading.Lock()


def show(**line):
    with OUTPUT:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def payload(text, with_bytes):
    return {"room": ROOM, "text": text, **({"attachment": bytes(200)} if with_bytes else {})}


def asked(message):
    """What a message asks for: the text to send, and whether with bytes."""
    if message["user"] == NAME:
        return None
    show(event="message", text=message["text"])
    found = re.match(r"(say|bytes) (.*)", message["text"])
    return found and (found[2], found[1] == "bytes")


def acked(text, ack):
    show(event="acked", text=text, status=ack.get("status"), code=ack.get("code"))


def handlers(client):
    """Those of Client; AsyncClient calls plain functions, too."""
    client.on("disconnect", lambda *why: show(event="disconnect", why=str(why)))
    client.on("connect_error", lambda why=None: show(event="refused", why=str(why)))
    client.on("welcome", lambda welcome: show(event="welcome", node=welcome["node"]))


def threaded():
    client = socketio.Client()
    handlers(client)

    @client.event
    def connect():
        show(event="connect", transport=client.transport())
        client.emit("join", {"room": ROOM}, callback=lambda ack: show(event="joined", status=ack["status"]))

    @client.event
    def message(message):
        if wanted := asked(message):
            text = wanted[0]
            client.emit("send_message", payload(*wanted), callback=lambda ack: acked(text, ack))

    client.connect(URL, **CONNECT)
    client.wait()


async def asynchronous():
    client = socketio.AsyncClient()
    handlers(client)

    @client.event
    async def connect():
        show(event="connect", transport=client.transport())
        await client.emit("join", {"room": ROOM}, callback=lambda ack: show(event="joined", status=ack["status"]))

    @client.event
    async def message(message):
        if wanted := asked(message):
            text = wanted[0]
            await client.emit("send_message", payload(*wanted), callback=lambda ack: acked(text, ack))

    await client.connect(URL, **CONNECT)
    await client.wait()


def simple():
    """It has no handler of a reconnect: the `welcome` of a connection is the place to join."""
    client = socketio.SimpleClient()
    client.connect(URL, **CONNECT)
    while True:
        try:
            event, *args = client.receive(timeout=1)
        except socketio.exceptions.TimeoutError:
            continue
        if event == "welcome":
            show(event="welcome", node=args[0]["node"])
            show(event="joined", status=client.call("join", {"room": ROOM}, timeout=10)["status"])
        elif event == "message" and (wanted := asked(args[0])):
            acked(wanted[0], client.call("send_message", payload(*wanted), timeout=10))


match KIND:
    case "Client":
        threaded()
    case "AsyncClient":
        asyncio.run(asynchronous())
    case "SimpleClient":
        simple()
