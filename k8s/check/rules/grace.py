"""A pod may end in its own time: endpoint wait + drain + flush + margin fit into the grace period. Run by main.py
on every rendering; takes the drain window from the manifest or from the program's default."""

import binaries
from model import seconds

# After the drain window, at most: requests under way, goodbyes to Redis, threads that end (FLUSH and LAST_REQUEST in
# gateway/src, FINISH_WITHIN in presence/src, AFTER_HARD in crates/ops/src/lifecycle.rs).
FLUSH = {"gateway": 12, "presence": 7}
MARGIN = 5
# How long load balancers take to hear that a pod ends.
ENDPOINTS = 5


def check(rendering):
    for container in rendering.ours:
        pause = (
            ((container.spec.get("lifecycle") or {}).get("preStop") or {}).get("sleep", {}).get("seconds", 0)
        )
        if pause < ENDPOINTS:
            yield rendering.finding(
                container,
                f"preStop sleeps {pause} s, and load balancers take about {ENDPOINTS} s to hear that a pod ends",
                f"set lifecycle.preStop.sleep.seconds to {ENDPOINTS} or more",
            )
        text = binaries.effective(container, "ROOMCAST_DRAIN") or "0s"
        try:
            drain = seconds(text)
        except ValueError as error:
            yield rendering.finding(container, f"ROOMCAST_DRAIN: {error}", "write it as 10s")
            continue
        lease = seconds(binaries.effective(container, "ROOMCAST_LEASE") or "0s")
        if drain and drain >= lease:
            yield rendering.finding(
                container,
                f"drains for {drain:g} s, but renews its lease of {lease:g} s no more while it does: users who are still"
                " connected would be announced as gone",
                "make ROOMCAST_DRAIN shorter than ROOMCAST_LEASE",
            )
        needed = pause + drain + FLUSH[container.program] + MARGIN
        grace = container.workload.pod.get("terminationGracePeriodSeconds", 30)
        if grace < needed:
            yield rendering.finding(
                container,
                f"the grace period of {grace} s is too short: preStop {pause} + drain {drain:g} + flush"
                f" {FLUSH[container.program]} + margin {MARGIN} = {needed:g}",
                f"set terminationGracePeriodSeconds to {needed:g} or more, or drain faster",
            )
