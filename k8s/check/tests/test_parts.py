"""The parsers that the rules stand on. Run with test_mistakes.py."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cluster
import edges
import schema
from model import image_name, matches, seconds
from rules import metrics


class Parts(unittest.TestCase):
    def test_metrics_in_an_expression(self):
        for expression, expected in {
            'sum by (le) (rate(a_bucket{x="b{c}"}[$__rate_interval]))': {"a_bucket"},
            "a / on (instance) group_left (version) b offset 5m > 1e3": {"a", "b"},
            'max(job:c:rate5m{job=~"$job"}) unless absent(up == 0) # d': {"job:c:rate5m", "up"},
            "histogram_quantile(0.99, sum without (x) (e_bucket)) and ${shown:regex} * f": {"e_bucket", "f"},
        }.items():
            self.assertEqual(expected, metrics.names(expression), expression)

    def test_selectors(self):
        labels = {"a": "1", "b": "2"}
        self.assertTrue(matches({}, labels))
        self.assertFalse(matches(None, labels))
        self.assertTrue(matches({"matchLabels": {"a": "1"}}, labels))
        self.assertFalse(matches({"matchLabels": {"a": "2"}}, labels))
        for operator, values, hit in (
            ("In", ["1"], True),
            ("NotIn", ["1"], False),
            ("Exists", [], True),
            ("DoesNotExist", [], False),
        ):
            term = {"key": "a", "operator": operator, "values": values}
            self.assertEqual(hit, matches({"matchExpressions": [term]}, labels), operator)

    def test_hosts_of_urls(self):
        self.assertEqual([("redis", 6379)], edges.hosts("redis://user:word@redis/0", "ROOMCAST_REDIS"))
        cluster_url = "redis-cluster://u:w@a:7000?node=b:7001&node=c:7002"
        self.assertEqual([("a", 7000), ("b", 7001), ("c", 7002)], edges.hosts(cluster_url, "ROOMCAST_REDIS"))
        self.assertEqual([], edges.hosts(None, "ROOMCAST_OTLP"))

    def test_durations_and_images(self):
        texts = ("250ms", "15s", "10m", "7d", "1h 30m", "1h30m", "1.5min", "2 weeks")
        self.assertEqual([0.25, 15, 600, 604800, 5400, 5400, 90, 1209600], [seconds(text) for text in texts])
        for text in ("soon", "15", "", "15x", "15S", "1s1", "-1s"):
            self.assertRaises(ValueError, seconds, text)
        self.assertEqual("a", image_name("registry.example.org:5000/x/a:1.2@sha256:00"))

    def test_every_version_has_schemas(self):
        for version in schema.VERSIONS:
            self.assertEqual(
                [], schema.mistakes(version, '{"apiVersion": "v1", "kind": "Namespace", "metadata": {}}')
            )
            self.assertTrue(
                schema.mistakes(version, '{"apiVersion": "v1", "kind": "Namespace", "colour": "red"}')
            )
            self.assertTrue(
                schema.mistakes(version, '{"apiVersion": "apps.example.org/v1", "kind": "Deployment"}')
            )

    def test_definitions_for_an_api_server(self):
        text = str(list(cluster.definitions()))
        self.assertIn("podmonitors.monitoring.coreos.com", text)
        self.assertNotIn("'additionalProperties': False", text)


if __name__ == "__main__":
    unittest.main()
