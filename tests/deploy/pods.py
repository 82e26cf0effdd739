"""What the pods of the chart may do, and whether what points at them, or is mounted into them, is there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tests.deploy.chart import Item

POD_CONTEXT = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_CONTEXT = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
VOLUMES = {"configMap", "emptyDir", "projected", "secret"}
HOST = {"hostNetwork", "hostPID", "hostIPC"}


class Pod(NamedTuple):
    """A template of pods, and the object that it is of."""

    of: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """All of them, those that run first as well."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def ports(self) -> set[str]:
        """The names of the ports that its containers open."""
        return {port["name"] for container in self.containers for port in container.get("ports", ())}


def pods_of(items: Sequence[Item]) -> list[Pod]:
    """All templates of pods."""
    templates = [(item.name, item.document.get("spec", {}).get("template", {})) for item in items]
    return [Pod(name, each["metadata"]["labels"], each["spec"]) for name, each in templates if "metadata" in each]


def restricted(items: Sequence[Item]) -> Iterator[str]:
    """What Pod Security refuses at its level `restricted`, and what else a pod of ours must not do."""
    for pod in pods_of(items):
        context = pod.spec["securityContext"]
        found = [name for name, wanted in POD_CONTEXT.items() if context.get(name) != wanted]
        found += [name for name in HOST if pod.spec.get(name)]
        found += ["a token of the API"] if pod.spec.get("automountServiceAccountToken", True) else []
        found += [kind for volume in pod.spec["volumes"] for kind in volume.keys() - {"name"} - VOLUMES]
        for container in pod.containers:
            found += (
                [f"{container['name']}: securityContext"] if container["securityContext"] != CONTAINER_CONTEXT else []
            )
            found += (
                [f"{container['name']}: no limit of memory"] if "memory" not in container["resources"]["limits"] else []
            )
            found += ["a port of the host" for port in container.get("ports", ()) if "hostPort" in port]
        yield from (f"{pod.of}: {text}" for text in found)


def references(items: Sequence[Item], secrets: set[str]) -> Iterator[str]:
    """Selectors that select no pod, ports that no container opens, and mounted things that are nowhere.

    `secrets` are there besides those that Strimzi makes for its users.
    """
    pods = pods_of(items)
    for item in items:
        for selector, ports in _pointers(item.document):
            selected = [pod for pod in pods if selector.items() <= pod.labels.items()]
            if not selected:
                yield f"{item.kind} {item.name} selects no pod"
            elif missing := [port for port in ports if not any(port in pod.ports for pod in selected)]:
                yield f"{item.kind} {item.name}: no container opens {', '.join(missing)}"
    maps = {item.name for item in items if item.document["kind"] == "ConfigMap"}
    secrets = secrets | {item.name for item in items if item.document["kind"] == "KafkaUser"}
    for pod in pods:
        for kind, name in _mounted(pod.spec["volumes"]):
            if name not in (maps if kind == "configMap" else secrets):
                yield f"{pod.of} mounts the {kind} {name}, which is not there"
        volumes = {volume["name"] for volume in pod.spec["volumes"]} | {"data"}
        for container in pod.containers:
            yield from (
                f"{pod.of}: {container['name']} mounts {mount['name']}, which is no volume"
                for mount in container.get("volumeMounts", ())
                if mount["name"] not in volumes
            )
            probes = [container[name] for name in ("livenessProbe", "readinessProbe") if name in container]
            asked = {probe["httpGet"]["port"] for probe in probes if "httpGet" in probe}
            opened = {port["name"] for port in container.get("ports", ())}
            yield from (f"{pod.of}: {container['name']} is probed at {port}" for port in asked - opened)


def _pointers(document: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, str], list[str]]]:
    """The labels that an object selects pods by, and the ports that it names."""
    spec = document.get("spec", {})
    match document["kind"]:
        case "PodDisruptionBudget":
            yield spec["selector"]["matchLabels"], []
        case "Service":
            yield spec["selector"], [port["targetPort"] for port in spec["ports"]]
        case "PodMonitor" if "strimzi.io/cluster" not in spec["selector"]["matchLabels"]:
            yield spec["selector"]["matchLabels"], [each["port"] for each in spec["podMetricsEndpoints"]]
        case "NetworkPolicy":
            ports = [port["port"] for rule in spec.get("ingress", ()) for port in rule["ports"]]
            yield spec["podSelector"]["matchLabels"], ports


def _mounted(volumes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for volume in volumes:
        for source in volume.get("projected", {}).get("sources", (volume,)):
            if "configMap" in source:
                yield "configMap", source["configMap"]["name"]
            if "secret" in source:
                yield "secret", source["secret"]["secretName"]
