"""A stand-in for a cloud's load balancer: each Service has the address that it asks for, at a node that can serve it.

`python -m tests.cluster.balancer FILE` runs in the fabric. FILE has, by address, the port on which nodes say whether
they have a pod for it that is ready (`healthCheckNodePort`); it is read anew whenever it looks.
"""

import asyncio
import contextlib
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

from app.lab.daemons.commands import output
from tests.cluster.cluster import Cluster
from tests.cluster.pki import NODES
from tests.cluster.steps import listed
from tests.deploy.chart import NAMESPACE

ROOT = Path(__file__).parents[2]
LOOKS_EVERY_S, ANSWERS_WITHIN_S = 0.5, 2.0


def file_of(cluster: Cluster) -> Path:
    """What the balancer of this cluster reads."""
    return cluster.sandbox.folder / "balanced.json"


async def start(cluster: Cluster) -> None:
    """Start it, with nothing to do."""
    file_of(cluster).write_text("{}", encoding="ascii")
    python = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.cluster.balancer", str(file_of(cluster)))
    await cluster.start_beside("balancer", *python)


async def balance(cluster: Cluster) -> None:
    """Give the Services their addresses."""
    ports = {}
    for service in await listed(cluster, "services"):
        if address := service["spec"].get("loadBalancerIP"):
            ports[address] = service["spec"]["healthCheckNodePort"]
            status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
            name = ("service", service["metadata"]["name"], "--namespace", NAMESPACE)
            await cluster.kubectl("patch", *name, "--subresource=status", "--type=merge", "--patch", json.dumps(status))
    new = file_of(cluster).with_suffix(".new")
    new.write_text(json.dumps(ports), encoding="ascii")
    new.rename(file_of(cluster))


def serves(node: str, port: int) -> bool:
    """Whether a node says that it has a pod that is ready."""
    with (
        contextlib.suppress(OSError),
        urllib.request.urlopen(f"http://{node}:{port}/healthz", timeout=ANSWERS_WITHIN_S),
    ):
        return True
    return False


async def lead(file: Path) -> None:
    """Lead each address to a node that serves it, and elsewhere only when that one does so no more."""
    leads: dict[str, str] = {}
    while True:
        for address, port in json.loads(file.read_bytes()).items():
            now = leads.get(address)
            candidates = [node for node in NODES.values() if node != now]
            chosen = next((node for node in ([now] if now else []) + candidates if serves(node, port)), now)
            if chosen and chosen != now:
                await output("ip", "route", "replace", f"{address}/32", "via", chosen)
                leads[address] = chosen
        await asyncio.sleep(LOOKS_EVERY_S)


if __name__ == "__main__":
    asyncio.run(lead(Path(sys.argv[1])))
