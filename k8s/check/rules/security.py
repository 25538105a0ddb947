"""Pods ask for nothing they do not need: Pod Security `restricted` field by field, no tokens, bounded memory, no CPU
limit. Run by main.py on every rendering; the API server's own judgement comes later (cluster.py)."""

from model import called

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
LEVELS = ("enforce", "audit", "warn")
ACCOUNTS_OF_ALL = ("default", None)


def check(rendering):
    for space in rendering.of("Namespace"):
        labels = space["metadata"].get("labels") or {}
        for level in LEVELS:
            if labels.get(f"pod-security.kubernetes.io/{level}") != "restricted":
                yield rendering.finding(
                    called(space),
                    f"does not {level} Pod Security restricted",
                    f"label it pod-security.kubernetes.io/{level}: restricted",
                )
    for account in rendering.of("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield rendering.finding(
                called(account), "gives out tokens", "set automountServiceAccountToken: false"
            )
    accounts = {}
    for workload in rendering.workloads:
        yield from _pod(rendering, workload)
        for container in workload.containers:
            yield from _container(rendering, container)
        account = workload.pod.get("serviceAccountName")
        ours = any(container.program for container in workload.containers)
        if ours and account in accounts and account not in ACCOUNTS_OF_ALL:
            yield rendering.finding(
                workload, f"shares the ServiceAccount {account} with {accounts[account]}", "give it its own"
            )
        accounts[account] = workload


def _pod(rendering, workload):
    pod, secure = workload.pod, workload.pod.get("securityContext") or {}
    for wrong, what, todo in (
        (
            pod.get("serviceAccountName") in ACCOUNTS_OF_ALL,
            "runs as the namespace's default ServiceAccount",
            "give it its own",
        ),
        (
            pod.get("automountServiceAccountToken") is not False,
            "mounts a ServiceAccount token",
            "set automountServiceAccountToken: false",
        ),
        (
            pod.get("enableServiceLinks") is not False,
            "gets a variable for every Service",
            "set enableServiceLinks: false",
        ),
        (secure.get("runAsUser") == 0, "runs as root", "set runAsUser to a number above 0"),
    ):
        if wrong:
            yield rendering.finding(workload, what, todo)
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield rendering.finding(workload, f"sets {field}", f"remove {field}")
    for volume in pod.get("volumes") or []:
        kind = next((key for key in volume if key != "name"), "emptyDir")
        if kind not in VOLUMES:
            yield rendering.finding(
                workload, f"mounts a {kind} volume", "restricted pods may not: use another kind"
            )


def _container(rendering, container):
    own = container.spec.get("securityContext") or {}
    secure = {**(container.workload.pod.get("securityContext") or {}), **own}
    capabilities = own.get("capabilities") or {}
    resources = container.spec.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for wrong, what, todo in (
        (own.get("privileged"), "is privileged", "remove securityContext.privileged"),
        (
            own.get("allowPrivilegeEscalation") is not False,
            "may gain privileges",
            "set allowPrivilegeEscalation: false",
        ),
        (
            own.get("readOnlyRootFilesystem") is not True,
            "may write to its image",
            "set readOnlyRootFilesystem: true, and an emptyDir where it has to write",
        ),
        (secure.get("runAsNonRoot") is not True, "may run as root", "set runAsNonRoot: true"),
        (own.get("runAsUser") == 0, "runs as root", "set runAsUser to a number above 0"),
        (
            (secure.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "has no seccomp profile",
            "set seccompProfile.type: RuntimeDefault",
        ),
        ("ALL" not in (capabilities.get("drop") or []), "keeps capabilities", "set capabilities.drop: [ALL]"),
        (
            set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"},
            f"adds capabilities {capabilities.get('add')}",
            "remove capabilities.add",
        ),
        (
            any(port.get("hostPort") for port in container.ports),
            "takes a port of the machine",
            "remove hostPort",
        ),
        ("memory" not in limits, "has no memory limit", "set resources.limits.memory"),
        (
            "cpu" in limits,
            "has a CPU limit, which stalls every room it serves",
            "remove resources.limits.cpu",
        ),
        (
            not {"cpu", "memory"} <= set(requests),
            "does not say what it needs",
            "set resources.requests for cpu and memory",
        ),
    ):
        if wrong:
            yield rendering.finding(container, what, todo)
