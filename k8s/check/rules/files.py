"""What a container mounts is there: volumes have a use and mounts a volume, and files that commands, settings and scripts
name below a mounted ConfigMap are keys of it. Run by main.py on every rendering."""

import re


def check(rendering):
    for workload in rendering.workloads:
        claims = workload.obj["spec"].get("volumeClaimTemplates") or []
        volumes = {volume["name"]: volume for volume in workload.pod.get("volumes") or []}
        known = {*volumes, *(claim["metadata"]["name"] for claim in claims)}
        mounted = set()
        for container in workload.containers:
            mounts = container.spec.get("volumeMounts") or []
            for mount in mounts:
                mounted.add(mount["name"])
                if mount["name"] not in known:
                    yield rendering.finding(
                        container,
                        f"mounts {mount['name']}, which is no volume of its pod",
                        "add or correct it",
                    )
            yield from _files(rendering, container, mounts, volumes)
        for name in sorted(known - mounted):
            yield rendering.finding(workload, f"nobody mounts its volume {name}", "mount it, or remove it")


def _placed(data, items):
    """The texts of a ConfigMap by the file or folder that holds them below the mount."""
    if data is None or items is None:
        return data
    placed = {}
    for item in items:
        top = item["path"].partition("/")[0]
        placed[top] = placed.get(top, "") + data.get(item["key"], "")
    return placed


def _files(rendering, container, mounts, volumes):
    held = {}
    for mount in mounts:
        source = volumes.get(mount["name"], {}).get("configMap")
        if source and "subPath" not in mount:
            data = rendering.data("ConfigMap", source["name"], container.workload.namespace)
            held[mount["mountPath"]] = _placed(data, source.get("items"))
    texts = [container.words, *container.env.values()]
    for data in held.values():
        texts += (data or {}).values()
    for path, data in held.items():
        for name in sorted(set(re.findall(rf"{re.escape(path)}/([\w.-]+)", "\n".join(texts)))):
            if data is not None and name not in data:
                yield rendering.finding(
                    container,
                    f"uses {path}/{name}, and the ConfigMap mounted there has {', '.join(sorted(data))}",
                    "add the file to the configMapGenerator, or correct its name",
                )
