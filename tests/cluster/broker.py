"""Kafka brokers in pods: TLS with client certificates, and rights by identity, as the chart's processes expect it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from app.lab.daemons.certificates import Authority
from app.lab.daemons.guard import ADMIN
from app.lab.daemons.kafka import CLUSTER_ID, JAVA_OPTIONS
from app.lab.daemons.machine import KAFKA_JARS, fill
from tests.cluster.images import REGISTRY
from tests.cluster.pods import CLUSTER, metadata, pod, secret

IMAGE = f"{REGISTRY}/kafka:1"
DOCKERFILE = Path(__file__).parents[2] / "deploy" / "cluster" / "kafka.Dockerfile"
CONTEXT = KAFKA_JARS.parent
# Services have the addresses that they ask for. Nobody resolves names here.
BOOTSTRAP, ADDRESSES = "10.97.0.90", ("10.97.0.93", "10.97.0.94", "10.97.0.95")
PORT, CONTROLLER = 9093, 9091
BROKER = f"{BOOTSTRAP}:{PORT}"
OPERATORS = "10.99.0.0/16"
NAME, IDENTITY, DISK = "kafka", "broker", "10Gi"
FILES, DATA = "/etc/broker", "/var/lib/kafka"
PROPERTIES = f"""
node.id=$number
listeners=TLS://0.0.0.0:{PORT},CONTROLLER://0.0.0.0:{CONTROLLER}
advertised.listeners=TLS://$address:{PORT}
listener.security.protocol.map=TLS:SSL,CONTROLLER:SSL
inter.broker.listener.name=TLS
controller.quorum.voters=$voters
ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={FILES}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={FILES}/ca.crt
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:CN={IDENTITY};User:CN={ADMIN}
default.replication.factor={len(ADDRESSES)}
min.insync.replicas=2
offsets.topic.replication.factor={len(ADDRESSES)}
transaction.state.log.replication.factor={len(ADDRESSES)}
transaction.state.log.min.isr=2
"""
JAVA = ("java", *JAVA_OPTIONS, f"-Dlog4j2.configurationFile={FILES}/log4j2.properties", "-cp", "/opt/kafka/*")
START = """
own=/etc/broker/kafka-${HOSTNAME##*-}.properties
[ -e /var/lib/kafka/meta.properties ] || "$@" kafka.tools.StorageTool format -t "$CLUSTER_ID" -c "$own" || exit
exec "$@" kafka.Kafka "$own"
"""


def pod_of(number: int) -> str:
    """The pod of a broker; it is called by its number."""
    return f"{NAME}-{number}"


def is_broker(pod: Mapping[str, Any]) -> bool:
    """Whether a pod, as the API server describes it, is one of ours."""
    return str(pod["metadata"]["name"]).startswith(f"{NAME}-")


def properties() -> dict[str, str]:
    """The file of each broker. Each is a controller, too."""
    voters = ",".join(f"{number}@{address}:{CONTROLLER}" for number, address in enumerate(ADDRESSES))
    common = fill("kafka.properties", kafka=PORT, controller=CONTROLLER, data=DATA)
    return {
        f"{pod_of(number)}.properties": common
        + Template(PROPERTIES).substitute(number=number, address=address, voters=voters)
        for number, address in enumerate(ADDRESSES)
    }


def objects(authority: Authority, peers: Sequence[Any]) -> list[dict[str, Any]]:
    """The brokers, whose data outlive their pods, their files, the addresses of them, and who may reach those.

    `peers` are those of the listener, in the Kafka object. Operators are outside of the cluster.
    """
    files = properties() | {
        "log4j2.properties": fill("log4j2.properties"),
        "broker.pem": "".join(authority.issue(IDENTITY, (BOOTSTRAP, *ADDRESSES))),
        "ca.crt": authority.certificate,
    }
    container: Mapping[str, Any] = {
        "name": "kafka",
        "image": IMAGE,
        "command": ["sh", "-c", START, "sh", *JAVA],
        "env": [{"name": "CLUSTER_ID", "value": CLUSTER_ID}],
        "resources": {"requests": {"cpu": "300m"}},  # without, all others come first when cores are few
        "ports": [{"name": "tls", "containerPort": PORT}, {"name": "controller", "containerPort": CONTROLLER}],
        "readinessProbe": {"tcpSocket": {"port": "tls"}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "files", "mountPath": FILES},
            {"name": "data", "mountPath": DATA},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    volumes = [
        {"name": "files", "secret": {"secretName": "broker"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    labels = {"strimzi.io/cluster": CLUSTER, "strimzi.io/name": f"{CLUSTER}-kafka"}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": DISK}}, "storageClassName": ""}
    workload = {
        "serviceName": NAME,
        "replicas": len(ADDRESSES),
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod(NAME, container, volumes=volumes)["spec"]},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }
    among = {"from": [{"podSelector": {"matchLabels": labels}}]}
    allowed = {"from": [*peers, {"ipBlock": {"cidr": OPERATORS}}], "ports": [{"protocol": "TCP", "port": "tls"}]}
    policy = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"], "ingress": [among, allowed]}
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    return [
        secret("broker", files),
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata(NAME), "spec": policy},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(NAME), "spec": budget},
        _service(f"{CLUSTER}-kafka-bootstrap", BOOTSTRAP, labels),
        *(
            _service(pod_of(number), address, {"statefulset.kubernetes.io/pod-name": pod_of(number)})
            for number, address in enumerate(ADDRESSES)
        ),
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata(NAME), "spec": workload},
    ]


def _service(name: str, address: str, selector: Mapping[str, str]) -> dict[str, Any]:
    """Brokers of one name find each other before they are ready."""
    ports = [
        {"name": name, "port": port, "targetPort": name} for name, port in (("tls", PORT), ("controller", CONTROLLER))
    ]
    whole = len(selector) == 1
    spec = {"clusterIP": address, "selector": selector, "ports": ports, "publishNotReadyAddresses": whole}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(name), "spec": spec}
