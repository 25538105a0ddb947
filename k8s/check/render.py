"""Renders the kustomizations of a k8s/ tree: every overlay, each component alone on an overlay, and all that go
together. Called by main.py and the tests; calls kubectl (1.27 or newer) or kustomize, in a copy of the tree."""

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import yaml

from model import Rendering

# Components of which one overlay may have one: the word their folders begin with.
ALTERNATIVES = ("redis-", "hpa-")
# Does not go with dev, whose Secrets lead to the Redis that dev brings.
ONLY_PROD = {"redis-external"}


class CannotRender(Exception):
    """kustomize refused a kustomization; the message says which and why."""


def renderer():
    """The command that renders a folder: the kustomize of $KUSTOMIZE where make fetched one, else kubectl's."""
    kustomize = os.environ.get("KUSTOMIZE")
    if kustomize and os.path.exists(kustomize):
        return [os.path.abspath(kustomize), "build"]
    if not shutil.which("kubectl"):
        raise CannotRender(
            "anything without kubectl or kustomize: `make k8s-test` fetches kustomize where it has to"
        )
    return ["kubectl", "kustomize"]


@contextmanager
def copied(root):
    """A copy of what kustomizations may include (k8s/, deploy/, the scripts of load tests) that may be changed; gone
    afterwards."""
    with tempfile.TemporaryDirectory(prefix="roomcast-k8s-") as folder:
        for part in ("k8s", "deploy", "loadtest/k6"):
            skip = shutil.ignore_patterns(*(("check",) if part == "k8s" else ("node_modules", "results")))
            shutil.copytree(root / part, Path(folder) / part, ignore=skip)
        yield Path(folder)


def overlays(tree):
    return sorted(path.parent.name for path in tree.glob("overlays/*/kustomization.yaml"))


def components(tree):
    """Every folder below components/ that is a Component; what they share is not one."""
    return sorted(
        str(path.parent.relative_to(tree / "components"))
        for path in tree.glob("components/**/kustomization.yaml")
        if yaml.safe_load(path.read_text()).get("kind") == "Component"
    )


def group(component):
    """The word that alternatives share, or the component's own name."""
    return next((word for word in ALTERNATIVES if component.startswith(word)), component)


def variations(tree):
    """What to render: name -> (overlay, components). Without components it is the overlay as it stands."""
    found = {name: (name, []) for name in overlays(tree)}
    names = components(tree)
    for name in names:
        overlay = "prod" if name in ONLY_PROD else "dev"
        found[f"{overlay} + {name}"] = (overlay, [name])
    # Each alternative once, with everything that goes with it.
    together = {}
    for name in names:
        together.setdefault(group(name), []).append(name)
    for number in range(max((len(names) for names in together.values()), default=0)):
        chosen = [names[min(number, len(names) - 1)] for names in together.values()]
        said = " + ".join(name for name in chosen if group(name) != name)
        for overlay in ("dev", "prod"):
            if overlay == "prod" or not ONLY_PROD & set(chosen):
                found[f"{overlay} + everything + {said}"] = (overlay, chosen)
    return found


def _write(copy, number, overlay, chosen):
    """A kustomization beside the overlays: this overlay, its components exchanged for these where they are
    alternatives to each other, and these added where it has none."""
    folder = copy / "overlays" / f"check-{number}"
    shutil.copytree(copy / "overlays" / overlay, folder)
    file = folder / "kustomization.yaml"
    spec = yaml.safe_load(file.read_text())
    groups = {group(name) for name in chosen}
    kept = [path for path in spec.get("components", []) if group(path.split("components/")[-1]) not in groups]
    spec["components"] = kept + [f"../../components/{name}" for name in chosen]
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return folder


def render(copy, chosen, command):
    """Renders these variations (see `variations`) of a copied tree, two at a time."""

    def one(numbered):
        number, (name, (overlay, added)) = numbered
        folder = _write(copy, number, overlay, added) if added else copy / "overlays" / overlay
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
        if done.returncode or done.stderr.strip():
            # kustomize says only on stderr what it deprecates.
            raise CannotRender(f"{name}: {done.stderr.strip() or done.returncode}")
        return Rendering(name, done.stdout)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, enumerate(chosen.items())))
