"""Mistakes that a real API server has to find. Run by `make k8s-apply`, before it is given the tree as it is:
CONTROL_PLANE=… python -m unittest k8s/check/tests/on_cluster.py."""

import os
import re
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cluster
import main
import render
from model import Rendering


class Mistake(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with render.copied(main.ROOT) as tree:
            (cls.good,) = render.render(tree / "k8s", {"dev": ("dev", [])}, render.renderer())
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="roomcast-control-plane-"))
        cls.plane = cluster.ControlPlane(Path(os.environ["CONTROL_PLANE"]), folder)
        cls.addClassCleanup(cls.plane.end)

    def assert_found(self, old, new, *messages):
        """Makes a mistake in what is applied; the API server says these."""
        self.assertRegex(self.good.text, old, "the rendering has changed: make this mistake in another way")
        bad = Rendering("dev", re.sub(old, new, self.good.text, count=1))
        found = "\n".join(map(str, cluster.live(self.plane, bad)))
        for message in messages:
            self.assertIn(message, found)

    def test_an_unknown_field(self):
        self.assert_found("minReadySeconds:", "minReadySecond:", 'unknown field "spec.minReadySecond"')

    def test_a_removed_version(self):
        self.assert_found(
            "networking.k8s.io/v1", "networking.k8s.io/v1beta1", 'no matches for kind "NetworkPolicy"'
        )

    def test_a_value_that_no_schema_knows(self):
        self.assert_found(
            "name: admin\n", "name: this-port-name-is-too-long\n", "must be no more than 15 characters"
        )

    def test_a_privileged_container(self):
        self.assert_found(
            r"(securityContext:\n\s+)allowPrivilegeEscalation: false",
            r"\1privileged: true",
            "Warning: would violate PodSecurity",
            "gets no pods",
        )


if __name__ == "__main__":
    unittest.main()
