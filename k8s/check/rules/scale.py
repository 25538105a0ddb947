"""How many pods: budgets that let a drain pass, autoscalers with a target that leaves the number to them, roll-outs
that take no pod away first. Run by main.py on every rendering."""

from model import called, namespace

SPREAD = {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def check(rendering):
    scaled = {}
    for scaler in rendering.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        obj = rendering.get(target["kind"], target["name"], namespace(scaler))
        if obj is None or obj["apiVersion"] != target.get("apiVersion"):
            yield rendering.finding(
                called(scaler),
                f"scales {target['kind']} {target['name']}, which is not here",
                "name one that is",
            )
            continue
        if called(obj) in scaled:
            yield rendering.finding(
                called(scaler), f"scales {called(obj)} beside {called(scaled[called(obj)])}", "keep one"
            )
        scaled[called(obj)] = scaler
        if "replicas" in obj["spec"]:
            yield rendering.finding(
                called(obj),
                f"sets replicas beside {called(scaler)}, so that every apply undoes the autoscaler",
                "remove spec.replicas",
            )
        if scaler["spec"].get("minReplicas", 1) > scaler["spec"]["maxReplicas"]:
            yield rendering.finding(called(scaler), "minReplicas is above maxReplicas", "exchange them")
        down = scaler["spec"].get("behavior", {}).get("scaleDown", {})
        if down.get("stabilizationWindowSeconds", 300) < 300 or not down.get("policies"):
            yield rendering.finding(
                called(scaler),
                "may take many gateways away at once, and each is a mass reconnect",
                "set behavior.scaleDown: stabilizationWindowSeconds of 300 or more, and policies",
            )
    for budget in rendering.of("PodDisruptionBudget"):
        yield from _budget(rendering, budget, scaled)
    for workload in rendering.workloads:
        if any(container.program for container in workload.containers):
            keys = {spread["topologyKey"] for spread in workload.pod.get("topologySpreadConstraints") or []}
            for key in sorted(SPREAD - keys):
                yield rendering.finding(
                    workload, f"may run on one {key} whole", "add a topologySpreadConstraint for it"
                )
        if workload.kind != "Deployment" or not any(c.program for c in workload.containers):
            continue
        rolling = (workload.obj["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        if rolling.get("maxUnavailable") not in (0, "0%"):
            yield rendering.finding(
                workload,
                "a roll-out takes pods away before new ones serve",
                "set rollingUpdate.maxUnavailable: 0",
            )


def least(rendering, workload, scaled):
    """How many pods of a workload there are at least."""
    if str(workload) in scaled:
        return scaled[str(workload)]["spec"].get("minReplicas", 1)
    return workload.obj["spec"].get("replicas", 1)


def _budget(rendering, budget, scaled):
    spec = budget["spec"]
    for workload in rendering.selected(spec.get("selector"), namespace(budget)):
        pods = least(rendering, workload, scaled)
        keep, may = spec.get("minAvailable"), spec.get("maxUnavailable")
        if keep is not None and (keep == "100%" or (isinstance(keep, int) and keep >= pods)):
            yield rendering.finding(
                called(budget),
                f"keeps {keep} of {pods} pods of {workload}, so no machine can ever be drained",
                "use maxUnavailable: 1",
            )
        if keep is None and may is None:
            yield rendering.finding(called(budget), "limits nothing", "use maxUnavailable: 1")
        if may in (0, "0%"):
            yield rendering.finding(
                called(budget), "lets no pod go, so no machine can be drained", "use maxUnavailable: 1"
            )
        if spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield rendering.finding(
                called(budget),
                "a pod that never got ready blocks a drain",
                "set unhealthyPodEvictionPolicy: AlwaysAllow",
            )
