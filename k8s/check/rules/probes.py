"""The ports that containers declare are those the program listens on, and probes ask paths that really answer:
the program is started with the manifest's own settings and asked. Run by main.py on every rendering."""

import binaries

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
MEANINGS = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
# How late Redis may come, in seconds, before pods are restarted for it.
LATE_REDIS = 120
LISTENERS = {"http": "ROOMCAST_LISTEN", "admin": "ROOMCAST_ADMIN", "peer": "ROOMCAST_PEER_LISTEN"}


def check(rendering):
    for container in rendering.ours:
        yield from _ports(rendering, container)
        yield from _probes(rendering, container)
    for container in rendering.containers:
        yield from _named(rendering, container)
    for workload in rendering.workloads:
        yield from _scraped(rendering, workload)


def _ports(rendering, container):
    known = binaries.settings(container.program)
    for name, variable in LISTENERS.items():
        listens = binaries.port_of(container, variable)
        declared = next((p["containerPort"] for p in container.ports if p.get("name") == name), None)
        if listens != declared and (variable in known or declared):
            yield rendering.finding(
                container,
                f"declares port {name} as {declared}, but the program listens on {listens}",
                f"make ports and {variable} agree",
            )
        address = binaries.effective(container, variable) or ""
        if address.startswith(("127.", "localhost", "[::1]")):
            yield rendering.finding(
                container,
                f"{variable} is {address}, which nobody outside of the pod reaches",
                f"set {variable} to 0.0.0.0:{listens}",
            )


def _probes(rendering, container):
    running = binaries.run(container.program, container.env)
    if running.refused:
        return  # rules/env.py says so
    for name in PROBES:
        probe = container.spec.get(name)
        if not probe:
            yield rendering.finding(
                container, f"has no {name}", f"add one that asks {MEANINGS[name]} on port admin"
            )
            continue
        asks = probe.get("httpGet")
        if not asks:
            yield rendering.finding(
                container, f"its {name} is no httpGet", f"let it GET {MEANINGS[name]} on port admin"
            )
            continue
        port = _number(container, asks["port"])
        if port is None or port != binaries.port_of(container, "ROOMCAST_ADMIN"):
            yield rendering.finding(
                container,
                f"its {name} asks port {asks['port']}, where health is not served",
                "ask port admin",
            )
        elif asks["path"] != MEANINGS[name]:
            yield rendering.finding(
                container, f"its {name} asks {asks['path']}", f"ask {MEANINGS[name]}, which has that meaning"
            )
        elif asks["path"] != "/livez" and not running.ready():
            yield rendering.finding(
                container, "never gets ready with these settings", "run it by hand with them"
            )
        else:
            status, _ = running.get(asks["path"])
            if status != 200:
                yield rendering.finding(
                    container,
                    f"its {name} asks {asks['path']}, which the program answers with {status}",
                    "ask a path that the admin listener serves",
                )


def _named(rendering, container):
    """Probes and hooks of every program ask ports that their container declares."""
    hooks = container.spec.get("lifecycle") or {}
    for where, asks in [*((name, container.spec.get(name)) for name in PROBES), *hooks.items()]:
        for kind in ("httpGet", "tcpSocket"):
            port = ((asks or {}).get(kind) or {}).get("port")
            if port is not None and _number(container, port) is None:
                yield rendering.finding(
                    container,
                    f"its {where} asks port {port}, which it does not declare",
                    "name one that it does",
                )
    startup = container.spec.get("startupProbe")
    if container.program and startup:
        window = startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3)
        if window < LATE_REDIS:
            yield rendering.finding(
                container,
                f"its startupProbe gives up after {window} s, and Redis may come later than that",
                f"let periodSeconds * failureThreshold be {LATE_REDIS} or more",
            )


def _scraped(rendering, workload):
    """The annotations that a Prometheus without operator goes by."""
    notes = workload.template["metadata"].get("annotations") or {}
    if notes.get("prometheus.io/scrape") != "true":
        return
    port, path = notes.get("prometheus.io/port", ""), notes.get("prometheus.io/path", "/metrics")
    ours = [c for c in workload.containers if c.program]
    admin = {str(binaries.port_of(c, "ROOMCAST_ADMIN")) for c in ours}
    if not ours or binaries.run(ours[0].program, ours[0].env).refused:
        return
    if port not in admin or binaries.run(ours[0].program, ours[0].env).get(path)[0] != 200:
        yield rendering.finding(
            workload,
            f"is scraped at {port}{path}, where no metrics are",
            f"annotate port {' or '.join(admin)} and path /metrics",
        )


def _number(container, port):
    return next(
        (p["containerPort"] for p in container.ports if port in (p.get("name"), p["containerPort"])), None
    )
