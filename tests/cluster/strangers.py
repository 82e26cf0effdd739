"""Who reaches whom: a pod that is none of ours tries every door, and a pod of Prometheus those that are for it."""

from collections.abc import AsyncIterator

import msgspec

from app.errors import DaemonError
from tests.cluster import broker
from tests.cluster.cluster import Cluster
from tests.cluster.images import REGISTRY
from tests.cluster.pki import CONTROL
from tests.cluster.pods import pod
from tests.cluster.steps import apply, delete, finished, listed, make_namespace
from tests.deploy.chart import NAMESPACE

IMAGE = f"{REGISTRY}/autopilot:1"
MONITORING = "monitoring"
# By component of ours, the ports that it listens on in TCP.
DOORS = {"telemetry": 6070, "actuator": 6071, "view": 6072, "pmbmpd": 1790}
METRICS = ("telemetry", "actuator", "view")
EVERYBODYS = ("the API server", CONTROL, 6443)  # so a pod that reaches nothing else has a network
KNOCK = """
import json, socket, sys, time
doors, wanted = map(json.loads, sys.argv[1:])
for _ in range(20):
    opened = []
    for name, address, port in doors:
        try:
            socket.create_connection((address, port), timeout=3).close()
            opened.append(name)
        except OSError:
            pass
    if {*wanted} <= {*opened}:
        break
    time.sleep(1)
print(json.dumps(opened))
"""
Door = tuple[str, str, int]


async def are_kept_out(cluster: Cluster) -> None:
    """A stranger in our own namespace reaches nothing; Prometheus reaches what it scrapes, and nothing else."""
    doors = [door async for door in _doors(cluster)]
    await make_namespace(cluster, MONITORING)
    for place, besides in ((NAMESPACE, ()), (MONITORING, METRICS)):
        wanted = {EVERYBODYS[0], *besides}
        reached = await _knock(cluster, place, doors, wanted)
        if reached != wanted:
            raise DaemonError(f"a stranger in {place} reaches {sorted(reached)}, and should reach {sorted(wanted)}")


async def _doors(cluster: Cluster) -> AsyncIterator[Door]:
    yield EVERYBODYS
    yield "Kafka", broker.BOOTSTRAP, broker.PORT
    for item in await listed(cluster, "pods"):
        component = item["metadata"]["labels"].get("app.kubernetes.io/component")
        if component in DOORS:
            yield component, item["status"]["podIP"], DOORS[component]


async def _knock(cluster: Cluster, place: str, doors: list[Door], wanted: set[str]) -> set[str]:
    """The doors that a pod there opens. It tries until it has opened those that are wanted."""
    command = ["python3", "-c", KNOCK, *(msgspec.json.encode(each).decode() for each in (doors, wanted))]
    stranger = pod("stranger", {"name": "stranger", "image": IMAGE, "command": command}, restartPolicy="Never")
    stranger["metadata"]["namespace"] = place
    await apply(cluster, [stranger], place=place)
    said = await finished(cluster, "stranger", place)
    await delete(cluster, [stranger], place)
    return set(msgspec.json.decode(said))
