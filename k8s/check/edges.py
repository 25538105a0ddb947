"""Who has to reach whom: the edges that the settings and ports of all workloads of a rendering ask for. Called by
rules/network.py; asks binaries.py for ports that a manifest leaves to the program."""

import re
from dataclasses import dataclass

import binaries
from model import Sample, Workload, called, namespace

PORTS = {"redis": 6379, "redis-cluster": 6379, "rediss": 6379, "http": 80, "https": 443}


@dataclass(frozen=True)
class Party:
    """One end of an edge: a workload's pods, or somebody outside of the rendering."""

    name: str
    space: str | None = None
    space_labels: tuple = ()
    labels: tuple = ()
    addresses: tuple = ()
    workload: Workload | None = None

    def __str__(self):
        return self.name


# Who is outside, as k8s/README.md tells the user to label them.
CLIENTS = Party("clients", "?", (("roomcast/clients", "true"),))
MONITORING = Party("monitoring", "?", (("roomcast/monitoring", "true"),))
DNS = Party(
    "cluster DNS",
    "kube-system",
    (("kubernetes.io/metadata.name", "kube-system"),),
    (("k8s-app", "kube-dns"),),
)
# A cache of names on the machine itself, or of the cloud.
DNS_CACHE = Party("DNS cache of the machine", addresses=("169.254.20.10",))
# Any address that a user's own Redis may have.
ELSEWHERE = Party(
    "a server outside of the cluster", addresses=("10.0.0.9", "172.16.0.9", "192.168.0.9", "203.0.113.9")
)


@dataclass(frozen=True)
class Edge:
    """Somebody has to reach a port of somebody."""

    source: Party
    target: Party
    port: int
    protocol: str
    why: str

    def __str__(self):
        return f"{self.source} -> {self.target} port {self.port}/{self.protocol} ({self.why})"


def needed(rendering):
    """(findings, edges) that the settings and ports of all workloads ask for."""
    wrong, edges = [], []
    parties = {str(workload): _party(rendering, workload) for workload in rendering.workloads}

    def edge(source, target, port, why, protocol="TCP"):
        found = Edge(source, target, port, protocol, why)
        if found not in edges:
            edges.append(found)

    for container in rendering.ours:
        me = parties[str(container.workload)]
        if container.program == "gateway":
            edge(CLIENTS, me, binaries.port_of(container, "ROOMCAST_LISTEN"), "ROOMCAST_LISTEN")
        else:
            asks = Party(
                "directory clients", me.space, me.space_labels, (("roomcast/directory-client", "true"),)
            )
            edge(asks, me, binaries.port_of(container, "ROOMCAST_LISTEN"), "ROOMCAST_LISTEN")
        edge(MONITORING, me, binaries.port_of(container, "ROOMCAST_ADMIN"), "ROOMCAST_ADMIN")
        peer = binaries.port_of(container, "ROOMCAST_PEER_LISTEN")
        if peer:
            edge(me, me, peer, "ROOMCAST_PEER_LISTEN")
        for variable in ("ROOMCAST_REDIS", "ROOMCAST_OTLP"):
            for host, port in hosts(container.env.get(variable), variable):
                _to_host(rendering, parties, me, host, port, variable, edge, wrong)
    for workload in rendering.workloads:
        me = parties[str(workload)]
        for name, number, _ in workload.ports:
            if name in ("metrics", "admin"):
                edge(MONITORING, me, number, f"port {name}")
        if not any(container.program for container in workload.containers):
            for host, port in _mentions(rendering, workload):
                _to_host(rendering, parties, me, host, port, "its configuration", edge, wrong)
    return wrong, edges


def _party(rendering, workload):
    space = rendering.get("Namespace", workload.namespace, "default") or {"metadata": {}}
    labels = {**(space["metadata"].get("labels") or {}), "kubernetes.io/metadata.name": workload.namespace}
    return Party(
        str(workload),
        workload.namespace,
        tuple(labels.items()),
        tuple(workload.labels.items()),
        workload=workload,
    )


def hosts(url, variable):
    """Every host and port in a URL such as redis-cluster://user:word@a:6379?node=b:6379."""
    if not url:
        return []
    found = re.match(r"([\w-]+)://(?:[^@/]*@)?([^/?]+)[^?]*(?:\?(.*))?$", url)
    if not found:
        # The user brings it: what is in the cluster under the usual name, or something outside.
        return [("redis", 6379)] if isinstance(url, Sample) and variable == "ROOMCAST_REDIS" else []
    scheme, first, query = found.groups()
    nodes = re.findall(r"node=([^&]+)", query or "")
    return [
        (host, int(port) if port else PORTS.get(scheme, 0))
        for host, _, port in (node.partition(":") for node in [*first.split(","), *nodes])
    ]


def _mentions(rendering, workload):
    """Every Service and port that the commands, settings and configuration files of a workload name: as
    SERVICE:PORT, in a URL or not, or as POD.SERVICE without a port, which stands for every port of that Service.
    Programs in a ConfigMap (*.ts) name none: their settings do."""
    texts = []
    for container in workload.containers:
        texts += [container.words, *container.env.values()]
    for volume in workload.pod.get("volumes") or []:
        if "configMap" in volume:
            data = rendering.data("ConfigMap", volume["configMap"]["name"], workload.namespace) or {}
            texts += (text for key, text in data.items() if not key.endswith(".ts"))
    text = re.sub(r"(?m)^\s*#.*$", "", "\n".join(texts))
    for service in rendering.of("Service"):
        if namespace(service) != workload.namespace:
            continue
        name = service["metadata"]["name"]
        rest = r"((?:\.[\w.${}()-]+)?)(?::(\d+))?"
        for pod, _, port in re.findall(rf"([\w}})]\.)?(?<![\w-])(?<![^/]/){re.escape(name)}(?![\w-]){rest}", text):
            if port:
                yield name, int(port)
            elif pod:
                yield from ((name, entry["port"]) for entry in service["spec"]["ports"])


def _to_host(rendering, parties, me, host, port, why, edge, wrong):
    """The edges behind one host name: to DNS, and to whom the name stands for."""
    for resolver in (DNS, DNS_CACHE):
        for protocol in ("UDP", "TCP"):
            edge(me, resolver, 53, "host names", protocol)
    service = _service(rendering, host, me.space)
    if service is None:
        if "." not in host and not _brought(me):
            wrong.append(
                rendering.finding(
                    me.name,
                    f"{why} names host {host}, which is no Service here",
                    "name a Service of the rendering",
                )
            )
        else:
            edge(me, ELSEWHERE, port, why)
        return
    ports = service["spec"].get("ports") or []
    entry = next((p for p in ports if p["port"] == port), None)
    if entry is None:
        wrong.append(
            rendering.finding(
                me.name,
                f"{why} names port {port} of {called(service)}, which has {', '.join(str(p['port']) for p in ports)}",
                "use a port that the Service has",
            )
        )
        return
    for backend in rendering.backends(service):
        number = backend.port(entry.get("targetPort", port))
        if number is not None:  # else rules/selectors.py says so
            edge(me, parties[str(backend)], number, why)


def _brought(party):
    """Whether this workload's Redis URL is the user's own secret."""
    return any(isinstance(c.env.get("ROOMCAST_REDIS"), Sample) for c in party.workload.containers)


def _service(rendering, host, space):
    """The Service behind redis, redis.space.svc or redis-0.redis, or None."""
    parts = host.split(".")
    for name, rest in ((parts[0], parts[1:]), (parts[1] if len(parts) > 1 else None, parts[2:])):
        where = rest[0] if rest else space
        service = name and rendering.get("Service", name, where)
        if service:
            return service
    return None
