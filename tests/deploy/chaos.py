"""The folder of chaos: whether each object selects pods of the chart, and names containers and volumes of theirs."""

from collections.abc import Iterator, Sequence
from typing import Any

from tests.deploy.chart import NAMESPACE, ROOT, Item, items_of
from tests.deploy.pods import Pod, pods_of

FOLDER = ROOT / "deploy" / "chaos"
POP = "iad9000"  # which they are written for
POOL = "strimzi.io/pool-name"


def objects() -> list[Item]:
    """All of them, each in a file of its name."""
    return [item for path in sorted(FOLDER.glob("*.yaml")) for item in items_of(path.read_text(encoding="utf-8"))]


def problems(chaos: Sequence[Item], chart: Sequence[Item]) -> Iterator[str]:
    """Where they point at nothing of the chart."""
    pods, brokers = pods_of(chart), [labels for item in chart for labels in _of_brokers(item)]
    for item in chaos:
        spec = item.document["spec"]
        for each in (spec, *([spec["target"]] if "target" in spec else [])):
            wanted = each["selector"]["labelSelectors"].items()
            selected = [pod for pod in pods if wanted <= pod.labels.items()]
            if not selected and not any(wanted <= labels.items() for labels in brokers):
                yield f"{item.kind} {item.name} selects no pod"
            if each["selector"]["namespaces"] != [NAMESPACE]:
                yield f"{item.kind} {item.name} is not for {NAMESPACE} alone"
            if each is spec:
                yield from (f"{item.kind} {item.name} names {name}" for name in _missing(spec, selected))


def _missing(spec: dict[str, Any], pods: Sequence[Pod]) -> Iterator[str]:
    """Containers, and a volume, that no such pod has."""
    containers = {container["name"]: container for pod in pods for container in pod.containers}
    named = spec.get("containerNames", ())
    yield from (f"{name}, which is no container" for name in named if name not in containers)
    paths = {mount["mountPath"] for name in named for mount in containers.get(name, {}).get("volumeMounts", ())}
    if (path := spec.get("volumePath")) and path not in paths:
        yield f"{path}, where nothing is mounted"


def _of_brokers(item: Item) -> Iterator[dict[str, str]]:
    """The labels that Strimzi gives to the pods of a pool, if it has brokers."""
    match item.document:
        case {"kind": "KafkaNodePool", "metadata": metadata, "spec": {"roles": roles}} if "broker" in roles:
            yield {POOL: metadata["name"], "strimzi.io/cluster": metadata["labels"]["strimzi.io/cluster"]}
