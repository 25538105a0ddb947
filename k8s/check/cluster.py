"""A real API server (etcd, kube-apiserver and kube-controller-manager, on loopback, in a folder of its own) takes every
overlay as a user would give it: applied strictly without a warning, again without a change, its pods made under Pod
Security `restricted`, deleted without a rest. Called by main.py; CRDs come from schemas/*.json."""

import copy
import json
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

import binaries
import render
from model import called
from schema import own_schemas

TIMEOUT = 120


class ControlPlane:
    """The three processes, and kubectl for them. `program` is what k8s/check/apiserver builds."""

    def __init__(self, program, folder):
        self.program, self.folder = program.resolve(), Path(folder)
        etcd, api = (f"127.0.0.1:{binaries.free_port()}" for _ in range(2))
        key, tokens, config = (
            self.folder / name for name in ("service-accounts.key", "tokens.csv", "kubeconfig")
        )
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        token = secrets.token_hex(16)
        tokens.write_text(f'{token},admin,admin,"system:masters"\n')
        config.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {
                            "name": "c",
                            "cluster": {"server": f"https://{api}", "insecure-skip-tls-verify": True},
                        }
                    ],
                    "users": [{"name": "u", "user": {"token": token}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "c",
                }
            )
        )
        self.processes = {}
        self._start(
            "etcd",
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://{etcd}",
            f"--advertise-client-urls=http://{etcd}",
            "--listen-peer-urls=http://127.0.0.1:0",
        )
        self._start(
            "kube-apiserver",
            self.program,
            "kube-apiserver",
            f"--etcd-servers=http://{etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={api.split(':')[1]}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--allow-privileged",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://localhost",
            "--service-cluster-ip-range=10.96.0.0/16",
        )
        self.kubectl_command = [
            self.program,
            "kubectl",
            f"--kubeconfig={config}",
            f"--cache-dir={self.folder / 'cache'}",
        ]
        if not self.wait(lambda: self.kubectl("get", "--raw=/readyz").returncode == 0):
            raise SystemExit(f"the API server is not ready within {TIMEOUT} s")
        self._start(
            "kube-controller-manager",
            self.program,
            "kube-controller-manager",
            f"--kubeconfig={config}",
            f"--service-account-private-key-file={key}",
            "--secure-port=0",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
        )

    def _start(self, name, *command):
        with open(self.folder / f"{name}.log", "w") as log:
            self.processes[name] = binaries.spawn(command, stdout=log, stderr=log)

    def kubectl(self, *arguments, stdin=""):
        return subprocess.run(
            [*self.kubectl_command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=2 * TIMEOUT,
        )

    def get(self, *arguments):
        done = self.kubectl("get", "--output=json", *arguments)
        return json.loads(done.stdout)["items"] if done.returncode == 0 else []

    def wait(self, condition):
        """Whether it came true in time."""
        until = time.monotonic() + TIMEOUT
        while not condition():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise SystemExit(f"{name} ended:\n{(self.folder / f'{name}.log').read_text()[-2000:]}")
            if time.monotonic() > until:
                return False
            time.sleep(0.3)
        return True

    def end(self):
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()


def definitions():
    """A CustomResourceDefinition for each schema of schemas/*.json."""
    for (api_version, kind), schema in own_schemas().items():
        group, version = api_version.split("/")
        open_schema = _structural({"type": "object", "properties": {"spec": schema["properties"]["spec"]}})
        yield {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": f"{schema['x-plural']}.{group}",
                "annotations": {"api-approved.kubernetes.io": "unapproved, part of a test"},
            },
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": schema["x-plural"], "singular": kind.lower()},
                "versions": [
                    {
                        "name": version,
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": open_schema},
                    }
                ],
            },
        }


def _structural(schema):
    """What an API server takes: unknown fields are refused by its strict validation, not by the schema."""
    if isinstance(schema, list):
        return [_structural(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _structural(value)
        for key, value in schema.items()
        if key != "oneOf" and not (key == "additionalProperties" and value is False)
    }


def check(root, program):
    begun = time.monotonic()
    with render.copied(root) as tree:
        # The overlays, and all components on the one that has most.
        chosen = {
            name: (overlay, added)
            for name, (overlay, added) in render.variations(tree / "k8s").items()
            if not added or (overlay == "prod" and len(added) > 1)
        }
        renderings = render.render(tree / "k8s", chosen, render.renderer())
    found = []
    with tempfile.TemporaryDirectory(prefix="roomcast-control-plane-") as folder:
        plane = ControlPlane(program, folder)
        try:
            print(f"the API server is ready after {time.monotonic() - begun:.0f} s", flush=True)
            apply_all(plane, definitions())
            for rendering in renderings:
                started, wrong = time.monotonic(), list(live(plane, rendering))
                found += wrong
                print(
                    f"{rendering.name}: {len(rendering.objects)} objects applied, applied again, deleted:"
                    f" {len(wrong) or 'no'} mistakes, {time.monotonic() - started:.0f} s",
                    flush=True,
                )
        finally:
            plane.end()
    for finding in found:
        print(finding, file=sys.stderr)
    return not found


def apply_all(plane, objects):
    """What the check itself needs in the cluster."""
    done = plane.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(list(objects)))
    if done.returncode:
        raise SystemExit(f"the CRDs of k8s/check/schemas are refused: {done.stderr}")
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", f"--timeout={TIMEOUT}s")


def live(plane, rendering):
    """One rendering: what an API server says to it. Leaves the cluster as it was."""
    spaces = [space["metadata"]["name"] for space in rendering.of("Namespace")]
    if len(spaces) != 1:
        yield rendering.finding("Namespace", f"there are {len(spaces)}", "an overlay brings exactly one")
        return
    done = _apply(plane, rendering)
    yield from _said(rendering, done)
    if done.returncode == 0:
        yield from _pods(plane, rendering, spaces[0])
        yield from _again(plane, rendering)
        yield from _enforced(plane, rendering, spaces[0])
        yield from _deleted(plane, rendering, spaces[0])
    # The next one may have the same namespace.
    plane.kubectl("delete", "namespace", spaces[0], "--ignore-not-found", f"--timeout={TIMEOUT}s")


def _apply(plane, rendering):
    return plane.kubectl("apply", "--validate=strict", "--filename=-", stdin=rendering.text)


def _said(rendering, done):
    """Whatever kubectl says on stderr is a warning or a refusal."""
    if done.returncode and not done.stderr.strip():
        yield rendering.finding("kubectl apply", f"ended with {done.returncode}", "run it by hand")
    for line in filter(str.strip, done.stderr.splitlines()):
        todo = (
            "correct what the API server warns of"
            if line.startswith("Warning:")
            else "correct what it refuses"
        )
        yield rendering.finding("kubectl apply --validate=strict", line.strip(), todo)


def _again(plane, rendering):
    """The second time nothing may change. kubectl says `configured` also where its patch turned out to be empty, as for
    every PodDisruptionBudget; so those are looked at."""
    before = _contents(plane, rendering)
    done = _apply(plane, rendering)
    yield from _said(rendering, done)
    if all(line.endswith(" unchanged") for line in done.stdout.splitlines()):
        return
    for name, content in _contents(plane, rendering).items():
        for difference in _differences(before.get(name), content):
            yield rendering.finding(
                name,
                f"changes when it is applied a second time: {difference}",
                "write the field as the API server keeps it",
            )


def _contents(plane, rendering):
    """What is in the cluster of a rendering's objects, but for what controllers write."""
    scaled = {
        "/".join(map(scaler["spec"]["scaleTargetRef"].get, ("kind", "name")))
        for scaler in rendering.of("HorizontalPodAutoscaler")
    }
    done = plane.kubectl("get", "--output=json", "--filename=-", stdin=rendering.text)
    found = {}
    for obj in json.loads(done.stdout)["items"]:
        meta, name = obj["metadata"], called(obj)
        obj["metadata"] = {"labels": meta.get("labels"), "uid": meta["uid"]}
        obj.pop("status", None)
        if name in scaled:
            obj["spec"].pop("replicas", None)
        found[name] = obj
    return found


def _differences(before, after, path=""):
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _differences(before.get(key), after.get(key), f"{path}.{key}")
    elif before != after:
        yield f"{path.strip('.')} from {json.dumps(before)} to {json.dumps(after)}"


def _deleted(plane, rendering, space):
    done = plane.kubectl("delete", "--filename=-", f"--timeout={TIMEOUT}s", stdin=rendering.text)
    if done.returncode:
        yield rendering.finding("kubectl delete", done.stderr.strip(), "see what holds it back")
    elif plane.get("namespaces", f"--field-selector=metadata.name={space}"):
        yield rendering.finding(
            "kubectl delete", f"Namespace {space} is still there", "see what holds it back"
        )


def _pods(plane, rendering, space):
    """Pod Security is enforced on pods, not on what makes them: each workload must get one."""
    made = {}

    def all_made():
        pods = plane.get("pods", f"--namespace={space}")
        for workload in rendering.workloads:
            made[str(workload)] = any(
                workload.labels.items() <= pod["metadata"].get("labels", {}).items() for pod in pods
            )
        return all(made.values())

    def refused():
        return plane.get("events", f"--namespace={space}", "--field-selector=reason=FailedCreate")

    plane.wait(lambda: all_made() or refused())
    for name, there in made.items():
        if not there:
            said = {event["message"] for event in refused()}
            yield rendering.finding(
                name, f"gets no pods: {'; '.join(said) or 'nobody says why'}", "correct its template"
            )


def _enforced(plane, rendering, space):
    """Unless this namespace refuses a privileged pod, that of a workload proves nothing."""
    spec = copy.deepcopy(rendering.ours[0].workload.pod)
    spec["containers"][0]["securityContext"] = {"privileged": True}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged", "namespace": space},
        "spec": spec,
    }
    done = plane.kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump(pod))
    if "violates PodSecurity" not in done.stderr:
        yield rendering.finding(
            f"Namespace/{space}",
            f"does not refuse a privileged pod ({done.stderr.strip() or 'it was created'})",
            "label the Namespace pod-security.kubernetes.io/enforce: restricted",
        )
