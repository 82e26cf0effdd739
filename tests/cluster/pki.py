"""Who is who in a cluster: certificates by which its parts know each other, and where they find the API server."""

import base64
import json
from pathlib import Path
from typing import NamedTuple

from app.lab.daemons.certificates import Authority

CONTROL, API = "10.99.0.254", "https://10.99.0.254:6443"
NODES = {"node-1": "10.99.0.1", "node-2": "10.99.0.2"}  # and their addresses
INSIDE = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
FIRST_SERVICE = "10.97.0.1"


class Identity(NamedTuple):
    """A part of the cluster, or its administrator: file name, name and group as Kubernetes knows it."""

    file: str
    name: str
    group: str = ""
    reached_at: tuple[str, ...] = ()


IDENTITIES = (
    Identity("admin", "admin", "system:masters"),
    Identity("manager", "system:kube-controller-manager"),
    Identity("scheduler", "system:kube-scheduler"),
    Identity("proxy", "system:kube-proxy"),
    *(
        Identity(node, f"system:node:{node}", "system:nodes", (node, address, "127.0.0.1"))
        for node, address in NODES.items()
    ),
    Identity(
        "apiserver", "kube-apiserver", "system:masters", ("localhost", "127.0.0.1", CONTROL, FIRST_SERVICE, *INSIDE)
    ),
    Identity("etcd", "etcd", reached_at=("localhost", "127.0.0.1")),
    Identity("accounts", "service-accounts"),
)


def write_pki(folder: Path) -> None:
    """Write a CA, and for each identity a certificate with its key and a kubeconfig."""
    authority = Authority("kubernetes")
    folder.mkdir(mode=0o700)
    (folder / "ca.crt").write_text(authority.certificate, encoding="utf-8")
    for each in IDENTITIES:
        issued = authority.issue(each.name, each.reached_at, group=each.group)
        (folder / f"{each.file}.crt").write_text(issued.certificate, encoding="utf-8")
        (folder / f"{each.file}.key").write_text(issued.key, encoding="utf-8")
        config = kubeconfig(authority.certificate, issued.certificate, issued.key)
        (folder / f"{each.file}.kubeconfig").write_text(config, encoding="utf-8")


def kubeconfig(ca: str, certificate: str, key: str) -> str:
    """How somebody with this certificate reaches the API server."""
    cluster = {"server": API, "certificate-authority-data": _base64(ca)}
    user = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "autopilot", "cluster": cluster}],
            "users": [{"name": "me", "user": user}],
            "contexts": [{"name": "autopilot", "context": {"cluster": "autopilot", "user": "me"}}],
            "current-context": "autopilot",
        }
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
