"""What is shown of Flux, one step after the other. The repository is edited as the pages say."""

import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import NamedTuple

from app.errors import DaemonError
from app.lab.daemons.commands import output
from tests.cluster.__main__ import say
from tests.cluster.steps import Steps
from tests.deploy.chart import NAMESPACE, inventory
from tests.deploy.check import OF_ALL_POPS
from tests.gitops.flux import Flux
from tests.gitops.repository import BASE, CHART, CLUSTERS, Repository

FIRST, SECOND, ELSEWHERE = "iad90", "iad91", "fra92"
VALUES = f"{CLUSTERS}/east/values.yaml"
# A cluster by its name, which ends with the block.
Start = Callable[[str], AbstractAsyncContextManager[Flux]]


class Mistake(NamedTuple):
    """A mistake in a commit: what is edited how, whose status says so, and what that has to name."""

    path: str
    before: str
    after: str
    part: str
    named: str


MISTAKES = {
    "a misspelt value": Mistake(VALUES, "mode: observe", "mod: observe", "helm", "'mod'"),
    "a value that there is not": Mistake(VALUES, "mode: observe", "mode: on", "helm", "/pops/0/mode"),
    "a PoP without an inventory": Mistake(VALUES, FIRST, "iad9x", "helm", "inventories/iad9x.toml"),
    "a misspelt key of an object": Mistake(BASE, "driftDetection:", "driftdetection:", "kustomize", "driftdetection"),
}


async def shown(taken: Steps, repository: Repository, start: Start) -> None:
    """All steps; an error ends them."""
    async with taken.step("a repository"):
        revision = await repository.create()
    async with AsyncExitStack() as clusters:
        async with taken.step("a cluster with Flux"):
            east = await clusters.enter_async_context(start("east"))
        async with taken.step("it becomes what the repository says"):
            await east.bootstrap()
            await follows(east, revision)
        async with taken.step("a commit makes a PoP appear"):
            await added(repository, "east", FIRST)
            await follows(east, await repository.commit(f"{FIRST} observes"))
        for what, mistake in MISTAKES.items():
            async with taken.step(f"{what} is refused by its name"):
                await refused(east, mistake)
        async with taken.step("a second PoP changes nothing of the first"):
            await added(repository, "east", SECOND)
            await changes_only(east, f"{SECOND} observes", SECOND)
        async with taken.step("one PoP alone changes its mode"):
            repository.edit(VALUES, f"{FIRST}\n    mode: observe", f"{FIRST}\n    mode: dry-run")
            await changes_only(east, f"{FIRST} decides on paper", FIRST)
        async with taken.step("what is changed by hand is changed back"):
            await changed_back(east)
        async with taken.step("a PoP that leaves the list goes, but for its topics"):
            repository.edit(VALUES, f"  - name: {SECOND}\n    mode: observe\n", "")
            await leaves(east, SECOND)
        async with taken.step("a copied folder makes a second cluster"):
            before = await east.objects()
            revision = await copied(repository)
            west = await clusters.enter_async_context(start("west"))
            await west.bootstrap()
            await follows(west, revision)
            await east.follow(revision)
            expect(await east.objects(), before, "east after a commit that concerns west only")


async def added(repository: Repository, cluster: str, pop: str) -> None:
    """A PoP as somebody adds it: one command, which edits one list and one file."""
    written = repository.folder.parent / f"{pop}.toml"
    written.write_text(inventory(pop), encoding="utf-8")
    values, chart = repository.folder / CLUSTERS / cluster / "values.yaml", repository.folder / CHART
    to = ("--values", str(values), "--chart", str(chart), "--mode", "observe")
    await output(sys.executable, "-m", "app", "site", "add", pop, "--inventory", str(written), *to)


async def copied(repository: Repository) -> str:
    """The folder of a second cluster, with its own name and a PoP of its own."""
    shutil.copytree(repository.folder / CLUSTERS / "east", repository.folder / CLUSTERS / "west")
    repository.edit(f"{CLUSTERS}/west/kustomization.yaml", "clusters/east", "clusters/west")
    repository.edit(f"{CLUSTERS}/west/values.yaml", f"  - name: {FIRST}\n    mode: dry-run\n", "")
    await added(repository, "west", ELSEWHERE)
    return await repository.commit("west is a cluster")


async def follows(flux: Flux, revision: str) -> None:
    """The cluster has all objects of the revision, and no others."""
    await flux.follow(revision)
    expect(set(await flux.objects()), flux.wanted(), f"{flux.name} at {revision}")


async def refused(flux: Flux, mistake: Mistake) -> None:
    """A mistake changes no object, its place is in the status, and the commit that takes it back is followed."""
    before = await flux.objects()
    flux.repository.edit(mistake.path, mistake.before, mistake.after)
    await flux.repository.commit("a mistake")
    say(await flux.refusal(mistake.part, mistake.named))
    expect(await flux.objects(), before, "objects after a mistake")
    flux.repository.edit(mistake.path, mistake.after, mistake.before)
    await flux.follow(await flux.repository.commit("without the mistake"))
    expect(await flux.objects(), before, "objects after the mistake was taken back")


async def changes_only(flux: Flux, message: str, pop: str) -> None:
    """A commit changes objects of one PoP, and those about all PoPs."""
    before = await flux.objects()
    await follows(flux, await flux.repository.commit(message))
    after = await flux.objects()
    changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    changed |= after.keys() - before.keys()
    expect({key for key in changed - OF_ALL_POPS if pop not in key[1]}, set(), f"{message}: what else changes")
    if not any(pop in name for _, name in changed):
        raise DaemonError(f"{message}: nothing of it changes")


async def changed_back(flux: Flux) -> None:
    """An object that somebody deletes comes back when Flux looks at the release again."""
    before = set(await flux.objects())
    await flux.cluster.kubectl("delete", "networkpolicy", "--namespace", NAMESPACE, "autopilot-metrics")
    await flux.reconcile("helm")

    async def probe() -> str | None:
        left = before - set(await flux.objects())
        return f"not there: {sorted(left)}" if left else None

    await flux.wait(probe)


async def leaves(flux: Flux, pop: str) -> None:
    """Everything of the PoP goes but its topics, and nothing of the others."""
    before = set(await flux.objects())
    await flux.follow(await flux.repository.commit(f"{pop} is closed"))
    kept = {key for key in before if key[0].endswith(" KafkaTopic")}
    expect(set(await flux.objects()), kept | flux.wanted(), f"without {pop}")


def expect(found: object, awaited: object, what: str) -> None:
    """DaemonError if the two differ."""
    if found != awaited:
        raise DaemonError(f"{what}: found {found}, and not {awaited}")
