"""Each seeded mistake, made in a copy of the tree, is found and named by the offline check, which finds nothing in the
tree as it is. `make k8s-test` (part of `make test`) runs both."""

import re
import sys
import unittest
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import binaries
import main
import render
import schema

COMMAND = render.renderer()
# Mistakes are looked for in the oldest and the newest version; the tree as it is, in all.
ENDS = (schema.VERSIONS[0], schema.VERSIONS[-1])


class Mistake(unittest.TestCase):
    """A copy of the tree to break."""

    def setUp(self):
        self.tree = self.enterContext(render.copied(main.ROOT))

    def edit(self, file, old, new, count=0):
        path = self.tree / file
        text = path.read_text()
        self.assertRegex(text, old, f"{file} has changed: let this test make its mistake in another way")
        path.write_text(re.sub(old, new, text, count=count))

    def found(self, overlay="dev", components=()):
        """What is found in one overlay, with these components."""
        name = " + ".join([overlay, *components])
        renderings = render.render(self.tree / "k8s", {name: (overlay, list(components))}, COMMAND)
        return [str(finding) for finding in main.judge(renderings, ENDS)]

    def assert_found(self, findings, *words):
        """One finding names all of these words."""
        hits = [finding for finding in findings if all(word in finding for word in words)]
        self.assertTrue(hits, f"nothing names {words}; found:\n" + "\n".join(findings))


class Ports(Mistake):
    def test_a_wrong_container_port(self):
        self.edit("k8s/base/gateway.yaml", "containerPort: 9464", "containerPort: 9465")
        self.assert_found(self.found(), "Deployment/gateway", "port admin as 9465", "listens on 9464")

    def test_a_probe_on_a_wrong_port(self):
        self.edit("k8s/base/gateway.yaml", r"path: /livez\n(\s+)port: admin", r"path: /livez\n\1port: http")
        self.assert_found(self.found(), "Deployment/gateway", "livenessProbe asks port http")

    def test_a_probe_of_a_path_that_is_not_served(self):
        self.edit("k8s/base/presence.yaml", "path: /readyz", "path: /healthz")
        self.assert_found(self.found(), "Deployment/presence", "readinessProbe asks /healthz")

    def test_a_probe_of_redis_on_a_port_that_is_not_there(self):
        self.edit("k8s/components/redis-standalone/redis.yaml", "port: redis", "port: valkey")
        self.assert_found(self.found(), "StatefulSet/redis", "livenessProbe asks port valkey")

    def test_a_service_port_that_leads_nowhere(self):
        self.edit("k8s/base/gateway.yaml", "targetPort: http", "targetPort: web")
        self.assert_found(self.found(), "Service/gateway", "targetPort web")

    def test_a_scrape_port_that_is_not_there(self):
        self.edit("k8s/components/pod-monitor/pod-monitor.yaml", "port: admin", "port: metrics")
        self.assert_found(self.found(components=["pod-monitor"]), "PodMonitor/", "scrapes port metrics")


class Selectors(Mistake):
    def test_a_service_that_misses(self):
        self.edit(
            "k8s/base/gateway.yaml",
            r"(kind: Service\n(?:.*\n)*?  selector:\n(?:.*\n)?.*component: )gateway",
            r"\1edge",
            1,
        )
        self.assert_found(self.found(), "Service/gateway", "its selector hits no workload")

    def test_a_deployment_that_misses_its_pods(self):
        self.edit("k8s/base/gateway.yaml", r"(matchLabels:\n.*\n.*component: )gateway", r"\1edge", 1)
        self.assert_found(self.found(), "Deployment/gateway", "its selector misses its own pods")

    def test_a_budget_that_misses(self):
        self.edit(
            "k8s/overlays/prod/disruption-budgets.yaml",
            r"(matchLabels:\n(?:.*\n)?.*component: )gateway",
            r"\1edge",
            1,
        )
        self.assert_found(self.found("prod"), "PodDisruptionBudget/gateway", "its selector hits no workload")

    def test_a_script_that_is_not_there(self):
        self.edit("k8s/components/redis-standalone/redis.yaml", "roomcast/start.sh", "roomcast/begin.sh")
        self.assert_found(self.found(), "StatefulSet/redis", "uses /etc/roomcast/begin.sh")

    def test_a_scenario_that_is_not_mounted(self):
        self.edit("k8s/components/loadtest/scripts.yaml", "path: scenarios/", "path: scenes/")
        self.assert_found(self.found(components=["loadtest"]), "Job/loadtest", "uses /scripts/scenarios")

    def test_a_secret_without_that_key(self):
        self.edit("k8s/base/gateway.yaml", "key: gateway-url", "key: url")
        self.assert_found(self.found("prod"), "Deployment/gateway", "uses key url of Secret roomcast-redis")


class Schemas(Mistake):
    def test_an_unknown_field(self):
        self.edit("k8s/base/gateway.yaml", "enableServiceLinks: false", "enableServiceLink: false")
        self.assert_found(
            self.found(), "Deployment/gateway", "not valid in Kubernetes 1.32 to 1.37", "enableServiceLink"
        )

    def test_an_unknown_field_of_another_project(self):
        self.edit("k8s/components/pod-monitor/pod-monitor.yaml", "interval: 15s", "intervall: 15s")
        self.assert_found(self.found(components=["pod-monitor"]), "PodMonitor/", "intervall")

    def test_a_removed_version(self):
        self.edit("k8s/overlays/prod/disruption-budgets.yaml", "policy/v1", "policy/v1beta1")
        self.assert_found(
            self.found("prod"), "PodDisruptionBudget/", "no kind PodDisruptionBudget in policy/v1beta1"
        )


class Edges(Mistake):
    def policies(self, change):
        self.edit("k8s/base/network-policies.yaml", *change)
        return self.found()

    def test_a_missing_edge(self):
        found = self.policies(
            (r"(component: gateway\n\s+ports:\n\s+- protocol: TCP\n\s+port: )3002", r"\g<1>3003", 1)
        )
        self.assert_found(found, "missing edge", "no ingress rule of Deployment/gateway", "port 3002")
        self.assert_found(found, "NetworkPolicy/gateway-to-gateway", "an edge that nothing uses")

    def test_a_missing_edge_to_redis(self):
        self.edit("k8s/components/redis-common/network-policies.yaml", r"port: 6379", "port: 6380")
        found = self.found()
        self.assert_found(found, "missing edge", "Deployment/gateway -> StatefulSet/redis port 6379")
        self.assert_found(found, "missing edge", "Deployment/presence -> StatefulSet/redis port 6379")

    def test_a_missing_edge_between_sentinels(self):
        self.edit("k8s/components/redis-sentinel/network-policies.yaml", r"port: 26379", "port: 26380")
        found = self.found("prod", ["redis-sentinel"])
        self.assert_found(
            found, "missing edge", "StatefulSet/redis-node -> StatefulSet/redis-node port 26379"
        )

    def test_a_missing_edge_within_a_redis_cluster(self):
        self.edit(
            "k8s/components/redis-cluster/network-policy.yaml", r"policyTypes: .*", "policyTypes: [Ingress]"
        )
        found = self.found("prod", ["redis-cluster"])
        self.assert_found(
            found, "missing edge", "no egress rule", "StatefulSet/redis -> StatefulSet/redis port 16379"
        )

    def test_a_load_test_that_may_not_reach_the_gateways(self):
        self.edit("k8s/components/loadtest/network-policies.yaml", "port: 3000", "port: 3001")
        self.assert_found(
            self.found(components=["loadtest"]), "missing edge", "Job/loadtest -> Deployment/gateway port 3000"
        )

    def test_a_collector_at_another_port(self):
        self.edit("k8s/components/otel-collector/kustomization.yaml", "collector:4317", "collector:4318")
        self.assert_found(
            self.found(components=["otel-collector"]),
            "ROOMCAST_OTLP names port 4318 of Service/otel-collector",
        )

    def test_no_metrics_for_prometheus(self):
        found = self.policies((r"roomcast/monitoring", "somebody/else"))
        self.assert_found(found, "missing edge", "monitoring -> Deployment/presence port 9465")

    def test_names_that_cannot_be_resolved(self):
        found = self.policies((r"protocol: UDP", "protocol: SCTP"))
        self.assert_found(found, "missing edge", "cluster DNS port 53/UDP")

    def test_the_admin_port_open_to_everybody(self):
        found = self.policies(
            (r"    - from:\n.*\n.*\n\s+roomcast/monitoring: \"true\"\n\s+ports:", "    - ports:")
        )
        self.assert_found(found, "NetworkPolicy/", "ingress from everybody, port 9464")

    def test_a_way_out_to_everybody(self):
        self.edit(
            "k8s/components/redis-common/network-policies.yaml",
            r"    - to:\n(?:.*\n){3}      ports:",
            "    - ports:",
        )
        self.assert_found(self.found(), "NetworkPolicy/roomcast-to-redis", "egress to everybody, port 6379")

    def test_no_default_deny(self):
        found = self.policies((r"policyTypes: \[Ingress, Egress\]", "policyTypes: [Ingress]", 1))
        self.assert_found(found, "nothing denies what no policy allows")


class Settings(Mistake):
    def test_a_variable_that_does_not_exist(self):
        self.edit("k8s/base/gateway.env", "ROOMCAST_DRAIN", "ROOMCAST_DRAIN_TIME")
        self.assert_found(
            self.found(), "Deployment/gateway", "ROOMCAST_DRAIN_TIME, which roomcast-gateway does not have"
        )

    def test_a_value_that_is_refused(self):
        self.edit("k8s/base/gateway.env", "ROOMCAST_DRAIN=10s", "ROOMCAST_DRAIN=soon")
        self.assert_found(self.found(), "Deployment/gateway", "refuses these settings", "--drain")

    def test_a_listener_on_loopback(self):
        self.edit("k8s/base/presence.env", "ROOMCAST_LISTEN=0.0.0.0", "ROOMCAST_LISTEN=127.0.0.1")
        self.assert_found(self.found(), "Deployment/presence", "ROOMCAST_LISTEN is 127.0.0.1:3001")

    def test_no_redis(self):
        self.edit("k8s/base/gateway.yaml", "name: ROOMCAST_REDIS", "name: REDIS")
        self.assert_found(self.found(), "Deployment/gateway", "has no ROOMCAST_REDIS")

    def test_a_prefix_of_the_gateways_alone(self):
        self.edit("k8s/base/gateway.env", "ROOMCAST_DRAIN", "ROOMCAST_PREFIX=rc2\nROOMCAST_DRAIN")
        self.assert_found(self.found(), "ROOMCAST_PREFIX: differs", "presence has rc1")

    def test_an_address_that_other_gateways_do_not_reach(self):
        self.edit("k8s/base/gateway.yaml", r"\$\(POD_IP\):3002", "gateway:3002")
        self.assert_found(
            self.found(), "Deployment/gateway", "tells other gateways to reach it at gateway:3002"
        )

    def test_a_redis_that_is_not_there(self):
        self.edit("k8s/overlays/dev/kustomization.yaml", r"@redis:6379", "@valkey:6379")
        self.assert_found(self.found(), "Deployment/gateway", "names host valkey, which is no Service here")

    def test_a_config_map_that_is_not_there(self):
        self.edit("k8s/base/gateway.yaml", "name: gateway-config", "name: gateway-settings")
        self.assert_found(self.found(), "Deployment/gateway", "ConfigMap gateway-settings, which is not here")

    def test_a_grace_period_too_short(self):
        self.edit(
            "k8s/base/gateway.yaml",
            r"terminationGracePeriodSeconds: \d+",
            "terminationGracePeriodSeconds: 25",
        )
        self.assert_found(self.found(), "Deployment/gateway", "the grace period of 25 s is too short")

    def test_a_drain_too_long(self):
        self.edit("k8s/base/gateway.env", r"ROOMCAST_DRAIN=\w+", "ROOMCAST_DRAIN=1m")
        self.assert_found(
            self.found(), "Deployment/gateway", "the grace period of 60 s is too short", "drain 60"
        )

    def test_a_drain_longer_than_the_lease_is_no_mistake(self):
        self.edit("k8s/base/gateway.env", r"ROOMCAST_DRAIN=\w+", "ROOMCAST_DRAIN=30s")
        self.edit("k8s/base/cluster.env", r"ROOMCAST_LEASE=\w+", "ROOMCAST_LEASE=15s")
        self.assertEqual([], self.found())

    def test_a_duration_without_a_unit(self):
        self.edit("k8s/base/gateway.env", r"ROOMCAST_DRAIN=\w+", "ROOMCAST_DRAIN=10")
        self.assert_found(self.found(), "Deployment/gateway", "ROOMCAST_DRAIN: '10' is no duration")

    def test_no_wait_for_load_balancers(self):
        self.edit("k8s/base/gateway.yaml", r"seconds: 5\n", "seconds: 1\n")
        self.assert_found(self.found(), "Deployment/gateway", "preStop sleeps 1 s")


class Security(Mistake):
    def test_a_privileged_container(self):
        self.edit("k8s/base/gateway.yaml", "readOnlyRootFilesystem: true", "privileged: true")
        found = self.found()
        self.assert_found(found, "Deployment/gateway", "is privileged")
        self.assert_found(found, "Deployment/gateway", "may write to its image")

    def test_a_pod_that_may_be_root(self):
        self.edit("k8s/base/presence.yaml", "runAsNonRoot: true", "runAsNonRoot: false")
        self.assert_found(self.found(), "Deployment/presence", "may run as root")

    def test_a_namespace_that_enforces_nothing(self):
        self.edit("k8s/base/namespace.yaml", "enforce: restricted", "enforce: baseline")
        self.assert_found(self.found(), "Namespace/roomcast-dev", "does not enforce Pod Security restricted")

    def test_an_image_without_a_tag(self):
        self.edit(
            "k8s/overlays/dev/kustomization.yaml",
            r"(- name: roomcast-gateway\n\s+)newTag: \S+",
            r"\1newName: roomcast-gateway",
        )
        self.assert_found(self.found(), "Deployment/gateway", "its image roomcast-gateway has no tag")

    def test_an_image_named_twice(self):
        self.edit(
            "k8s/overlays/prod/kustomization.yaml", "- name: roomcast-presence", "- name: roomcast-gateway", 1
        )
        found = [str(finding) for finding in main.outside(self.tree)]
        self.assert_found(found, "overlays/prod", "names roomcast-gateway 2 times")
        self.assert_found(found, "overlays/prod", "names roomcast-presence 0 times")


class Scale(Mistake):
    def test_replicas_beside_an_autoscaler(self):
        self.edit("k8s/base/gateway.yaml", "minReadySeconds:", "replicas: 3\n  minReadySeconds:", 1)
        self.assert_found(
            self.found("prod"), "Deployment/gateway", "sets replicas beside HorizontalPodAutoscaler/gateway"
        )

    def test_an_autoscaler_without_a_target(self):
        self.edit("k8s/components/hpa-cpu/hpa.yaml", r"(kind: Deployment\n\s+name: )gateway", r"\1edge")
        self.assert_found(
            self.found("prod"), "HorizontalPodAutoscaler/gateway", "scales Deployment edge, which is not here"
        )

    def test_a_budget_that_keeps_everything(self):
        self.edit("k8s/overlays/prod/disruption-budgets.yaml", "maxUnavailable: 1", "minAvailable: 3")
        self.assert_found(self.found("prod"), "PodDisruptionBudget/gateway", "no machine can ever be drained")


class Metrics(Mistake):
    def test_a_metric_renamed_in_the_autoscaler(self):
        self.edit(
            "k8s/components/hpa-connections/kustomization.yaml", "roomcast_connections", "roomcast_clients"
        )
        self.assert_found(
            self.found("prod", ["hpa-connections"]),
            "HorizontalPodAutoscaler/gateway",
            "roomcast_clients, which no program has",
        )

    def test_a_metric_renamed_in_the_program(self):
        def renamed(names):
            return {
                name.replace("roomcast_connections", "roomcast_clients"): what for name, what in names.items()
            }

        live, listed = binaries.live_metrics, binaries.inventory
        with patch.object(binaries, "live_metrics", lambda program: renamed(live(program))):
            found = [str(finding) for finding in main.outside(self.tree)]
            self.assert_found(
                found, "docs/METRICS.md", "roomcast_connections is listed, but no running program has it"
            )
            with patch.object(binaries, "inventory", lambda: renamed(listed())):
                found = [str(finding) for finding in main.outside(self.tree)]
                self.assert_found(
                    found, "deploy/grafana/dashboards/", "roomcast_connections, which no program has"
                )
                self.assert_found(
                    self.found("prod", ["hpa-connections"]),
                    "HorizontalPodAutoscaler/",
                    "roomcast_connections, which no",
                )

    def renamed(self, pattern, old, new="roomcast_renamed"):
        """Renames a metric in the first file that names it."""
        file = next(path for path in sorted(self.tree.glob(pattern)) if old in path.read_text())
        file.write_text(file.read_text().replace(old, new))
        self.assert_found([str(f) for f in main.outside(self.tree)], file.name, f"{new}, which no program has")

    def test_a_metric_renamed_in_a_dashboard(self):
        self.renamed("deploy/grafana/dashboards/*.json", "roomcast_connections")

    def test_a_metric_renamed_in_the_dashboard_of_load_tests(self):
        self.renamed(
            "deploy/grafana/dashboards/*.json", "k6_sio_ack_duration_p99", "k6_sio_ack_duration_seconds"
        )

    def test_a_metric_renamed_in_a_rule(self):
        self.renamed("deploy/prometheus/rules/*.y*ml", "roomcast_redis_up")


if __name__ == "__main__":
    unittest.main()
