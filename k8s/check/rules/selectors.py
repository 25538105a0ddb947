"""Whatever points at something by name or label hits exactly what it should: selectors, Service ports, scrape and
route targets, references to ConfigMaps, Secrets and ServiceAccounts. Run by main.py on every rendering."""

from model import called, matches, namespace

# Secrets that a user makes, and their keys, as k8s/README.md says; no rendering but dev's holds them.
BROUGHT = {
    "roomcast-peer": {"secret"},
    "roomcast-redis": {
        "gateway-url",
        "presence-url",
        "gateway-password",
        "presence-password",
        "internal-password",
    },
}


def check(rendering):
    yield from _unique(rendering)
    yield from _workloads(rendering)
    yield from _services(rendering)
    yield from _others(rendering)
    yield from _routes(rendering)
    yield from _references(rendering)


def _unique(rendering):
    seen = set()
    for obj in rendering.objects:
        key = (obj["apiVersion"].split("/")[0], called(obj), namespace(obj))
        if key in seen:
            yield rendering.finding(called(obj), "there twice", "keep one")
        seen.add(key)


def _workloads(rendering):
    for workload in rendering.workloads:
        selector = workload.obj["spec"].get("selector")
        if workload.kind == "Job":
            continue
        if not matches(selector, workload.labels):
            yield rendering.finding(
                workload,
                "its selector misses its own pods",
                "give spec.selector and spec.template.metadata.labels the same labels",
            )
        for other in rendering.selected(selector, workload.namespace):
            if other is not workload:
                yield rendering.finding(
                    workload, f"its selector takes the pods of {other} too", "select one label more"
                )
        for spread in workload.pod.get("topologySpreadConstraints") or []:
            if rendering.selected(spread.get("labelSelector"), workload.namespace) != [workload]:
                yield rendering.finding(
                    workload,
                    f"its spread over {spread['topologyKey']} counts other pods than its own",
                    "give the constraint the workload's own labels",
                )


def _services(rendering):
    for service in rendering.of("Service"):
        if not service["spec"].get("selector"):
            yield rendering.finding(
                called(service), "selects nothing", "give it the labels of a workload's pods"
            )
            continue
        backends = rendering.backends(service)
        if len(backends) != 1:
            yield rendering.finding(
                called(service),
                f"its selector hits {_list(backends)}, and a Service stands for one workload",
                "make its selector the labels of the workload's pods",
            )
        for port in service["spec"].get("ports") or []:
            target = port.get("targetPort", port["port"])
            for backend in backends:
                if backend.port(target) is None:
                    yield rendering.finding(
                        called(service),
                        f"port {port['port']} leads to targetPort {target}, and {backend} declares no such port",
                        f"use one of {_ports(backend)}",
                    )
    for workload in rendering.workloads:
        name = workload.obj["spec"].get("serviceName")
        if workload.kind == "StatefulSet" and not rendering.get("Service", name, workload.namespace):
            yield rendering.finding(
                workload, f"its serviceName {name} is no Service here", "name its headless Service"
            )


def _others(rendering):
    for budget in rendering.of("PodDisruptionBudget"):
        found = rendering.selected(budget["spec"].get("selector"), namespace(budget))
        if len(found) != 1:
            yield rendering.finding(
                called(budget), f"its selector hits {_list(found)}", "select the pods of one workload"
            )
    for monitor in rendering.of("PodMonitor"):
        found = rendering.selected(monitor["spec"].get("selector"), namespace(monitor))
        if not found:
            yield rendering.finding(
                called(monitor), "its selector hits no pods", "select the labels of the pods to scrape"
            )
        for endpoint in monitor["spec"].get("podMetricsEndpoints") or []:
            for workload in found:
                if workload.port(endpoint.get("port")) is None:
                    yield rendering.finding(
                        called(monitor),
                        f"scrapes port {endpoint.get('port')}, and {workload} declares no such port",
                        f"use one of {_ports(workload)}",
                    )
    for policy in rendering.of("NetworkPolicy"):
        selector = policy["spec"].get("podSelector")
        if selector and not rendering.selected(selector, namespace(policy)):
            yield rendering.finding(
                called(policy), "its podSelector hits no pods", "select the labels of the pods it is for"
            )


def _routes(rendering):
    """Who routes to a Service names one that is here, and a port that it has."""
    for obj, name, port in _backends(rendering):
        service = rendering.get("Service", name, namespace(obj))
        if service is None:
            yield rendering.finding(
                called(obj), f"routes to Service {name}, which is not here", "name one that is"
            )
            continue
        ports = service["spec"].get("ports") or []
        if not any(port in (p["port"], p.get("name")) for p in ports):
            yield rendering.finding(
                called(obj),
                f"routes to port {port} of Service {name}, which has {', '.join(str(p['port']) for p in ports)}",
                "use a port of that Service",
            )


def _backends(rendering):
    for route in rendering.of("HTTPRoute"):
        for rule in route["spec"].get("rules") or []:
            for backend in rule.get("backendRefs") or []:
                yield route, backend["name"], backend.get("port")
    for ingress in rendering.of("Ingress"):
        spec = ingress["spec"]
        paths = [p for rule in spec.get("rules") or [] for p in rule["http"]["paths"]]
        for backend in [p["backend"] for p in paths] + [spec[k] for k in ("defaultBackend",) if k in spec]:
            port = backend["service"]["port"]
            yield ingress, backend["service"]["name"], port.get("number", port.get("name"))


def _references(rendering):
    for workload in rendering.workloads:
        account = workload.pod.get("serviceAccountName")
        if account and not rendering.get("ServiceAccount", account, workload.namespace):
            yield rendering.finding(
                workload, f"its ServiceAccount {account} is not here", "add it, or name one that is"
            )
        for kind, name, keys in _used(workload.pod):
            held = rendering.data(kind, name, workload.namespace)
            if held is None and kind == "Secret":
                held = BROUGHT.get(name)
            if held is None:
                yield rendering.finding(
                    workload, f"uses {kind} {name}, which is not here", "add it, or correct the name"
                )
            for key in keys if held is not None else ():
                if key not in held:
                    yield rendering.finding(
                        workload,
                        f"uses key {key} of {kind} {name}, which has {', '.join(held)}",
                        "correct the key",
                    )


def _used(pod):
    """(kind, name, keys) of every ConfigMap and Secret that a pod reads."""
    for container in (pod.get("initContainers") or []) + pod["containers"]:
        for source in container.get("envFrom") or []:
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field in source and not source[field].get("optional"):
                    yield kind, source[field]["name"], ()
        for entry in container.get("env") or []:
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                source = entry.get("valueFrom", {}).get(field)
                if source and not source.get("optional"):
                    yield kind, source["name"], (source["key"],)
    for volume in pod.get("volumes") or []:
        for source in [volume, *(volume.get("projected", {}).get("sources") or [])]:
            for field, kind, key in (
                ("configMap", "ConfigMap", "name"),
                ("secret", "Secret", "secretName"),
                ("secret", "Secret", "name"),
            ):
                if key in source.get(field, {}) and not source[field].get("optional"):
                    items = source[field].get("items") or []
                    yield kind, source[field][key], tuple(item["key"] for item in items)


def _list(workloads):
    return ", ".join(map(str, workloads)) or "no workload"


def _ports(workload):
    return (
        ", ".join(f"{name} ({number})" for name, number, _ in workload.ports) or "none: it declares no ports"
    )
