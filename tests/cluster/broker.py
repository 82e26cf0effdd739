"""A Kafka broker in a pod: TLS with client certificates, and rights by identity, as the chart's processes expect it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
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
# A Service has the address that it asks for. Nobody resolves names here.
ADDRESS, PORT = "10.97.0.93", 9093
BROKER = f"{ADDRESS}:{PORT}"
OPERATORS = "10.99.0.0/16"
NAME, POD, DISK = "kafka", "kafka-0", "10Gi"
FILES, DATA = "/etc/broker", "/var/lib/kafka"
PROPERTIES = f"""
listeners=BROKER://127.0.0.1:9092,CONTROLLER://127.0.0.1:9091,TLS://0.0.0.0:{PORT}
advertised.listeners=BROKER://127.0.0.1:9092,TLS://{BROKER}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL
listener.name.tls.ssl.client.auth=required
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location={FILES}/broker.pem
listener.name.tls.ssl.truststore.type=PEM
listener.name.tls.ssl.truststore.location={FILES}/ca.crt
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:CN={ADMIN}
"""
JAVA = ("java", *JAVA_OPTIONS, f"-Dlog4j2.configurationFile={FILES}/log4j2.properties", "-cp", "/opt/kafka/*")
START = """
[ -e /var/lib/kafka/meta.properties ] ||
    "$@" kafka.tools.StorageTool format -t "$CLUSTER_ID" -c /etc/broker/kafka.properties || exit
exec "$@" kafka.Kafka /etc/broker/kafka.properties
"""


def objects(authority: Authority, peers: Sequence[Any]) -> list[dict[str, Any]]:
    """The broker, whose data outlive its pod, its files, the address that it is reached at, and who may reach that.

    `peers` are those of its listener, in the Kafka object. Operators are outside of the cluster.
    """
    files = {
        "kafka.properties": fill("kafka.properties", kafka=9092, controller=9091, data=DATA) + PROPERTIES,
        "log4j2.properties": fill("log4j2.properties"),
        "broker.pem": "".join(authority.issue("broker", (ADDRESS,))),
        "ca.crt": authority.certificate,
    }
    container: Mapping[str, Any] = {
        "name": "kafka",
        "image": IMAGE,
        "command": ["sh", "-c", START, "sh", *JAVA],
        "env": [{"name": "CLUSTER_ID", "value": CLUSTER_ID}],
        "ports": [{"name": "tls", "containerPort": PORT}],
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
        "serviceName": "kafka",
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod(NAME, container, volumes=volumes)["spec"]},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }
    service = {"clusterIP": ADDRESS, "selector": labels, "ports": [{"port": PORT, "targetPort": "tls"}]}
    allowed = {"from": [*peers, {"ipBlock": {"cidr": OPERATORS}}], "ports": [{"protocol": "TCP", "port": "tls"}]}
    policy = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"], "ingress": [allowed]}
    return [
        secret("broker", files),
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata(NAME), "spec": policy},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata(f"{CLUSTER}-kafka-bootstrap"), "spec": service},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata(NAME), "spec": workload},
    ]
