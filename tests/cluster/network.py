"""The chart with PoPs whose routers stand outside of the cluster, on a broker in a pod: the whole closed loop."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.lab.demo.run import PACING
from tests.cluster import broker, pops
from tests.cluster.cluster import READY, Cluster
from tests.cluster.product import Secrets, ask_broker, volume
from tests.cluster.steps import apply, installed, listed
from tests.deploy.chart import NAMESPACE, Values, template

# Two cores have to do for all of them.
SMALL = {"resources": {"requests": {"cpu": "20m"}}}
REPLICAS = 1
KINDS = "statefulsets,deployments"


class Network:
    """A release of the chart, with these PoPs."""

    def __init__(self, cluster: Cluster, secrets: Secrets, helm: Path, names: Sequence[str]) -> None:
        self._cluster, self._secrets, self._helm = cluster, secrets, helm
        self.pops = list(names)
        self._numbers = {name: number for number, name in enumerate(names)}

    def values(self, **others: Any) -> Values:
        """Values for the PoPs that there are now."""
        each: Values = {name: SMALL for name in ("actuator", "gobgpd", "reaper")}
        each |= {name: SMALL | {"replicas": REPLICAS} for name in ("telemetry", "sfacctd", "pmbmpd", "view")}
        found = self._secrets.values(0, kafka={"broker": broker.BROKER, "replicas": 1})
        found["settings"] = found["settings"] | {"mode": "auto", "pacing": PACING}
        found["pops"] = [pops.entry(name, self._numbers[name]) for name in self.pops]
        found["inventories"] = {name: pops.inventory(name, self._numbers[name]) for name in self.pops}
        return found | each | others

    async def start(self) -> None:
        """Start the broker and all pods of the chart, and wait until everything is ready."""
        cluster, wanted = self._cluster, self.values()
        items = template(self._helm, wanted)
        disks = [await volume(cluster, name) for name in self.pops]
        await apply(cluster, [*broker.objects(self._secrets.authority), *self._secrets.objects(items), *disks])
        await cluster.wait(cluster.becomes("True", "get", "pod", "kafka", "--namespace", NAMESPACE, "--output", READY))
        await installed(cluster, wanted)
        await ask_broker(cluster, self._secrets.authority)
        await balance(cluster)
        await self.ready("sfacctd", "pmbmpd")

    async def ready(self, *components: str) -> None:
        """Wait until all pods of these components are ready; of all components without any."""

        async def probe() -> str | None:
            waiting = [
                item["metadata"]["name"]
                for item in await listed(self._cluster, KINDS)
                if (not components or item["metadata"]["labels"]["app.kubernetes.io/component"] in components)
                and not _is_ready(item)
            ]
            return f"not ready: {', '.join(waiting)}" if waiting else None

        await self._cluster.wait(probe)

    def keep_operator(self) -> None:
        """Write down by which certificate an operator outside of the cluster reaches the broker."""
        name = "autopilot-operator"
        issued = self._secrets.authority.issue(name)
        for file, text in zip((f"{name}.crt", f"{name}.key"), issued, strict=True):
            (self._cluster.sandbox.folder / "kafka" / file).write_text(text, encoding="utf-8")


def _is_ready(workload: dict[str, Any]) -> bool:
    status, wanted = workload.get("status", {}), workload["spec"]["replicas"]
    seen = status.get("observedGeneration") == workload["metadata"]["generation"]
    return bool(seen and status.get("readyReplicas", 0) == status.get("replicas") == wanted)


async def balance(cluster: Cluster) -> None:
    """Stand in for a cloud's load balancer: each Service has the address that it asks for."""
    for service in await listed(cluster, "services"):
        if address := service["spec"].get("loadBalancerIP"):
            status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
            name = ("service", service["metadata"]["name"], "--namespace", NAMESPACE)
            await cluster.kubectl("patch", *name, "--subresource=status", "--type=merge", "--patch", json.dumps(status))
