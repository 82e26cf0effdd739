"""Objects of Kubernetes as the steps need them; a pod may no more than those of the chart."""

import base64
from collections.abc import Mapping
from typing import Any

from tests.deploy.chart import NAMESPACE
from tests.deploy.pods import CONTAINER_CONTEXT, POD_CONTEXT

USER = 10001
CLUSTER = "autopilot"  # the Kafka, as the chart names it


def namespace(name: str = NAMESPACE) -> dict[str, Any]:
    """A namespace, by default ours, in which Pod Security lets in nothing that may more than our pods may."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def metadata(name: str) -> dict[str, Any]:
    """Of an object in our namespace."""
    return {"name": name, "namespace": NAMESPACE}


def secret(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """A Secret that has these files."""
    data = {file: base64.b64encode(text.encode()).decode() for file, text in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata(name), "data": data}


def pod(name: str, container: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod of one container, whose image the node has."""
    context = POD_CONTEXT | {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    found = {"securityContext": CONTAINER_CONTEXT, "imagePullPolicy": "Never", **container}
    whole = {"securityContext": context, "automountServiceAccountToken": False, "containers": [found], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata(name), "spec": whole}
