"""`python -m tests.cluster.scale [--pops 100] [--json]`: what it takes to install and to change a network of many PoPs.

Helm and the API server are real; there is no node, so nothing of it runs. What the API server has created, changed and
deleted in a step must be what differs between the objects that helm renders, and no more.
"""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from app.cli.output import PIPE_COLUMNS
from app.errors import AutopilotError, DaemonError, EnvironmentProblem
from app.lab.daemons.runner import Runner
from tests.cluster.__main__ import EXIT_USAGE, gone, own_folder, say
from tests.cluster.cluster import Cluster
from tests.cluster.pods import namespace
from tests.cluster.programs import programs
from tests.cluster.steps import HAVE_DATA, apply, definitions
from tests.cluster.usage import Usage, measured, peak_bytes
from tests.deploy import wide
from tests.deploy.chart import RELEASE, Item, Values, by_name, items_of, names, values
from tests.deploy.check import one_more_pop
from tests.deploy.generated import CHART
from tests.deploy.tools import tools
from tests.gitops.__main__ import check_machine
from tests.gitops.flux import resource

SIZES = (1, 10)  # beside the one that is asked for
MIB = 1024 * 1024
HELM_WITHIN_S = 3600.0
RELEASE_MAX_BYTES = MIB  # helm keeps a release in one Secret
SETTINGS = {"settings": {"thresholds": {"enter": 0.89, "shed_to": 0.88}}}
Versions = dict[tuple[str, str], Any]  # by kind and name


class Step(msgspec.Struct, frozen=True):
    """What became of one step; `objects` are those that helm renders. A step that fails has nothing but its name."""

    step: str
    ok: bool
    pops: int
    seconds: float | None = None
    helm_cpu_seconds: float | None = None
    helm_memory_bytes: int | None = None
    objects: int = 0
    created: int = 0
    changed: int = 0
    deleted: int = 0
    release_bytes: int | None = None


class Outcome(msgspec.Struct):
    """All steps; an error in one ends the run."""

    ok: bool = False
    steps: list[Step] = []
    memory_bytes: dict[str, int] = {}


class Release:
    """The chart in a namespace of its own."""

    def __init__(self, cluster: Cluster, helm: Path, place: str, outcome: Outcome) -> None:
        self._cluster, self._helm, self._place, self._outcome = cluster, helm, place, outcome
        self._items: list[Item] = []
        self._revision = 0

    async def change(self, what: str, wanted: Values) -> None:
        """Make it what these values say; DaemonError if the API server has other changes than the chart."""
        pops = len(wanted["pops"])
        try:
            await self._change(what, wanted, pops)
        except AutopilotError:
            self._outcome.steps.append(Step(what, False, pops))
            raise

    async def _change(self, what: str, wanted: Values, pops: int) -> None:
        before, usage = self._items, await self._run("template", wanted)
        self._items = items = list(items_of(usage.printed))
        if not self._revision:
            self._note("rendered", pops, usage)
        there = await self._versions()
        usage = await self._run("upgrade", wanted, "--install")
        self._revision += 1
        happened = differences(there, await self._versions())
        expected = differences(by_name(before), by_name(items))
        expected["deleted"] = {key for key in expected["deleted"] if key[0].split()[1] not in HAVE_DATA.values()}
        if happened != expected:
            other = {word: sorted(happened[word] ^ expected[word]) for word in happened}
            raise DaemonError(f"{what}: the API server has other changes than the chart: {other}")
        counts = {word: len(keys) for word, keys in happened.items()}
        self._note(what, pops, usage, release_bytes=await self._release_bytes(), **counts)

    async def grow(self, wanted: Values, more: Values, pop: str) -> None:
        """A PoP is added; DaemonError if that changes an object of another one."""
        before = self._items
        await self.change("a PoP is added", more)
        if problems := list(one_more_pop(before, self._items, pop)):
            raise DaemonError("; ".join(problems))

    def _note(self, step: str, pops: int, usage: Usage, **more: Any) -> None:
        took = (round(usage.seconds, 1), round(usage.cpu_seconds, 1), usage.memory_bytes)
        self._outcome.steps.append(Step(step, True, pops, *took, len(self._items), **more))
        say(f"{pops} PoPs, {step}: {usage.seconds:.1f} s")

    async def _run(self, verb: str, wanted: Values, *options: str) -> Usage:
        given, sandbox = self._cluster.sandbox.folder / "values.json", self._cluster.sandbox
        given.write_text(json.dumps(wanted), encoding="utf-8")
        words = (verb, RELEASE, str(CHART), "--namespace", self._place, "--values", str(given), *options)
        return await measured("helm", *sandbox.inside(str(self._helm), *words), within_s=HELM_WITHIN_S)

    async def _versions(self) -> Versions:
        """The version of each of its objects that the API server has."""
        kinds = ",".join(sorted({resource(item.kind) for item in self._items}))
        selected = ("--namespace", self._place, "--selector", f"app.kubernetes.io/instance={RELEASE}")
        found = await self._cluster.kubectl("get", kinds, *selected, "--output", "json", within_s=300.0)
        return {
            (f"{item['apiVersion']} {item['kind']}", item["metadata"]["name"]): item["metadata"]["resourceVersion"]
            for item in msgspec.json.decode(found)["items"]
        }

    async def _release_bytes(self) -> int:
        """The size of what helm keeps of it."""
        secret = ("secret", f"sh.helm.release.v1.{RELEASE}.v{self._revision}", "--namespace", self._place)
        return len(base64.b64decode(await self._cluster.kubectl("get", *secret, "--output=jsonpath={.data.release}")))


def differences(before: Versions, after: Versions) -> dict[str, set[tuple[str, str]]]:
    """What is there only after, on both sides but not the same, and only before."""
    changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    return {"created": after.keys() - before.keys(), "changed": changed, "deleted": before.keys() - after.keys()}


def wanted(pops: int, routers: int | None, **others: Any) -> Values:
    """Values for this many PoPs, each with so many routers; by default each is that of the demo."""
    found = values(*names(pops))
    if routers:
        found["inventories"] = {name: wide.inventory(name, routers) for name in names(pops)}
    return {**found, **{key: {**found[key], **value} for key, value in others.items()}}


async def run(outcome: Outcome, sizes: Sequence[int], routers: int | None) -> None:
    """Every step; an error ends the run."""
    check_machine()
    built, clients = programs(), tools()
    with own_folder("autopilot-scale-") as folder:
        async with Runner(folder / "log", report=say) as runner:
            cluster = Cluster(runner, folder, "", built)
            await cluster.start_api()
            await definitions(cluster, clients)
            for pops in sizes:
                place = f"egress-{pops}"
                await apply(cluster, [namespace(place)])
                release = Release(cluster, built.helm, place, outcome)
                await release.change("installed", wanted(pops, routers))
                await release.change("a threshold changes", now := wanted(pops, routers, **SETTINGS))
                await release.grow(now, wanted(pops + 1, routers, **SETTINGS), names(pops + 1)[-1])
                await release.change("a PoP leaves", now)
            for name in ("kube-apiserver", "etcd"):
                outcome.memory_bytes[name] = peak_bytes(runner.pid(name))
        await gone(cluster.sandbox)
    outcome.ok = True


def table(outcome: Outcome) -> Table:
    """The steps for people."""
    of_helm = ("seconds", "CPU of helm", "memory of helm")
    shown = Table("PoPs", "step", *of_helm, "objects", "created", "changed", "deleted", "release")
    for each in outcome.steps:
        if each.seconds is None:
            shown.add_row(str(each.pops), each.step, "failed")
            continue
        release = f"{each.release_bytes / RELEASE_MAX_BYTES:.1%} of 1 MiB" if each.release_bytes else ""
        took = (f"{each.seconds:g}", f"{each.helm_cpu_seconds:g} s", f"{(each.helm_memory_bytes or 0) / MIB:.0f} MiB")
        counts = map(str, (each.objects, each.created, each.changed, each.deleted))
        shown.add_row(str(each.pops), each.step, *took, *counts, release)
    return shown


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("--pops", metavar="N", type=click.IntRange(1, 200), default=100, show_default=True, help="How many.")
@click.option("--routers", metavar="N", type=click.IntRange(1, 60), help="Routers of a PoP; default: the demo's two.")
def main(as_json: bool, pops: int, routers: int | None) -> None:
    """Install the chart for 1, 10 and N PoPs into an API server, and change it."""
    outcome, code = Outcome(), 0
    try:
        asyncio.run(run(outcome, [*(size for size in SIZES if size < pops), pops], routers))
    except EnvironmentProblem as problem:
        say(str(problem))
        code = EXIT_USAGE
    except (AutopilotError, subprocess.CalledProcessError) as error:
        say(str(error))
        code = 1
    if as_json:
        print(msgspec.json.encode(outcome).decode())
    else:
        console = Console()
        console = console if console.is_terminal else Console(width=PIPE_COLUMNS)
        console.print(table(outcome))
        for name, size in outcome.memory_bytes.items():
            console.print(f"most memory of {name}: {size / MIB:.0f} MiB")
    sys.exit(code)


if __name__ == "__main__":
    main()
