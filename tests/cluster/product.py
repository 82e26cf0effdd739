"""The product in a pod, as the chart makes it: its image, its settings, and the secrets that others would make."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from app.contract.signing import Signer
from app.errors import DaemonError
from app.lab.daemons.certificates import Authority
from tests.cluster.cluster import Cluster
from tests.cluster.steps import apply, finished
from tests.deploy.chart import NAMESPACE, Item, Values, by_name, names, values

FOUND_NOTHING = "No problems found."
PROBES = ("livenessProbe", "readinessProbe")


class Secrets:
    """What the chart expects to be there: certificates of Kafka and its users, and the key that decisions have."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._authority = Authority("kafka")

    def values(self, pops: int) -> Values:
        """Values for this many PoPs, in which the key is trusted."""
        key = {"name": "telemetry", "public": Signer(self._key).public_text, "signs": ["decisions", "control"]}
        return values(*names(pops), settings={"trust": {"key": [key]}})

    def objects(self, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
        """The Secrets that these objects of the chart mount."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        yield secret("decisions-key", {"key.pem": pem})
        yield secret("autopilot-cluster-ca-cert", {"ca.crt": self._authority.certificate})
        for name in (item.name for item in items if item.document["kind"] == "KafkaUser"):
            issued = self._authority.issue(name)
            yield secret(name, {"user.crt": issued.certificate, "user.key": issued.key})


def secret(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """A Secret that has these files."""
    data = {file: base64.b64encode(text.encode()).decode() for file, text in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}


async def checks_itself(cluster: Cluster, items: Sequence[Item], secrets: Secrets) -> str:
    """Telemetry's pod finds nothing wrong with its files; its version."""
    kinds = ("ConfigMap", "PriorityClass")
    own = [item.document for item in items if item.document["kind"] in kinds]
    await apply(cluster, [*own, *secrets.objects(items)])
    workload = by_name(items)["apps/v1 StatefulSet", f"autopilot-telemetry-{names(1)[0]}"]
    await apply(cluster, [check_pod(workload)])
    said = await finished(cluster, "check")
    if FOUND_NOTHING not in said:
        raise DaemonError(f"`autopilot check` in a pod: {said}")
    return said.splitlines()[0]


def check_pod(workload: Mapping[str, Any]) -> dict[str, Any]:
    """A pod like those of this workload, which says its version, and then what is wrong with its files."""
    template = workload["spec"]["template"]
    container = {key: value for key, value in template["spec"]["containers"][0].items() if key not in PROBES}
    spec = template["spec"] | {
        "restartPolicy": "Never",
        "initContainers": [container | {"name": "version", "args": ["--version"]}],
        "containers": [container | {"name": "check", "args": ["check", "--offline"]}],
        "volumes": [*template["spec"]["volumes"], {"name": "data", "emptyDir": {}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "check", "namespace": NAMESPACE}, "spec": spec}
