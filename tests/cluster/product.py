"""The product in a pod, as the chart makes it: its image, its settings, and the secrets that others would make."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from app.contract.signing import Signer
from app.errors import DaemonError
from app.lab.daemons.certificates import Authority
from app.lab.daemons.guard import ADMIN
from tests.cluster import broker
from tests.cluster.cluster import Cluster
from tests.cluster.pods import USER, metadata, secret
from tests.cluster.steps import apply, delete, finished
from tests.deploy.chart import NAMESPACE, Item, Values, by_name, names, values

ROOT = Path(__file__).parents[2]
FOUND_NOTHING = "No problems found."
WORKERS, CHECK = ("telemetry", "actuator"), ("check", "--offline")
PROBES = ("livenessProbe", "readinessProbe")


class Secrets:
    """What the chart expects to be there: certificates of Kafka and its users, and the key that decisions have."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.authority = Authority("kafka")

    def values(self, pops: int, **others: Any) -> Values:
        """Values for this many PoPs, in which the key is trusted."""
        key = {"name": "telemetry", "public": Signer(self._key).public_text, "signs": ["decisions", "control"]}
        return values(*names(pops), settings={"trust": {"key": [key]}}, **others)

    def objects(self, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
        """The Secrets that these objects of the chart mount."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        yield secret("decisions-key", {"key.pem": pem})
        yield secret("autopilot-cluster-ca-cert", {"ca.crt": self.authority.certificate})
        for name in (item.name for item in items if item.document["kind"] == "KafkaUser"):
            issued = self.authority.issue(name)
            yield secret(name, {"user.crt": issued.certificate, "user.key": issued.key})


async def checks_itself(cluster: Cluster, items: Sequence[Item], secrets: Secrets) -> str:
    """A pod says its version, and those of both workers find nothing wrong with their files; the version."""
    cell = names(1)[0]
    found = by_name(items)
    needed = [item.document for item in items if item.document["kind"] in ("ConfigMap", "PriorityClass")]
    needed += secrets.objects(items)
    workloads = {name: found["apps/v1 StatefulSet", f"autopilot-{name}-{cell}"] for name in WORKERS}
    needed += [one_command(workload, name, CHECK) for name, workload in workloads.items()]
    needed.append(one_command(workloads["telemetry"], "version", ["--version"]))
    await apply(cluster, needed)
    for name in WORKERS:
        if FOUND_NOTHING not in (said := await finished(cluster, name)):
            raise DaemonError(f"`autopilot check` in a pod of {name}: {said}")
    version = await finished(cluster, "version")
    await delete(cluster, needed)
    return version.strip()


def one_command(workload: Mapping[str, Any], name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """A pod like those of this workload, whose first container runs one command of ours to its end."""
    whole = workload["spec"]["template"]["spec"]
    kept = {key: value for key, value in whole.items() if key != "initContainers"}
    container = {key: value for key, value in whole["containers"][0].items() if key not in PROBES}
    claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())]
    spec = kept | {
        "restartPolicy": "Never",
        "containers": [container | {"args": list(arguments)}],
        "volumes": [*whole["volumes"], *({"name": claim, "emptyDir": {}} for claim in claims)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata(name), "spec": spec}


async def ask_broker(cluster: Cluster, authority: Authority) -> None:
    """Let the stand-in of Strimzi make what the objects on the API server ask for."""
    folder = cluster.sandbox.folder / "kafka"
    folder.mkdir(mode=0o700, exist_ok=True)
    issued = authority.issue(ADMIN)
    for name, text in (("ca.crt", authority.certificate), *zip((f"{ADMIN}.crt", f"{ADMIN}.key"), issued, strict=True)):
        (folder / name).write_text(text, encoding="utf-8")
    found = await cluster.kubectl("get", "kafkatopics,kafkausers", "--namespace", NAMESPACE, "--output", "json")
    python = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.cluster.strimzi", broker.BROKER, str(folder))
    await cluster.sandbox.run(*python, stdin=found, within_s=120.0)


async def volume(cluster: Cluster, name: str) -> dict[str, Any]:
    """A volume of the node for whoever claims one, whose folder our user may write to."""
    path = cluster.sandbox.state / "volumes" / name
    await cluster.sandbox.run("install", "-d", f"--owner={USER}", f"--group={USER}", str(path))
    spec = {
        "capacity": {"storage": "10Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": str(path), "type": "Directory"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
