"""A cluster in a sandbox: etcd, API server, controllers, scheduler; on each node containerd, kubelet, kube-proxy."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from string import Template

from app.errors import DaemonError
from app.lab.daemons.runner import Probe, Program, Runner
from tests.cluster.images import PAUSE
from tests.cluster.pki import CONTROL, NODES, write_pki
from tests.cluster.programs import Programs
from tests.cluster.sandbox import Sandbox

FILES = Path(__file__).parents[2] / "deploy" / "cluster"
SERVICES, PODS = "10.97.0.0/16", "10.98.0.0/16"
ETCD = {
    "data-dir": "$state/etcd",
    "listen-client-urls": "https://127.0.0.1:2379",
    "advertise-client-urls": "https://127.0.0.1:2379",
    "cert-file": "$pki/etcd.crt",
    "key-file": "$pki/etcd.key",
    "trusted-ca-file": "$pki/ca.crt",
    "client-cert-auth": "true",
    "unsafe-no-fsync": "true",  # it is in memory anyway
}
API_SERVER = {
    "etcd-servers": "https://127.0.0.1:2379",
    "etcd-cafile": "$pki/ca.crt",
    "etcd-certfile": "$pki/apiserver.crt",
    "etcd-keyfile": "$pki/apiserver.key",
    "bind-address": CONTROL,
    "advertise-address": CONTROL,
    "tls-cert-file": "$pki/apiserver.crt",
    "tls-private-key-file": "$pki/apiserver.key",
    "client-ca-file": "$pki/ca.crt",
    "cert-dir": "$state",
    "authorization-mode": "Node,RBAC",
    "enable-admission-plugins": "NodeRestriction",
    "service-cluster-ip-range": SERVICES,
    "service-account-issuer": "https://kubernetes.default.svc",
    "service-account-key-file": "$pki/accounts.crt",
    "service-account-signing-key-file": "$pki/accounts.key",
    "kubelet-preferred-address-types": "InternalIP",  # else logs and exec ask for its name
    "kubelet-certificate-authority": "$pki/ca.crt",
    "kubelet-client-certificate": "$pki/apiserver.crt",
    "kubelet-client-key": "$pki/apiserver.key",
}
MANAGER = {
    "kubeconfig": "$pki/manager.kubeconfig",
    "authentication-kubeconfig": "$pki/manager.kubeconfig",
    "authorization-kubeconfig": "$pki/manager.kubeconfig",
    "root-ca-file": "$pki/ca.crt",
    "service-account-private-key-file": "$pki/accounts.key",
    "use-service-account-credentials": "true",
    "node-monitor-grace-period": "16s",
    "leader-elect": "false",
    "bind-address": "127.0.0.1",
    "cert-dir": "$state",
}
SCHEDULER = {
    "kubeconfig": "$pki/scheduler.kubeconfig",
    "authentication-kubeconfig": "$pki/scheduler.kubeconfig",
    "authorization-kubeconfig": "$pki/scheduler.kubeconfig",
    "leader-elect": "false",
    "bind-address": "127.0.0.1",
    "cert-dir": "$state",
}
KUBELET = {
    "config": "$folder/$node/kubelet.yaml",
    "kubeconfig": "$pki/$node.kubeconfig",
    "hostname-override": "$node",
    "node-ip": "$address",
    "root-dir": "$state/$node/kubelet",
    "cert-dir": "$state/$node/kubelet-pki",
    "oom-score-adj": "0",  # root in a container may not lower it
}
FIREWALL = {
    "kubeconfig": "$pki/admin.kubeconfig",
    "hostname-override": "$node",
    "run-firewall": "true",
    "run-router": "false",
    "run-service-proxy": "false",
    "run-loadbalancer": "false",
}
PROXY = {"config": "$folder/$node/kube-proxy.yaml"}
CONTAINERD = {"config": "$folder/$node/containerd.toml"}
FREEZE = """
for process in /proc/[0-9]*; do
    if grep -qs "$1" "$process/cgroup" && tr '\\0' ' ' <"$process/cmdline" | grep -qw -- "$2"; then
        kill -STOP "${process#/proc/}" && echo "${process#/proc/}"
    fi
done
"""
NETWORK = "pods.conflist"
FILLED = ("containerd.toml", "kubelet.yaml", "kube-proxy.yaml", NETWORK)  # by node
WAIT_WITHIN_S = 600.0  # only what hangs takes so long, on however busy a machine
READY = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'


class Node:
    """A node, and how its files are filled in."""

    def __init__(self, number: int, name: str, address: str) -> None:
        self.name = name
        self.socket = f"/run/containerd/{name}/containerd.sock"
        self.values = {
            "node": name,
            "address": address,
            "pods": PODS.replace("0.0/16", f"{number}.0/24"),
            "socket": self.socket,
        }


class Cluster:
    """A cluster whose files are in `folder`, and whose control groups are called `cgroup`."""

    def __init__(self, runner: Runner, folder: Path, cgroup: str, programs: Programs) -> None:
        self._runner = runner
        self._programs = programs
        self._folder = folder
        self.nodes = [Node(number, *node) for number, node in enumerate(NODES.items(), 1)]
        self.sandbox = Sandbox(runner, folder, list(NODES))
        self._values = {
            "folder": folder,
            "pki": folder / "pki",
            "state": self.sandbox.state,
            "cgroup": cgroup,
            "pause": PAUSE,
        }

    async def start(self, firewall: Path) -> None:
        """Return when its nodes are ready; DaemonError names the part that is not, and the end of its log.

        `firewall` is the program that enforces network policies.
        """
        await self.start_api()
        node = str(self._programs.node)
        await self._start("kube-controller-manager", (node, "kube-controller-manager"), MANAGER)
        await self._start("kube-scheduler", (node, "kube-scheduler"), SCHEDULER)
        await asyncio.gather(*(self._start_node(each) for each in self.nodes))
        await self.load(self._programs.pause)
        for each in self.nodes:
            await self.wait(self.becomes("True", "get", "node", each.name, "--output", READY))
            await self._start(f"kube-router-{each.name}", (str(firewall),), FIREWALL, node=each)

    async def start_api(self) -> None:
        """Start only what keeps objects, without a node and without controllers."""
        write_pki(self._folder / "pki")
        await self.sandbox.start()
        control = str(self._programs.control)
        await self._start("etcd", (control, "etcd"), ETCD)
        await self._start("kube-apiserver", (control, "kube-apiserver"), API_SERVER, self._api_answers)

    async def _start_node(self, node: Node) -> None:
        folder, program = self._folder / node.name, str(self._programs.node)
        (folder / "cni").mkdir(parents=True)
        for name in FILLED:
            text = Template((FILES / name).read_text(encoding="utf-8")).substitute(self._values, **node.values)
            ((folder / "cni" if name == NETWORK else folder) / name).write_text(text, encoding="utf-8")

        async def answers() -> str | None:
            return await _refusal(self.sandbox.run("ctr", "--address", node.socket, "version"))

        await self._start(f"containerd-{node.name}", ("containerd",), CONTAINERD, answers, node)
        await self._start(f"kubelet-{node.name}", (program, "kubelet"), KUBELET, node=node)
        await self._start(f"kube-proxy-{node.name}", (program, "kube-proxy"), PROXY, node=node)

    async def start_beside(self, name: str, *argv: str) -> None:
        """Start a program of ours that stands in the fabric, outside of the nodes."""
        await self._runner.start(Program(name=name, argv=self.sandbox.inside(*argv)))

    async def kubectl(self, *arguments: str, stdin: str = "", within_s: float = 60.0) -> str:
        """What kubectl prints; DaemonError with what it says if it fails."""
        return await self.sandbox.run(str(self._programs.kubectl), *arguments, stdin=stdin, within_s=within_s)

    async def helm(self, *arguments: str, stdin: str = "", within_s: float = 120.0) -> str:
        """The same for helm."""
        return await self.sandbox.run(str(self._programs.helm), *arguments, stdin=stdin, within_s=within_s)

    async def load(self, archive: Path) -> None:
        """Give every node the images of an archive, which it could not download."""
        await asyncio.gather(
            *(
                self.sandbox.run(
                    "ctr",
                    "--address",
                    each.socket,
                    "--namespace",
                    "k8s.io",
                    "images",
                    "import",
                    str(archive),
                    within_s=300.0,
                )
                for each in self.nodes
            )
        )

    async def freeze(self, uid: str, word: str) -> None:
        """Stop the processes of a pod that have this word in their command line; DaemonError if there is none."""
        found = await self.sandbox.run("sh", "-c", FREEZE, "sh", uid, word)
        if not found.strip():
            raise DaemonError(f"no process of pod {uid} has the word {word}")

    def becomes(self, wanted: str, *arguments: str) -> Probe:
        """A probe for what kubectl is to print."""

        async def probe() -> str | None:
            try:
                found = await self.kubectl(*arguments)
            except DaemonError as refusal:
                return str(refusal)
            return None if found.strip() == wanted else f"kubectl {' '.join(arguments)}: {found.strip() or 'nothing'}"

        return probe

    async def wait(self, probe: Probe, within_s: float = WAIT_WITHIN_S) -> None:
        """Wait until the probe finds nothing missing, while a kubelet runs."""
        await self._runner.ready(f"kubelet-{self.nodes[0].name}", probe, within_s)

    async def _start(
        self,
        name: str,
        argv: Sequence[str],
        options: Mapping[str, str],
        probe: Probe | None = None,
        node: Node | None = None,
    ) -> None:
        values = self._values | (node.values if node else {})
        command = [*argv, *(f"--{key}={Template(value).substitute(values)}" for key, value in options.items())]
        inside = self.sandbox.at(node.name, *command) if node else self.sandbox.inside(*command)
        await self._runner.start(Program(name=name, argv=inside), probe)

    async def _api_answers(self) -> str | None:
        return await _refusal(self.kubectl("get", "--raw", "/readyz"))


async def _refusal(answer: Awaitable[str]) -> str | None:
    try:
        await answer
    except DaemonError as error:
        return str(error)
    return None
