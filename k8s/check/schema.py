"""Strict schemas: every object of a rendering against Kubernetes 1.32 to 1.37, and kinds of others (PodMonitor,
HTTPRoute, …) against schemas/*.json. An unknown kind is a mistake. Called by main.py and the tests."""

import functools
import json
import re
from pathlib import Path

import importlib_resources
import jsonschema
from referencing import Registry, Resource

from model import called

VERSIONS = ("1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
OWN = Path(__file__).parent / "schemas"
_bundled = importlib_resources.files("kubernetes_validate") / "kubernetes-json-schema"


def own_schemas():
    """The schemas of schemas/*.json, by (apiVersion, kind)."""
    found = {}
    for path in sorted(OWN.glob("*.json")):
        schema = json.loads(path.read_text())
        found[schema["x-api-version"], schema["x-kind"]] = schema
    return found


@functools.cache
def _definitions(version):
    folder = _bundled / f"v{version}.0-local-strict"
    definitions = Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    # Crawled here, once, or it would be anew for every reference.
    return (definitions @ Registry()).crawl()


@functools.cache
def _validator(version, api_version, kind):
    """None where this version of Kubernetes has no such kind."""
    own = own_schemas().get((api_version, kind))
    if own:
        return jsonschema.Draft202012Validator(own)
    group, _, number = api_version.rpartition("/")
    short = f"{group.split('.')[0]}-{number}" if group else number
    path = _bundled / f"v{version}.0-local-strict" / f"{kind.lower()}-{short}.json"
    if not path.is_file():
        return None
    # Each schema names its own apiVersion, so that a namesake in another group is a mistake too.
    schema = json.loads(path.read_text())
    return jsonschema.Draft202012Validator(schema, registry=_definitions(version))


@functools.cache
def mistakes(version, text):
    """What one version of Kubernetes says to one object, given as JSON: (field, message) pairs."""
    obj = json.loads(text)
    validator = _validator(version, obj.get("apiVersion", ""), obj.get("kind", ""))
    if validator is None:
        return [("apiVersion", f"no kind {obj.get('kind')} in {obj.get('apiVersion')}")]
    return [(_field(error), error.message) for error in validator.iter_errors(obj)]


def _field(error):
    return re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, error.absolute_path))) or "(top)"


def check(rendering, versions=VERSIONS):
    for obj in rendering.objects:
        text = json.dumps(obj, sort_keys=True)
        wrong = {}
        for version in versions:
            for mistake in mistakes(version, text):
                wrong.setdefault(mistake, []).append(version)
        for (field, message), found in wrong.items():
            span = found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"
            yield rendering.finding(
                called(obj),
                f"not valid in Kubernetes {span}: {field}: {message[:300]}",
                "correct the field, or use an API version that 1.32 to 1.37 all have; a kind of"
                " somebody else needs a schema in k8s/check/schemas",
            )
