"""What the programs themselves say: their settings (--help), what answers on their listeners, their live metrics.
Asked by rules/probes.py, env.py, grace.py and metrics.py; starts real debug binaries and a Redis on free ports."""

import atexit
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 20
# Children die with this process even where it is killed itself.
_WITH_US = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
_children = []


def folder():
    return Path(os.environ.get("ROOMCAST_BIN_DIR", ROOT / "target" / "debug"))


def _file(program):
    path = folder() / f"roomcast-{program}"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: cargo build --bins, or set ROOMCAST_BIN_DIR")
    return path


@dataclass(frozen=True)
class Setting:
    """One flag and its variable."""

    flag: str
    env: str
    default: str | None


@functools.cache
def settings(program):
    """Every setting of a program by its variable, as --help lists it."""
    said = subprocess.run([_file(program), "--help"], capture_output=True, text=True, check=True).stdout
    found = {}
    # A setting begins with its flag, and goes on in lines that are indented more.
    for part in re.split(r"\n(?: {6}|  -\w, )(?=--)", said):
        text = " ".join(part.split())
        env, default = re.search(r"\[env: (\w+)", text), re.search(r"\[default: ([^\]]*)\]", text)
        if env:
            found[env[1]] = Setting(text.split()[0], env[1], default and default[1])
    return found


def effective(container, variable):
    """The value a container of ours runs with: the manifest's, or the program's own default, or None."""
    setting = settings(container.program).get(variable)
    if variable in container.env:
        return container.env[variable]
    return setting.default if setting else None


def port_of(container, variable):
    """The number of a listener such as ROOMCAST_ADMIN, or None where it is off."""
    address = effective(container, variable)
    return int(address.rsplit(":", 1)[1]) if address and ":" in address else None


@dataclass
class Running:
    """A started program: where it answers, or why it refused to start."""

    process: subprocess.Popen
    public: str | None = None
    admin: str | None = None
    refused: str | None = None

    def get(self, path, base=None):
        """(status, text) of a GET on the admin listener."""
        try:
            with urllib.request.urlopen((base or self.admin) + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ready(self):
        """Whether it gets ready in time."""
        until = time.monotonic() + TIMEOUT
        while self.get("/readyz")[0] != 200:
            if time.monotonic() > until or self.process.poll() is not None:
                return False
            time.sleep(0.05)
        return True


def spawn(command, **more):
    """A child that never outlives us."""
    if not _children:
        # A terminated check ends its children too.
        signal.signal(signal.SIGTERM, lambda *_: exit(143))
    child = subprocess.Popen([*_WITH_US, *map(str, command)], stdin=subprocess.DEVNULL, **more)
    _children.append(child)
    return child


@atexit.register
def end():
    for child in _children:
        child.kill()
    for child in _children:
        child.wait()
    _children.clear()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@functools.cache
def redis():
    """The address of a Redis of our own, with nothing on disk."""
    for _ in range(5):
        port = free_port()
        options = ["--bind", "127.0.0.1", "--save", "", "--dir", tempfile.gettempdir()]
        server = spawn(["redis-server", "--port", port, *options], stdout=subprocess.DEVNULL)
        # Somebody else may have taken the port in the meantime; then it ends.
        while server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return f"127.0.0.1:{port}"
            except OSError:
                time.sleep(0.02)
    raise SystemExit("redis-server does not start")


def run(program, env):
    """Starts a program with a container's settings, but on loopback, on free ports, with our own Redis.
    The same settings are the same process."""
    ours = {name: value for name, value in env.items() if name.startswith("ROOMCAST_")}
    for name in ("ROOMCAST_LISTEN", "ROOMCAST_ADMIN", "ROOMCAST_PEER_LISTEN"):
        if name in ours or name != "ROOMCAST_PEER_LISTEN":
            ours[name] = "127.0.0.1:0"
    if "ROOMCAST_OTLP" in ours:
        ours["ROOMCAST_OTLP"] = re.sub(r"://[^/]+", "://127.0.0.1:9", ours["ROOMCAST_OTLP"])
    if "ROOMCAST_REDIS" in ours:
        # What the user brings is taken for the simplest of its kind.
        scheme = re.match(r"[\w-]+://", ours["ROOMCAST_REDIS"])
        ours["ROOMCAST_REDIS"] = (scheme[0] if scheme else "redis://") + redis()
    return _run(program, tuple(sorted(ours.items())))


@functools.cache
def _run(program, env):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ROOMCAST_")}
    process = spawn(
        [_file(program)],
        env={**inherited, **dict(env)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running, said = Running(process), []
    # It prints both addresses at start, or what is wrong with its settings.
    for line in process.stdout:
        said.append(line.rstrip())
        found = re.match(r"(listening|admin) on (http://\S+)", line)
        if found and found[1] == "listening":
            running.public = found[2]
        elif found:
            running.admin = found[2]
        if running.public and running.admin:
            _drain(process)
            return running
    running.refused = " ".join(said[-6:])
    return running


def _drain(process):
    """Reads and drops its log from here on: a full pipe would stop it."""
    threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()


@functools.cache
def live_metrics(program):
    """The names in a running program's /metrics, each with its kind."""
    running = run(program, {"ROOMCAST_REDIS": "redis://ours"})
    if running.refused or not running.ready():
        raise SystemExit(f"roomcast-{program} does not get ready: {running.refused}")
    status, text = running.get("/metrics")
    if status != 200:
        raise SystemExit(f"roomcast-{program} answers /metrics with {status}")
    return dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.M))


@functools.cache
def inventory():
    """The metrics of docs/METRICS.md, which is generated from the programs: name -> (kind, whether it is there from
    the start; a label whose values are not listed has none until something happens)."""
    found = {}
    for line in (ROOT / "docs" / "METRICS.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`"):
            found[cells[0].strip("`")] = (cells[1], "" not in re.findall(r"`\w+`(:?)", cells[2]))
    return found
