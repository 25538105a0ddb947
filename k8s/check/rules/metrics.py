"""Every metric that an autoscaler, a dashboard or a rule names is one the programs really have. main.py runs `check` on
every rendering and `check_files` once on deploy/'s dashboards and rules; calls binaries.py for live /metrics."""

import functools
import json
import re

import yaml

import binaries
from model import called

PROGRAMS = ("gateway", "presence")
# Made by Prometheus itself.
BUILT_IN = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS", "ALERTS_FOR_STATE"}
PARTS = ("_bucket", "_sum", "_count")
# What k6 has by itself, as far as dashboards show it, and how it names each kind when it writes to Prometheus.
K6 = (("Gauge", "vus"), ("Counter", "dropped_iterations"), ("Counter", "iterations"))
K6_SUFFIXES = {"Counter": ("_total",), "Gauge": ("",), "Rate": ("_rate",), "Trend": ("_p95", "_p99", "_max")}
WORDS = set(
    "and or unless by without on ignoring group_left group_right offset bool inf nan start end atan2".split()
)


def names(expression):
    """The metrics in a PromQL expression."""
    text = re.sub(r"\$\{[^}]*\}|\$\w+|#[^\n]*", " ", expression)
    text = re.sub(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'', '""', text)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\b\d[\w.]*", " ", text)
    found = re.findall(r"(?<![\w:])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])", text)
    return {name for name in found if name.lower() not in WORDS}


def known():
    """Every series name the programs can have: the inventory, confirmed by what running programs say."""
    series = set(BUILT_IN)
    for name, (kind, _) in _all().items():
        series |= {name + part for part in PARTS} if kind == "histogram" else {name}
    return series | load_tests()


@functools.cache
def load_tests():
    """The series that k6 writes while it runs a script of loadtest/k6."""
    own = [
        metric
        for path in sorted((binaries.ROOT / "loadtest/k6").glob("[!n]*/**/*.ts"))
        for metric in re.findall(r'\bnew (Counter|Gauge|Rate|Trend)\(\s*"(\w+)"', path.read_text())
    ]
    return {f"k6_{name}{suffix}" for kind, name in (*K6, *own) for suffix in K6_SUFFIXES[kind]}


def _all():
    live = {}
    for program in PROGRAMS:
        for name, kind in binaries.live_metrics(program).items():
            live[name] = (kind, True)
    return {**live, **binaries.inventory()}


def check_inventory(find):
    """docs/METRICS.md and the live /metrics say the same; some families wait for their first use."""
    where, live = "docs/METRICS.md", {}
    for program in PROGRAMS:
        live.update(binaries.live_metrics(program))
    inventory = binaries.inventory()
    for name, kind in live.items():
        if name.startswith("roomcast_") and inventory.get(name, (None,))[0] != kind:
            yield find(where, f"{name} is a live {kind}, and is not listed so", "make generate")
    for name, (_, from_the_start) in inventory.items():
        if from_the_start and name not in live:
            yield find(where, f"{name} is listed, but no running program has it", "make generate")


def check(rendering):
    for scaler in rendering.of("HorizontalPodAutoscaler"):
        for metric in scaler["spec"].get("metrics") or []:
            source = metric.get(
                {"Pods": "pods", "Object": "object", "External": "external"}.get(metric["type"], "")
            )
            if source and source["metric"]["name"] not in known():
                yield _finding(rendering.finding, called(scaler), source["metric"]["name"])
    rules = rendering.of("PrometheusRule")
    for rule in rules:
        yield from _rules(rendering.finding, called(rule), rule["spec"], [each["spec"] for each in rules])
    for config in rendering.of("ConfigMap"):
        for file, text in (config.get("data") or {}).items():
            if file.endswith(".json") and '"panels"' in text:
                yield from _dashboard(rendering.finding, f"{called(config)} {file}", text)


def check_files(root, find):
    """deploy/grafana/dashboards/*.json and deploy/prometheus/rules/*.yaml"""
    rules = sorted(root.glob("deploy/prometheus/rules/*.y*ml"))
    groups = [yaml.safe_load(path.read_text()) for path in rules]
    for path, file in zip(rules, groups, strict=True):
        yield from _rules(find, str(path.relative_to(root)), file, groups)
    for path in sorted(root.glob("deploy/grafana/dashboards/*.json")):
        yield from _dashboard(find, str(path.relative_to(root)), path.read_text(), groups)


def _recorded(files):
    return {
        rule["record"]
        for file in files
        for group in file.get("groups") or []
        for rule in group["rules"]
        if "record" in rule
    }


def _rules(find, thing, file, files):
    recorded = _recorded(files)
    for group in file.get("groups") or []:
        for rule in group["rules"]:
            for name in sorted(names(rule["expr"]) - known() - recorded):
                yield _finding(find, f"{thing} rule {rule.get('alert') or rule['record']}", name)


def _dashboard(find, thing, text, files=()):
    recorded = _recorded(files)
    for title, expression in _expressions(json.loads(text)):
        # Recording rules have a colon in their name; a dashboard in a rendering has its rules elsewhere.
        missing = {name for name in names(expression) - known() - recorded if files or ":" not in name}
        for name in sorted(missing):
            yield _finding(find, f"{thing} panel {title!r}", name)


def _expressions(node, title=""):
    """(panel, expression) of every query in a dashboard, those of its variables too."""
    if isinstance(node, dict):
        title = node.get("title") or node.get("name") or title
        if isinstance(node.get("expr"), str):
            yield title, node["expr"]
        query = node.get("query")
        text = query.get("query") if isinstance(query, dict) else query
        found = (
            re.match(r"label_values\((.*),\s*\w+\)$|query_result\((.*)\)$", text)
            if isinstance(text, str)
            else None
        )
        if found and (found[1] or found[2]):
            yield title, found[1] or found[2]
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _expressions(child, title)


def _finding(find, thing, name):
    return find(
        thing,
        f"names the metric {name}, which no program has",
        "use a name of docs/METRICS.md, of a recording rule in deploy/prometheus/rules, or of a script in loadtest/k6",
    )
