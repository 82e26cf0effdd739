"""The chart with PoPs whose routers stand outside of the cluster, on brokers in pods: the whole closed loop."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.errors import DaemonError
from app.lab.demo.run import PACING
from tests.cluster import balancer, broker, pops
from tests.cluster.cluster import Cluster
from tests.cluster.partitions import Partition
from tests.cluster.pki import CONTROL
from tests.cluster.pods import metadata
from tests.cluster.product import Secrets, ask_broker, volume
from tests.cluster.steps import apply, installed, listed
from tests.deploy.chart import Item, Values, template

ROOT = Path(__file__).parents[2]
# Two cores have to do for all of them.
SMALL = {"resources": {"requests": {"cpu": "20m"}}}
REPLICAS = {"telemetry": 1, "sfacctd": 2, "pmbmpd": 1, "view": 1}  # a spare of what hears datagrams
BROKERS = len(broker.ADDRESSES)
KINDS = "statefulsets,deployments"


class Network:
    """A release of the chart, with these PoPs."""

    def __init__(self, cluster: Cluster, secrets: Secrets, helm: Path, names: Sequence[str]) -> None:
        self._cluster, self._secrets, self._helm = cluster, secrets, helm
        self._numbers: dict[str, int] = {}
        self._given: set[str] = set()
        self._disks = 0
        self.pops: list[str] = []
        for name in names:
            self.add(name)

    def values(self, **others: Any) -> Values:
        """Values for the PoPs that there are now."""
        each: Values = {name: SMALL for name in ("actuator", "gobgpd", "reaper")}
        each |= {name: SMALL | {"replicas": count} for name, count in REPLICAS.items()}
        found = self._secrets.values(0, kafka={"broker": broker.BROKER, "replicas": BROKERS})
        found["settings"] = found["settings"] | {"mode": "auto", "pacing": PACING}
        found["pops"] = [pops.entry(name, self._numbers[name]) for name in self.pops]
        found["inventories"] = {name: pops.inventory(name, self._numbers[name]) for name in self.pops}
        return found | each | others

    async def start(self) -> None:
        """Start the broker and all pods of the chart, and wait until the collectors hear."""
        cluster = self._cluster
        items = template(self._helm, self.values())
        kafka = next(item.document["spec"]["kafka"] for item in items if item.document["kind"] == "Kafka")
        peers = kafka["listeners"][0]["networkPolicyPeers"]
        disks = [await volume(cluster, broker.pod_of(number)) for number in range(BROKERS)]
        await apply(cluster, [*broker.objects(self._secrets.authority, peers), state_policy(), *disks])
        await self.ready(broker.NAME)
        await balancer.start(cluster)
        for pop in self.pops:
            await self.give_disk(pop)
        await self.change()
        self._keep_operator()

    async def change(self, **others: Any) -> None:
        """Install the chart, or change it to these values, with all that Strimzi and a cloud would do."""
        cluster, wanted = self._cluster, self.values(**others)
        await installed(cluster, wanted)
        await ask_broker(cluster, self._secrets.authority)
        # As with Strimzi no pod begins before its user has a certificate.
        if new := list(self._new_secrets(template(self._helm, wanted))):
            await apply(cluster, new)
        await balancer.balance(cluster)
        await self.ready("sfacctd", "pmbmpd")

    def _new_secrets(self, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
        """Secrets that these objects need and that are not there yet."""
        for each in self._secrets.objects(items):
            if (name := each["metadata"]["name"]) not in self._given:
                self._given.add(name)
                yield each

    async def give_disk(self, pop: str) -> None:
        """Let the next claim of a volume have an empty one."""
        self._disks += 1
        await apply(self._cluster, [await volume(self._cluster, f"{pop}-{self._disks}")])

    def add(self, pop: str) -> int:
        """Add a PoP to the list; its number."""
        self.pops.append(pop)
        return self._numbers.setdefault(pop, len(self._numbers))

    async def ready(self, *components: str) -> None:
        """Wait until all pods of these components are ready; of all components without any, and the brokers."""

        async def probe() -> str | None:
            waiting = [
                item["metadata"]["name"]
                for item in await listed(self._cluster, KINDS)
                if not _is_ready(item) and (not components or _component(item) in components)
            ]
            return f"not ready: {', '.join(waiting)}" if waiting else None

        await self._cluster.wait(probe)

    async def partitions(self) -> dict[str, list[Partition]]:
        """The partitions of every topic."""
        python = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.cluster.partitions")
        operator = json.dumps(pops.operator(self._cluster.sandbox.folder))
        found = await self._cluster.sandbox.run(*python, stdin=operator)
        return msgspec.json.decode(found, type=dict[str, list[Partition]])

    async def in_sync(self) -> None:
        """Wait until every broker has all of its partitions: before that another one must not go."""

        async def probe() -> str | None:
            try:
                found = await self.partitions()
            except DaemonError as error:
                return str(error)
            behind = [topic for topic, each in found.items() if any(len(one.in_sync) < BROKERS for one in each)]
            return f"not in sync: {', '.join(behind)}" if behind else None

        await self._cluster.wait(probe)

    def _keep_operator(self) -> None:
        """Write down by which certificate an operator outside of the cluster reaches the broker."""
        name = "autopilot-operator"
        issued = self._secrets.authority.issue(name)
        for file, text in zip((f"{name}.crt", f"{name}.key"), issued, strict=True):
            (self._cluster.sandbox.folder / "kafka" / file).write_text(text, encoding="utf-8")


def state_policy() -> dict[str, Any]:
    """Let the API server, which is on no node, reach telemetry: PoPs outside ask it for telemetry's state."""
    selector = {"matchLabels": {"app.kubernetes.io/component": "telemetry"}}
    allowed = {"from": [{"ipBlock": {"cidr": f"{CONTROL}/32"}}], "ports": [{"protocol": "TCP", "port": "http"}]}
    spec = {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [allowed]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata("state"), "spec": spec}


def _component(workload: dict[str, Any]) -> str:
    about = workload["metadata"]
    return str(about.get("labels", {}).get("app.kubernetes.io/component", about["name"]))


def _is_ready(workload: dict[str, Any]) -> bool:
    """Whether all its pods are ready, and as new as they should be."""
    status, spec = workload.get("status", {}), workload["spec"]
    counts = [status.get("readyReplicas", 0)]
    if spec.get("updateStrategy", {}).get("type") != "OnDelete":
        counts.append(status.get("updatedReplicas", 0))
    seen = status.get("observedGeneration") == workload["metadata"]["generation"]
    return bool(seen and all(count == spec["replicas"] == status.get("replicas") for count in counts))
