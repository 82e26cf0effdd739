"""What is shown on a cluster, one step after the other."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from app.clock import SystemClock
from app.errors import DaemonError
from app.lab.daemons.runner import Probe
from tests.cluster.cluster import Cluster
from tests.cluster.images import PAUSE
from tests.cluster.pods import namespace, pod
from tests.deploy.chart import NAMESPACE, RELEASE, Item
from tests.deploy.generated import CHART
from tests.deploy.tools import Tools
from tests.deploy.typos import typos

HAVE_DATA = {"kafkas": "Kafka", "kafkanodepools": "KafkaNodePool", "kafkatopics": "KafkaTopic"}
ENVELOPE = ("apiVersion", "kind", "metadata")
CLOCK = SystemClock()


class Step(msgspec.Struct, frozen=True):
    """What became of one step. Bytes are None where nothing was sent that could be counted."""

    step: str
    ok: bool
    seconds: float
    bytes_lost: int | None = None
    bytes_doubled: int | None = None


class Counted(msgspec.Struct):
    """The bytes of a step, all PoPs together."""

    sent: int = 0
    lost: int | None = None
    doubled: int | None = None
    aside: int = 0  # of those sent, counted in no window

    def add(self, sent: int, lost: int, doubled: int, aside: int) -> None:
        """Count more bytes."""
        self.sent += sent
        self.aside += aside
        self.lost = (self.lost or 0) + lost
        self.doubled = (self.doubled or 0) + doubled


class Outcome(msgspec.Struct):
    """All steps. The first that fails is the last."""

    ok: bool = True
    steps: list[Step] = []


class Steps:
    """Takes the time of each step, and reports it."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self.outcome = Outcome()
        self._report = report

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator["Counted"]:
        """One step; an error in it goes on to whoever runs the steps. It fails, too, if bytes are lost or doubled."""
        self._report(f"{name} ...")
        begun_s = CLOCK.monotonic_s()
        ok, counted = False, Counted()
        try:
            yield counted
            if counted.lost or counted.doubled:
                raise DaemonError(f"{name}: {counted.lost:,} bytes were lost, and {counted.doubled:,} doubled")
            ok = True
        finally:
            taken_s = round(CLOCK.monotonic_s() - begun_s, 1)
            self.outcome.ok &= ok
            self.outcome.steps.append(Step(name, ok, taken_s, counted.lost, counted.doubled))
            of_bytes = f", {counted.lost:,} of {counted.sent:,} bytes lost" if counted.sent else ""
            of_bytes += f", {counted.aside:,} counted outside of windows" if counted.aside else ""
            self._report(f"{name}: {'done' if ok else 'failed'} after {taken_s:g} s{of_bytes}")


async def one_pod(cluster: Cluster) -> None:
    """A pod runs, in a namespace where Pod Security lets in nothing that may more than our pods may."""
    await make_namespace(cluster, NAMESPACE)
    await apply(cluster, [pod("pause", {"name": "pause", "image": PAUSE})])
    await cluster.wait(phase(cluster, "pause", "Running"))
    await cluster.kubectl("delete", "pod", "pause", "--namespace", NAMESPACE)


async def make_namespace(cluster: Cluster, name: str) -> None:
    """Make a namespace that takes pods."""
    await apply(cluster, [namespace(name)])
    # The controllers make it some moments after its namespace, and no pod may come before it.
    account = ("get", "serviceaccount", "default", "--namespace", name, "--output", "name")
    await cluster.wait(cluster.becomes("serviceaccount/default", *account))


async def definitions(cluster: Cluster, tools: Tools) -> None:
    """The API server knows the kinds of the operators that the chart makes objects for."""
    files = [word for path in tools.resources for word in ("--filename", str(path))]
    await cluster.kubectl("apply", "--server-side", *files, within_s=300.0)
    await cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *files, within_s=90.0)


async def refuses_nothing(cluster: Cluster, items: Sequence[Item]) -> None:
    """The API server would take every object of the chart, and has no warning about any."""
    await apply(cluster, [item.document for item in items], "--dry-run=server", "--warnings-as-errors")


async def refuses_typos(cluster: Cluster, items: Sequence[Item]) -> None:
    """It refuses an object of each kind for one misspelt key, and names that."""
    for item in {item.kind: item for item in items}.values():
        path, planted = next(found for found in typos(item.document) if found[0].split(".")[0] not in ENVELOPE)
        try:
            await apply(cluster, [planted], "--dry-run=server")
        except DaemonError as refusal:
            if f"{path.split('.')[-1]}x" in str(refusal):
                continue
        raise DaemonError(f"{item.kind}: a misspelt {path} is not refused by its name")


async def installed(cluster: Cluster, wanted: Mapping[str, Any]) -> None:
    """Helm installs it, and every pod that it asks for is let in, whether it can run here or not."""
    options = ("upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", "-")
    await cluster.helm(*options, stdin=json.dumps(wanted), within_s=300.0)
    await cluster.wait(_all_pods_are_made(cluster))


def _all_pods_are_made(cluster: Cluster) -> Probe:
    async def probe() -> str | None:
        missing = [
            item["metadata"]["name"]
            for item in await listed(cluster, "statefulsets,deployments")
            if item.get("status", {}).get("replicas", 0) != item["spec"]["replicas"]
        ]
        if not missing:
            return None
        events = ("get", "events", "--namespace", NAMESPACE, "--field-selector", "reason=FailedCreate")
        reasons = await cluster.kubectl(*events, "--output", "jsonpath={.items[*].message}")
        return f"no pods of {', '.join(missing)}: {reasons}"

    return probe


async def removed(cluster: Cluster, items: Sequence[Item]) -> None:
    """Helm removes it, and with it everything but what has data: topics, and Kafka itself."""
    await cluster.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", within_s=300.0)
    await cluster.wait(_is_gone(cluster, "statefulsets,deployments,pods,services,persistentvolumeclaims,kafkausers"))
    kept = {item["metadata"]["name"] for item in await listed(cluster, ",".join(HAVE_DATA))}
    wanted = {item.name for item in items if item.document["kind"] in HAVE_DATA.values()}
    if kept != wanted:
        raise DaemonError(f"without the chart these are there: {sorted(kept)}; these should be: {sorted(wanted)}")


def _is_gone(cluster: Cluster, kinds: str) -> Probe:
    async def probe() -> str | None:
        left = [item["metadata"]["name"] for item in await listed(cluster, kinds)]
        return f"still there: {', '.join(left)}" if left else None

    return probe


async def listed(cluster: Cluster, kinds: str) -> list[dict[str, Any]]:
    """All objects of these kinds in our namespace."""
    found = await cluster.kubectl("get", kinds, "--namespace", NAMESPACE, "--output", "json")
    items: list[dict[str, Any]] = msgspec.json.decode(found)["items"]
    return items


async def apply(cluster: Cluster, objects: Iterable[Mapping[str, Any]], *more: str, place: str = NAMESPACE) -> None:
    """Create these objects, or change them; DaemonError names what is misspelt in them."""
    options = ("--server-side", "--validate=strict", "--namespace", place, *more, "--filename", "-")
    written = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    await cluster.kubectl("apply", *options, stdin=written, within_s=300.0)


async def delete(cluster: Cluster, objects: Iterable[Mapping[str, Any]], place: str = NAMESPACE) -> None:
    """Delete these objects, and wait until they are gone."""
    written = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    await cluster.kubectl("delete", "--namespace", place, "--filename", "-", stdin=written, within_s=120.0)


async def finished(cluster: Cluster, name: str, place: str = NAMESPACE) -> str:
    """What a pod has written that ends by itself; DaemonError with that if it fails."""
    await cluster.wait(phase(cluster, name, "Succeeded", place))
    return await cluster.kubectl("logs", name, "--namespace", place, "--all-containers")


def phase(cluster: Cluster, name: str, wanted: str, place: str = NAMESPACE) -> Probe:
    """A probe for the phase of a pod, which says what keeps it from that."""

    async def probe() -> str | None:
        found = msgspec.json.decode(
            await cluster.kubectl("get", "pod", name, "--namespace", place, "--output", "json")
        )["status"]
        if found["phase"] == wanted:
            return None
        if found["phase"] in ("Failed", "Succeeded"):
            logs = await cluster.kubectl("logs", name, "--namespace", place, "--all-containers")
            raise DaemonError(f"pod {name} has {found['phase'].lower()}: {logs}")
        states = [each["state"] for each in found.get("containerStatuses", ())]
        return f"pod {name} is {found['phase']}: {json.dumps(states)}"

    return probe
