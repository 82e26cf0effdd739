"""One node of Kubernetes: etcd, API server, controllers, scheduler, containerd, kubelet, kube-proxy, in a sandbox."""

import shutil
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from string import Template

from app.errors import DaemonError
from app.lab.daemons.runner import Probe, Program, Runner
from tests.cluster.images import PAUSE
from tests.cluster.pki import NODE, write_pki
from tests.cluster.programs import Programs
from tests.cluster.sandbox import Sandbox

FILES = Path(__file__).parents[2] / "deploy" / "cluster"
SOCKET = "/run/containerd/containerd.sock"
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
    "bind-address": NODE,
    "advertise-address": NODE,
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
    "allocate-node-cidrs": "true",
    "cluster-cidr": PODS,
    "service-cluster-ip-range": SERVICES,
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
    "config": "$folder/kubelet.yaml",
    "kubeconfig": "$pki/node.kubeconfig",
    "hostname-override": "node-1",
    "node-ip": NODE,
    "root-dir": "$state/kubelet",
    "cert-dir": "$state/kubelet-pki",
    "oom-score-adj": "0",  # root in a container may not lower it
}
FIREWALL = {
    "kubeconfig": "$pki/admin.kubeconfig",
    "hostname-override": "node-1",
    "run-firewall": "true",
    "run-router": "false",
    "run-service-proxy": "false",
    "run-loadbalancer": "false",
}
PROXY = {"config": "$folder/kube-proxy.yaml"}
CONTAINERD = {"config": "$folder/containerd.toml"}
NODE_PROGRAMS = {
    "kube-controller-manager": MANAGER,
    "kube-scheduler": SCHEDULER,
    "kubelet": KUBELET,
    "kube-proxy": PROXY,
}
WAIT_WITHIN_S = 600.0  # only what hangs takes so long, on however busy a machine
READY = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'


class Cluster:
    """A cluster whose files are in `folder`, and whose control groups are called `cgroup`."""

    def __init__(self, runner: Runner, folder: Path, cgroup: str, programs: Programs) -> None:
        self._runner = runner
        self._programs = programs
        self._folder = folder
        self.sandbox = Sandbox(runner, folder)
        self._values = {
            "folder": folder,
            "pki": folder / "pki",
            "state": self.sandbox.state,
            "socket": SOCKET,
            "cgroup": cgroup,
            "pause": PAUSE,
        }

    async def start(self, firewall: Path) -> None:
        """Return when its node is ready; DaemonError names the part that is not, and the end of its log.

        `firewall` is the program that enforces network policies.
        """
        await self.start_api()
        programs = self._programs
        await self._start("containerd", ("containerd",), CONTAINERD, self._containerd_answers)
        await self.load(programs.pause)
        for name, options in NODE_PROGRAMS.items():
            await self._start(name, (str(programs.node), name), options)
        await self.wait(self.becomes("True", "get", "node", "node-1", "--output", READY))
        await self._start("kube-router", (str(firewall),), FIREWALL)

    async def start_api(self) -> None:
        """Start only what keeps objects, without a node and without controllers."""
        self._write_files()
        await self.sandbox.start()
        control = str(self._programs.control)
        await self._start("etcd", (control, "etcd"), ETCD)
        await self._start("kube-apiserver", (control, "kube-apiserver"), API_SERVER, self._api_answers)

    def _write_files(self) -> None:
        write_pki(self._folder / "pki")
        for name in ("containerd.toml", "kubelet.yaml", "kube-proxy.yaml"):
            text = Template((FILES / name).read_text(encoding="utf-8")).substitute(self._values)
            (self._folder / name).write_text(text, encoding="utf-8")
        (self._folder / "cni").mkdir()
        shutil.copy(FILES / "pods.conflist", self._folder / "cni")

    async def kubectl(self, *arguments: str, stdin: str = "", within_s: float = 60.0) -> str:
        """What kubectl prints; DaemonError with what it says if it fails."""
        return await self.sandbox.run(str(self._programs.kubectl), *arguments, stdin=stdin, within_s=within_s)

    async def helm(self, *arguments: str, stdin: str = "", within_s: float = 120.0) -> str:
        """The same for helm."""
        return await self.sandbox.run(str(self._programs.helm), *arguments, stdin=stdin, within_s=within_s)

    async def load(self, archive: Path) -> None:
        """Give the node the images of an archive, which it could not download."""
        ctr = ("ctr", "--address", SOCKET, "--namespace", "k8s.io")
        await self.sandbox.run(*ctr, "images", "import", str(archive), within_s=300.0)

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
        """Wait until the probe finds nothing missing, while the kubelet runs."""
        await self._runner.ready("kubelet", probe, within_s)

    async def _start(
        self, name: str, argv: Sequence[str], options: Mapping[str, str], probe: Probe | None = None
    ) -> None:
        filled = [f"--{key}={Template(value).substitute(self._values)}" for key, value in options.items()]
        await self._runner.start(Program(name=name, argv=self.sandbox.inside(*argv, *filled)), probe)

    async def _containerd_answers(self) -> str | None:
        return await _refusal(self.sandbox.run("ctr", "--address", SOCKET, "version"))

    async def _api_answers(self) -> str | None:
        return await _refusal(self.kubectl("get", "--raw", "/readyz"))


async def _refusal(answer: Awaitable[str]) -> str | None:
    try:
        await answer
    except DaemonError as error:
        return str(error)
    return None
