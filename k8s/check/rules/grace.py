"""A pod may end in its own time: endpoint wait + drain + flush + margin fit into the grace period. Run by main.py
on every rendering; takes the drain window from the manifest or from the program's default. How long the lease is
does not matter: a gateway renews it until its last client is closed."""

import binaries
from model import seconds

# After the drain window, at most: requests in progress, last writes to Redis, threads that end (FLUSH and LAST_REQUEST in
# gateway/src, DRAIN_TIMEOUT in presence/src, HARD_STOP_TIMEOUT in crates/ops/src/lifecycle.rs).
FLUSH = {"gateway": 12, "presence": 7}
MARGIN = 5
# How long load balancers take to stop sending to a pod that ends.
ENDPOINTS = 5


def check(rendering):
    for container in rendering.ours:
        pause = (
            ((container.spec.get("lifecycle") or {}).get("preStop") or {}).get("sleep", {}).get("seconds", 0)
        )
        if pause < ENDPOINTS:
            yield rendering.finding(
                container,
                f"preStop sleeps {pause} s, and load balancers take about {ENDPOINTS} s to stop sending to a pod that ends",
                f"set lifecycle.preStop.sleep.seconds to {ENDPOINTS} or more",
            )
        text = binaries.effective(container, "ROOMCAST_DRAIN") or "0s"
        try:
            drain = seconds(text)
        except ValueError as error:
            yield rendering.finding(container, f"ROOMCAST_DRAIN: {error}", "write it as 10s")
            continue
        needed = pause + drain + FLUSH[container.program] + MARGIN
        grace = container.workload.pod.get("terminationGracePeriodSeconds", 30)
        if grace < needed:
            yield rendering.finding(
                container,
                f"the grace period of {grace} s is too short: preStop {pause} + drain {drain:g} + flush"
                f" {FLUSH[container.program]} + margin {MARGIN} = {needed:g}",
                f"set terminationGracePeriodSeconds to {needed:g} or more, or drain faster",
            )
