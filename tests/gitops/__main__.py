"""`python -m tests.gitops [--json]`: Flux on a real API server, and what commits do. Exit code 1 if a step fails."""

import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click
import msgspec

from app.errors import EnvironmentProblem
from app.lab.daemons.machine import SEARCH_PATH
from app.lab.daemons.runner import Runner
from tests.cluster.__main__ import concluded, gone, own_folder, say
from tests.cluster.programs import programs
from tests.cluster.sandbox import Sandbox
from tests.cluster.steps import Steps
from tests.deploy.tools import tools
from tests.gitops import steps
from tests.gitops.flux import URL, Flux
from tests.gitops.programs import controllers
from tests.gitops.repository import Repository

PREFIX = "autopilot-gitops-"
PACKAGE_OF = {"unshare": "util-linux", "ip": "iproute2", "git": "git"}


def check_machine() -> None:
    """EnvironmentProblem lists all that this machine lacks."""
    packages = [name for program, name in PACKAGE_OF.items() if shutil.which(program, path=SEARCH_PATH) is None]
    problems = [f"not installed: {', '.join(packages)}"] if packages else []
    if os.geteuid() != 0:
        problems.append("it makes namespaces and mounts: run it as root")
    if problems:
        raise EnvironmentProblem("Flux cannot start:\n" + "\n".join(f"- {problem}" for problem in problems))


async def run(taken: Steps) -> None:
    """Every step; an error ends the run."""
    check_machine()
    async with taken.step("programs"):
        built, flux, clients = programs(), controllers(), tools()
    sandboxes: list[Sandbox] = []
    with own_folder(PREFIX) as folder:
        repository = Repository(folder, URL, clients.helms["helm3"])

        @asynccontextmanager
        async def cluster(name: str) -> AsyncIterator[Flux]:
            """A cluster with Flux, which does not know the repository yet."""
            (folder / name).mkdir()
            (folder / "log" / name).mkdir()
            async with Runner(folder / "log" / name, report=say) as runner:
                found = Flux(name, repository, runner, folder / name, built)
                sandboxes.append(found.cluster.sandbox)
                await found.start(flux, clients.resources)
                yield found

        await steps.shown(taken, repository, cluster)
        async with taken.step("nothing is left"):
            for sandbox in sandboxes:
                await gone(sandbox)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def main(as_json: bool) -> None:
    """Let Flux make clusters what a git repository says, and show what commits do to them."""
    taken = Steps(say)
    code = concluded(run(taken))
    if as_json:
        done = [{"step": each.step, "ok": each.ok, "seconds": each.seconds} for each in taken.outcome.steps]
        print(msgspec.json.encode({"ok": code == 0 and taken.outcome.ok, "steps": done}).decode())
    sys.exit(code)


if __name__ == "__main__":
    main()
