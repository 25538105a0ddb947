"""What a rendering is made of: objects, workloads with their containers and settings, and findings.
Built by render.py from YAML; asked by every file in rules/. Reads nothing and starts nothing."""

import base64
import re
from dataclasses import dataclass, field
from functools import cached_property

import yaml

# The images of this repository, by the program they hold.
PROGRAMS = {"roomcast-gateway": "gateway", "roomcast-presence": "presence"}
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")

# YAML 1.1 has a type for a lone "="; in a manifest that is a string (as for kubectl).
Loader = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


@dataclass(frozen=True)
class Finding:
    """One mistake: in which rendering, in which object, what is wrong, what to do about it."""

    where: str
    thing: str
    wrong: str
    todo: str

    def __str__(self):
        return f"{self.where}: {self.thing}: {self.wrong}\n    -> {self.todo}"


class Sample(str):
    """A stand-in for a value that manifests do not hold: a secret the user brings, a field of the running pod."""


SAMPLES = {"status.podIP": "127.0.0.1", "status.hostIP": "127.0.0.1", "metadata.namespace": "roomcast"}
SECRET = Sample("a-secret-that-the-user-brings-0123456789")


def called(obj):
    """How messages name an object."""
    return f"{obj['kind']}/{obj.get('metadata', {}).get('name', '?')}"


def namespace(obj):
    return obj.get("metadata", {}).get("namespace", "default")


def matches(selector, labels):
    """Whether a label selector selects these labels. An empty one selects everything, none (None) nothing."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or []:
        key, values = term["key"], term.get("values", [])
        if not {
            "In": key in labels and labels[key] in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[term["operator"]]:
            return False
    return True


UNITS = {
    1e-9: "ns nsec nanos",
    1e-6: "us usec µs",
    1e-3: "ms msec millis",
    1: "s sec secs second seconds",
    60: "m min mins minute minutes",
    3_600: "h hr hrs hour hours",
    86_400: "d day days",
    604_800: "w wk wks week weeks",
    2_630_016: "M month months",
    31_557_600: "y yr yrs year years",
}
SECONDS_OF = {name: size for size, names in UNITS.items() for name in names.split()}


def seconds(text):
    """A duration in the grammar of the programs (humantime's): 250ms, 15s, 1h 30m; a bare number is none."""
    parts = re.findall(r"([\d.]+)\s*([A-Za-zµ]+)\s*", str(text))
    read = re.fullmatch(r"\s*(?:\d+(?:\.\d+)?\s*[A-Za-zµ]+\s*)+", str(text))
    if not read or any(unit not in SECONDS_OF for _, unit in parts):
        raise ValueError(f"{text!r} is no duration such as 250ms, 15s or 1h 30m")
    return sum(float(number) * SECONDS_OF[unit] for number, unit in parts)


def image_name(image):
    """ghcr.io/me/roomcast-gateway:1.2@sha256:… → roomcast-gateway"""
    return image.split("@")[0].rsplit("/", 1)[-1].split(":")[0]


@dataclass(eq=False)
class Container:
    """One container of a workload, with its settings resolved as far as the manifests say them."""

    spec: dict
    workload: "Workload"
    env: dict = field(default_factory=dict)

    @property
    def name(self):
        return self.spec["name"]

    @property
    def program(self):
        """gateway, presence, or None for programs that are not ours."""
        return PROGRAMS.get(image_name(self.spec.get("image", "")))

    @property
    def ports(self):
        return self.spec.get("ports") or []

    @property
    def words(self):
        """The command line as one text, with what it starts in it."""
        return " ".join(map(str, (self.spec.get("command") or []) + (self.spec.get("args") or [])))

    def __str__(self):
        return f"{self.workload} container {self.name}"


@dataclass(eq=False)
class Workload:
    """Something that makes pods."""

    obj: dict
    containers: list = field(default_factory=list)

    @property
    def name(self):
        return self.obj["metadata"]["name"]

    @property
    def kind(self):
        return self.obj["kind"]

    @property
    def namespace(self):
        return namespace(self.obj)

    @property
    def template(self):
        return self.obj["spec"]["template"]

    @property
    def pod(self):
        return self.template["spec"]

    @property
    def labels(self):
        return self.template.get("metadata", {}).get("labels") or {}

    @property
    def ports(self):
        """Every named or unnamed port that a container declares, as (name, number, protocol)."""
        return [
            (port.get("name"), port["containerPort"], port.get("protocol", "TCP"))
            for container in self.containers
            for port in container.ports
        ]

    def port(self, reference):
        """The number of a port given by name or number, or None where no container declares it."""
        return next((number for name, number, _ in self.ports if reference in (name, number)), None)

    def __str__(self):
        return called(self.obj)


class Rendering:
    """What kustomize made of one kustomization: what would be applied."""

    def __init__(self, name, text):
        self.name = name
        self.text = text
        self.objects = [obj for obj in yaml.load_all(text, Loader) if obj]

    def of(self, *kinds):
        return [obj for obj in self.objects if obj["kind"] in kinds]

    def get(self, kind, name, space):
        return next(
            (o for o in self.of(kind) if o["metadata"]["name"] == name and namespace(o) == space), None
        )

    def finding(self, thing, wrong, todo):
        return Finding(self.name, thing if isinstance(thing, str) else str(thing), wrong, todo)

    @cached_property
    def workloads(self):
        found = []
        for obj in self.of(*WORKLOADS):
            workload = Workload(obj)
            for spec in (workload.pod.get("initContainers") or []) + workload.pod["containers"]:
                container = Container(spec, workload)
                container.env = self._env(spec, workload.namespace)
                workload.containers.append(container)
            found.append(workload)
        return found

    @property
    def containers(self):
        return [container for workload in self.workloads for container in workload.containers]

    @property
    def ours(self):
        """The containers that run a program of this repository."""
        return [container for container in self.containers if container.program]

    def selected(self, selector, space):
        """The workloads of a namespace whose pods a label selector selects."""
        return [w for w in self.workloads if w.namespace == space and matches(selector, w.labels)]

    def backends(self, service):
        """The workloads behind a Service."""
        selector = service["spec"].get("selector")
        return self.selected({"matchLabels": selector}, namespace(service)) if selector else []

    def data(self, kind, name, space):
        """The texts in a ConfigMap or Secret, or None where the rendering holds no such object."""
        obj = self.get(kind, name, space)
        if obj is None:
            return None
        plain = {**(obj.get("stringData") or {}), **(obj.get("data") or {} if kind == "ConfigMap" else {})}
        if kind == "Secret":
            for key, value in (obj.get("data") or {}).items():
                plain[key] = base64.b64decode(value).decode("utf-8", "replace")
        return plain

    def _env(self, spec, space):
        env = {}
        for source in spec.get("envFrom") or []:
            for field_name, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field_name in source:
                    for key, value in (self.data(kind, source[field_name]["name"], space) or {}).items():
                        env[source.get("prefix", "") + key] = value
        for entry in spec.get("env") or []:
            env[entry["name"]] = self._value(entry, space, env)
        return env

    def _value(self, entry, space, env):
        if "valueFrom" not in entry:
            # $(NAME) of a variable above it.
            return re.sub(r"\$\((\w+)\)", lambda name: env.get(name[1], name[0]), str(entry.get("value", "")))
        source = entry["valueFrom"]
        for field_name, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if field_name in source:
                data = self.data(kind, source[field_name]["name"], space) or {}
                return data.get(source[field_name]["key"], SECRET)
        return Sample(SAMPLES.get(source.get("fieldRef", {}).get("fieldPath"), "sample"))
