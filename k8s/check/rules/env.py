"""Every setting in a manifest is one the program has, and the program accepts them all together. Run by main.py
on every rendering; asks --help and starts the program with the manifest's settings."""

import re

import binaries
from model import SAMPLES


def check(rendering):
    for container in rendering.ours:
        known = binaries.settings(container.program)
        flags = {setting.flag for setting in known.values()}
        unknown = [name for name in container.env if name.startswith("ROOMCAST_") and name not in known]
        for name in unknown:
            yield rendering.finding(
                container,
                f"sets {name}, which roomcast-{container.program} does not have",
                f"use a variable of `roomcast-{container.program} --help`",
            )
        for flag in re.findall(r"(?:^| )(--[\w-]+)", container.words):
            if flag not in flags:
                yield rendering.finding(
                    container,
                    f"passes {flag}, which roomcast-{container.program} does not have",
                    f"use a flag of `roomcast-{container.program} --help`",
                )
        yield from _shared(rendering, container)
        running = binaries.run(container.program, container.env)
        if running.refused:
            yield rendering.finding(
                container,
                f"the program refuses these settings: {running.refused}",
                "correct them as it says",
            )
    yield from _agree(rendering)


def _shared(rendering, container):
    """Without these, several pods are several chats."""
    if "ROOMCAST_REDIS" not in container.env:
        yield rendering.finding(container, "has no ROOMCAST_REDIS", "take it from the Secret roomcast-redis")
    listens = binaries.port_of(container, "ROOMCAST_PEER_LISTEN")
    address = container.env.get("ROOMCAST_PEER_ADDRESS")
    if listens and address != f"{SAMPLES['status.podIP']}:{listens}":
        yield rendering.finding(
            container,
            f"tells other gateways to reach it at {address}, but listens for them on port {listens} of its pod",
            f"set ROOMCAST_PEER_ADDRESS to $(POD_IP):{listens}, with POD_IP from status.podIP",
        )


def _agree(rendering):
    """What docs/CONFIGURATION.md says must be the same on every gateway and presence service."""
    for variable in ("ROOMCAST_PREFIX", "ROOMCAST_LEASE"):
        values = {
            str(container): binaries.effective(container, variable)
            for container in rendering.ours
        }
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{name} has {value}" for name, value in values.items())
            yield rendering.finding(
                variable, f"differs: {listed}", "set it once, in the settings all nodes share"
            )
