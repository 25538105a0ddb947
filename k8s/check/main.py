"""`python k8s/check/main.py offline|cluster`: what `make k8s-check` runs. `offline` renders everything (render.py), then
asks schema.py and every file in rules/; `cluster` applies the overlays to a real API server (cluster.py)."""

import argparse
import sys
import time
from pathlib import Path

import render
import schema
from model import Finding
from rules import env, files, grace, images, metrics, network, probes, scale, security, selectors

ROOT = Path(__file__).resolve().parents[2]
RULES = (selectors, files, network, probes, env, grace, scale, images, security, metrics)


def find_in(where):
    """Makes findings that belong to a file and to no rendering."""
    return lambda thing, wrong, todo: Finding(where, thing, wrong, todo)


def judge(renderings, versions=schema.VERSIONS, rules=RULES):
    """What schemas and rules find in renderings."""
    for rendering in renderings:
        yield from schema.check(rendering, versions)
        for rule in rules:
            try:
                yield from rule.check(rendering)
            except (KeyError, TypeError, AttributeError) as error:
                # An object lacks what every such object has; the schema has said so, unless Kubernetes lets it pass.
                wrong = f"could not finish: {type(error).__name__} {error}"
                yield rendering.finding(rule.__name__, wrong, "complete the objects it is about")


def outside(tree):
    """What is found in files outside of any rendering."""
    for name in render.overlays(tree / "k8s"):
        yield from images.check_overlay(
            name, tree / "k8s/overlays" / name / "kustomization.yaml", find_in(name)
        )
    yield from metrics.check_inventory(find_in("metrics"))
    yield from metrics.check_files(tree, find_in("deploy"))


def merged(findings):
    """The same mistake in several renderings is reported once."""
    places = {}
    for finding in findings:
        places.setdefault((finding.thing, finding.wrong, finding.todo), []).append(finding.where)
    for (thing, wrong, todo), where in places.items():
        more = f" (and {len(where) - 3} more)" if len(where) > 3 else ""
        yield Finding("; ".join(where[:3]) + more, thing, wrong, todo)


def offline(root):
    begun = time.monotonic()
    with render.copied(root) as tree:
        chosen = render.variations(tree / "k8s")
        renderings = render.render(tree / "k8s", chosen, render.renderer())
        found = list(merged([*judge(renderings), *outside(tree)]))
    for finding in found:
        print(finding, file=sys.stderr)
    objects = sum(len(rendering.objects) for rendering in renderings)
    print(
        f"{len(renderings)} renderings, {objects} objects, Kubernetes {schema.VERSIONS[0]} to {schema.VERSIONS[-1]}:"
        f" {len(found) or 'no'} mistakes, {time.monotonic() - begun:.0f} s"
    )
    return not found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("offline", "cluster"))
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to check")
    parser.add_argument(
        "--control-plane", type=Path, help="cluster: the program built from k8s/check/apiserver"
    )
    arguments = parser.parse_args()
    try:
        if arguments.part == "offline":
            good = offline(arguments.root)
        else:
            import cluster

            good = cluster.check(arguments.root, arguments.control_plane)
    except render.CannotRender as error:
        print(f"cannot render {error}", file=sys.stderr)
        good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
