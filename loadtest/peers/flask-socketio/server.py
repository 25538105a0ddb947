"""Flask-SocketIO on gevent with Redis as its message queue, set up as its documentation shows."""

from gevent import monkey

monkey.patch_all()  # before every other import, as the documentation asks where a message queue is used

import argparse
import socket
import time

from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room
from gevent.pywsgi import WSGIServer
from geventwebsocket.handler import WebSocketHandler

flags = argparse.ArgumentParser()
flags.add_argument("--port", type=int, required=True)
flags.add_argument("--redis", required=True)
flags = flags.parse_args()

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent", message_queue=flags.redis, transports=["websocket"])


@socketio.on("join")
def join(data):
    join_room(data["room"])
    return {"status": "ok"}


@socketio.on("send_message")
def send_message(data):
    message = {"room": data["room"], "text": data["text"], "user": request.sid, "ts": int(time.time() * 1000)}
    emit("message", message, to=data["room"])
    return {"status": "ok"}


# What socketio.run(app) does on gevent, in two steps, so that readiness can be told.
server = WSGIServer(("127.0.0.1", flags.port), app, handler_class=WebSocketHandler, log=None)
server.start()
# As gunicorn does; accepted sockets inherit it. Without it, messages would wait for acknowledgements of TCP.
server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print(f"listening on 127.0.0.1:{flags.port}", flush=True)
server.serve_forever()
