"""What breaks, or is changed, while traffic flows in every PoP; each byte is counted."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from app.contract import topics
from app.errors import DaemonError
from tests.cluster import broker
from tests.cluster.cluster import Cluster
from tests.cluster.network import Network
from tests.cluster.outside import Play
from tests.cluster.pops import PopOutside, outside
from tests.cluster.steps import Counted, listed
from tests.deploy.chart import NAMESPACE, RELEASE

STEADY = Play(str(Path(__file__).with_name("steady.toml")))
DRAINS_WITHIN_S = 300.0
KILL = ("--grace-period=0", "--force", "--wait=false")


async def closed_loop(outsides: Sequence[PopOutside], counted: Counted) -> None:
    """The demo in every PoP; DaemonError names the bounds that do not hold."""
    for played in await asyncio.gather(*(each.play(Play("surge", judged=True)) for each in outsides)):
        counted.add(played.sent, played.lost, played.doubled, played.aside)
        if not played.ok:
            raise DaemonError(f"the demo's verdict: {', '.join(played.failed)}")


@asynccontextmanager
async def while_it_flows(outsides: Sequence[PopOutside], counted: Counted) -> AsyncIterator[None]:
    """During the block traffic flows and overrides stand, as after it; then what telemetry published is counted."""
    await asyncio.gather(*(each.begin(STEADY) for each in outsides))
    yield
    for played in await asyncio.gather(*(each.end() for each in outsides)):
        counted.add(played.sent, played.lost, played.doubled, played.aside)
        if played.undelivered:
            raise DaemonError(f"{played.undelivered:,} bytes have not even reached Kafka")


class Breaks:
    """What can break in a network, and how it is changed. Each returns when everything is ready again."""

    def __init__(self, cluster: Cluster, network: Network) -> None:
        self._cluster, self._network = cluster, network

    async def telemetry_is_killed(self) -> None:
        """The pod of telemetry dies, in every PoP."""
        for pop in self._network.pops:
            await self._kill(f"autopilot-telemetry-{pop}-0")
        await self._network.ready()

    async def volumes_are_lost(self) -> None:
        """Telemetry comes back with an empty volume, in every PoP."""
        for pop in self._network.pops:
            await self._network.give_disk(pop)
            pod = f"autopilot-telemetry-{pop}-0"
            claim = ("delete", "persistentvolumeclaim", f"data-{pod}", "--namespace", NAMESPACE, "--wait=false")
            await self._cluster.kubectl(*claim)
            await self._kill(pod)
        await self._network.ready()

    async def collectors_restart(self) -> None:
        """Those that hear sFlow are replaced one after the other. The routers go on sending to one address."""
        for pop in self._network.pops:
            workload = ("restart", f"statefulset/autopilot-sfacctd-{pop}", "--namespace", NAMESPACE)
            await self._cluster.kubectl("rollout", *workload)
        await self._network.ready()

    async def broker_is_killed(self) -> None:
        """The broker that leads the flows of a PoP dies, and starts again on its data."""
        [flows] = (await self._network.partitions())[topics.FLOWS.for_pop(self._network.pops[0])]
        await self._kill(broker.pod_of(flows.leader))
        await self._network.ready()
        await self._network.in_sync()

    async def telemetry_ends(self) -> None:
        """Telemetry is asked to end, in every PoP; DaemonError if it has to be killed."""
        for pop in self._network.pops:
            await self._end(f"autopilot-telemetry-{pop}-0")
        await self._network.ready()

    async def telemetry_hangs(self) -> None:
        """Telemetry of one PoP is frozen: its probe tells that from a recovery, and has it started again."""
        pod = f"autopilot-telemetry-{self._network.pops[0]}-0"
        before = await self._restarts(pod)
        await self._cluster.freeze((await self._pod(pod))["metadata"]["uid"], "telemetry")

        async def again() -> str | None:
            return None if await self._restarts(pod) > before else f"{pod} is still frozen"

        await self._cluster.wait(again)
        await self._network.ready()

    async def node_is_drained(self) -> None:
        """A node is emptied, as far as disruption budgets let it, and taken into use again.

        It is the one with a single broker: budgets know of a broker that is ready, and not of one that is in sync.
        """
        nodes = Counter(item["spec"]["nodeName"] for item in await self._items("pods") if broker.is_broker(item))
        [*_, (node, _)] = nodes.most_common()
        options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={DRAINS_WITHIN_S:g}s")
        await self._cluster.kubectl("drain", node, *options, within_s=DRAINS_WITHIN_S + 10)
        left = [item["metadata"]["name"] for item in await self._items("pods") if item["spec"].get("nodeName") == node]
        if left:
            raise DaemonError(f"{node} is drained, and these pods are on it: {', '.join(left)}")
        await self._network.ready()
        await self._cluster.kubectl("uncordon", node)

    async def upgrade(self) -> None:
        """A threshold is changed by helm upgrade."""
        settings = self._network.values()["settings"]
        await self._network.change(settings=settings | {"thresholds": {"enter": 0.89, "shed_to": 0.88}})
        await self._network.ready()

    async def rollback(self) -> None:
        """That is taken back by helm rollback."""
        await self._cluster.helm("rollback", RELEASE, "--namespace", NAMESPACE)
        await self._network.ready()

    async def add(self, pop: str) -> AbstractAsyncContextManager[PopOutside]:
        """A PoP comes into the list; its routers, which have to be started."""
        number = self._network.add(pop)
        await self._network.give_disk(pop)
        await self._network.change()
        return outside(self._cluster, pop, number)

    async def remove(self, pop: str) -> None:
        """A PoP leaves the list: its workloads go, and its topics stay."""
        self._network.pops.remove(pop)
        await self._network.change()
        await self._network.ready()
        left = {kind: [name for name in await self._names(kind) if pop in name] for kind in ("pods", "kafkatopics")}
        if not left["kafkatopics"]:
            raise DaemonError(f"{pop} has left the list, and its topics are gone")

        async def gone() -> str | None:
            there = [name for name in await self._names("pods") if pop in name]
            return f"still there: {', '.join(there)}" if there else None

        await self._cluster.wait(gone)

    async def _names(self, kinds: str) -> list[str]:
        return [item["metadata"]["name"] for item in await self._items(kinds)]

    async def _items(self, kinds: str) -> list[dict[str, Any]]:
        return await listed(self._cluster, kinds)

    async def _pod(self, name: str) -> dict[str, Any]:
        found = await self._cluster.kubectl("get", "pod", name, "--namespace", NAMESPACE, "--output", "json")
        return msgspec.json.decode(found, type=dict[str, Any])

    async def _restarts(self, pod: str) -> int:
        return sum(each["restartCount"] for each in (await self._pod(pod))["status"].get("containerStatuses", ()))

    async def _end(self, pod: str) -> None:
        """Delete a pod, and wait until it has gone by itself."""
        await self._cluster.kubectl("delete", "pod", pod, "--namespace", NAMESPACE, "--wait=false")
        uid, codes = (await self._pod(pod))["metadata"]["uid"], list[int]()

        async def ended() -> str | None:
            found = [item for item in await self._items("pods") if item["metadata"]["uid"] == uid]
            states = [each["state"] for item in found for each in item["status"].get("containerStatuses", ())]
            codes.extend(state["terminated"]["exitCode"] for state in states if "terminated" in state)
            return f"{pod} has not ended" if found else None

        await self._cluster.wait(ended)
        if set(codes) != {0}:
            raise DaemonError(f"{pod} was asked to end, and did so with {codes or 'no code that was seen'}")

    async def _kill(self, pod: str) -> None:
        """End a pod as a node that fails would, and wait until another has its name."""
        named = ("pod", pod, "--namespace", NAMESPACE)
        uid = await self._cluster.kubectl("get", *named, "--output", "jsonpath={.metadata.uid}")
        await self._cluster.kubectl("delete", *named, *KILL)

        async def another() -> str | None:
            try:
                found = await self._cluster.kubectl("get", *named, "--output", "jsonpath={.metadata.uid}")
            except DaemonError as refusal:
                return str(refusal)
            return f"{pod} is still the old one" if found == uid else None

        await self._cluster.wait(another)
