"""`python -m tests.sso [--json]`: logs in to the page, and tries to get past the login. Exit code 1 if a step fails."""

import sys
from contextlib import AsyncExitStack

import click
import msgspec

from app.lab.daemons.runner import Runner
from tests.cluster.__main__ import concluded, own_folder, say
from tests.cluster.steps import Steps
from tests.deploy.tools import tools
from tests.sso.programs import programs
from tests.sso.rig import Rig
from tests.sso.steps import shown

PREFIX = "autopilot-sso-"


async def run(taken: Steps) -> None:
    """Every step; an error ends the run."""
    async with taken.step("programs"):
        built, helm = programs(), tools().helms["helm4"]
    with own_folder(PREFIX) as folder:
        async with Runner(folder / "log", report=say) as runner, AsyncExitStack() as stack:
            rig = Rig(runner, folder, built)
            async with taken.step("provider, proxy and view run as the chart renders them"):
                await stack.enter_async_context(rig.started(helm))
            await shown(taken, rig)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def main(as_json: bool) -> None:
    """Log in to the page of the chart at a real provider, and try to get past the login."""
    taken = Steps(say)
    code = concluded(run(taken))
    if as_json:
        done = [{"step": each.step, "ok": each.ok, "seconds": each.seconds} for each in taken.outcome.steps]
        print(msgspec.json.encode({"ok": code == 0 and taken.outcome.ok, "steps": done}).decode())
    sys.exit(code)


if __name__ == "__main__":
    main()
