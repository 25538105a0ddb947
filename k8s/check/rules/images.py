"""An overlay names each of its own images once, in `images:`, and no image floats: each has a tag that is not latest,
or a digest. Run by main.py on every rendering; the kustomization of an overlay is read from its folder."""

import yaml

from model import PROGRAMS, image_name


def check(rendering):
    for container in rendering.containers:
        image = container.spec.get("image", "")
        tag = image.split("@")[0].rsplit("/", 1)[-1].partition(":")[2]
        if "@sha256:" not in image and tag in ("", "latest"):
            yield rendering.finding(
                container,
                f"its image {image} has {'no tag' if not tag else 'the tag latest'}, so nobody knows what runs",
                "give it a version in `images:` of the overlay",
            )


def check_overlay(name, kustomization, find):
    """`find` makes a finding; an overlay on top of another overlay has that one's images."""
    spec = yaml.safe_load(kustomization.read_text())
    if not any(path.endswith("/base") for path in spec.get("resources") or []):
        return
    listed = [image["name"] for image in spec.get("images") or []]
    for image in PROGRAMS:
        if listed.count(image) != 1:
            yield find(
                f"overlays/{name}/kustomization.yaml",
                f"`images:` names {image} {listed.count(image)} times",
                "name it once, with the tag to run",
            )
    for image in listed:
        if image_name(image) not in PROGRAMS:
            yield find(
                f"overlays/{name}/kustomization.yaml",
                f"`images:` names {image}, which is not ours",
                "remove it",
            )
