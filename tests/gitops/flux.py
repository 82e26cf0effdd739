"""A cluster with Flux: an API server, Flux's controllers, and a git server, in one sandbox."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.errors import DaemonError
from app.lab.daemons.runner import Probe, Program, Runner
from tests.cluster.cluster import WAIT_WITHIN_S, Cluster
from tests.cluster.programs import Programs
from tests.deploy.chart import NAMESPACE, RELEASE, ROOT
from tests.gitops.programs import Controllers
from tests.gitops.repository import CLUSTERS, NAME, Repository

GIT_PORT, STORAGE_PORT = 9090, 9091
URL = f"http://127.0.0.1:{GIT_PORT}/{NAME}/.git"
STORAGE = f"127.0.0.1:{STORAGE_PORT}"
SOURCES = {"storage-path": "{state}/sources", "storage-addr": STORAGE, "storage-adv-addr": STORAGE}
CONTROLLERS: dict[str, tuple[int, dict[str, str]]] = {  # the first of its two ports, and its own options
    "source": (9092, SOURCES),
    "kustomize": (9094, {}),
    "helm": (9096, {}),
}
KINDS = {
    "source": "gitrepository.source.toolkit.fluxcd.io",
    "kustomize": "kustomization.kustomize.toolkit.fluxcd.io",
    "helm": "helmrelease.helm.toolkit.fluxcd.io",
}

# What the API server has: the version of each object by kind and name.
Objects = dict[tuple[str, str], str]


class Flux:
    """Makes the cluster called `name` what the repository says."""

    def __init__(self, name: str, repository: Repository, runner: Runner, folder: Path, programs: Programs) -> None:
        self.name = name
        self.repository = repository
        self.cluster = Cluster(runner, folder, "", programs)
        self._runner = runner
        self._asked = 0

    async def start(self, controllers: Controllers, resources: Sequence[Path]) -> None:
        """Return when everything runs; DaemonError names the part that does not."""
        await self.cluster.start_api()
        files = [word for path in resources for word in ("--filename", str(path))]
        await self.cluster.kubectl("apply", "--server-side", *files, within_s=300.0)
        await self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *files, within_s=90.0)
        state = self.cluster.sandbox.state
        inside = self.cluster.sandbox.inside
        serve = (sys.executable, "-m", "tests.gitops.git_http", str(self.repository.folder.parent), str(GIT_PORT))
        await self._runner.start(Program(name="git", argv=inside("env", f"PYTHONPATH={ROOT}", *serve)))
        await self.cluster.sandbox.run("mkdir", f"{state}/sources")
        environment = ("env", "RUNTIME_NAMESPACE=flux-system", f"TMPDIR={state}")
        for name, (port, own) in CONTROLLERS.items():
            options = {"metrics-addr": f"127.0.0.1:{port}", "health-addr": f"127.0.0.1:{port + 1}", **own}
            words = [f"--{key}={value.format(state=state)}" for key, value in options.items()]
            argv = inside(*environment, str(getattr(controllers, name)), *words)
            await self._runner.start(Program(name=f"{name}-controller", argv=argv))

    async def bootstrap(self) -> None:
        """What somebody does once by hand: from here on the cluster follows the repository."""
        await self.cluster.kubectl("apply", "--kustomize", f"{self.repository.folder}/{CLUSTERS}/{self.name}")

    async def follow(self, revision: str) -> None:
        """Let Flux look at the repository now, and wait until it has done what is in this revision."""
        await self.reconcile("source")
        await self.wait(self._kustomization_is(revision))
        await self.wait(self._release_is(revision))

    async def refusal(self, part: str, named: str) -> str:
        """Let Flux look, and wait until the status of a part says that it is not ready, and names this; that text."""
        said: list[str] = []

        async def probe() -> str | None:
            ready = conditions(await self._status(part)).get("Ready", ("", ""))
            said[:] = [ready[1]]
            return None if ready[0] == "False" and named in ready[1] else f"{part}: {ready}"

        await self.reconcile("source")
        await self.wait(probe)
        return said[0]

    def wanted(self) -> set[tuple[str, str]]:
        """The objects that it should have, by kind and name."""
        return {(item.kind, item.name) for item in self.repository.rendered(self.name)}

    async def objects(self) -> Objects:
        """The objects of the chart that it has."""
        names = ",".join(sorted(map(resource, self.repository.kinds())))
        selected = ("--namespace", NAMESPACE, "--selector", f"app.kubernetes.io/instance={RELEASE}")
        found = msgspec.json.decode(await self.cluster.kubectl("get", names, *selected, "--output", "json"))
        return {
            (f"{item['apiVersion']} {item['kind']}", item["metadata"]["name"]): item["metadata"]["resourceVersion"]
            for item in found["items"]
        }

    async def wait(self, probe: Probe) -> None:
        """Wait until the probe finds nothing missing, while all parts run."""

        async def watched() -> str | None:
            if self._runner.ended:
                raise DaemonError(f"ended by itself: {', '.join(self._runner.ended)}")
            return await probe()

        await self._runner.ready("source-controller", watched, WAIT_WITHIN_S)

    async def reconcile(self, part: str) -> None:
        """As `flux reconcile` does; else it would look at its interval."""
        self._asked += 1
        asked = ("annotate", "--overwrite", "--namespace", NAMESPACE, KINDS[part], RELEASE)
        await self.cluster.kubectl(*asked, f"reconcile.fluxcd.io/requestedAt={self._asked}")

    def _kustomization_is(self, revision: str) -> Probe:
        async def probe() -> str | None:
            status = await self._status("kustomize")
            done = status.get("lastAppliedRevision") == revision
            return None if done else f"the Kustomization is not at {revision}: {conditions(status)}"

        return probe

    def _release_is(self, revision: str) -> Probe:
        """The chart's version has the first letters of the commit."""
        commit = revision.partition(":")[2][:12]

        async def probe() -> str | None:
            status = await self._status("helm")
            ready = conditions(status).get("Ready", ("", ""))
            version = status["history"][0]["chartVersion"] if status.get("history") else "none"
            return None if commit in version and ready[0] == "True" else f"the HelmRelease is at {version}: {ready}"

        return probe

    async def _status(self, part: str) -> dict[str, Any]:
        found = await self.cluster.kubectl("get", KINDS[part], RELEASE, "--namespace", NAMESPACE, "--output", "json")
        status: dict[str, Any] = msgspec.json.decode(found).get("status", {})
        return status


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Status and message of each condition by its type."""
    return {each["type"]: (each["status"], each["message"]) for each in status.get("conditions", ())}


def resource(kind: str) -> str:
    """A kind of an Item as kubectl wants it."""
    version, _, name = kind.partition(" ")
    group = version.rpartition("/")[0]
    return f"{name}.{group}" if group else name
