"""The command `autopilot state reset`: what a person can do about the state of a worker that cannot go on from it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from app.cli.options import json_option, with_files
from app.cli.output import print_json
from app.clock import SystemClock
from app.config.settings import Deployment
from app.contract import topics
from app.errors import EnvironmentProblem


class Done(msgspec.Struct, frozen=True):
    """What a reset did: the local directories by their new paths, and what is deleted at the broker."""

    ok: bool
    set_aside: list[str]
    deleted_group: str | None
    deleted_topics: list[str]


async def reset(deployment: Deployment, app_id: str, from_inputs: bool, now_s: float) -> Done:
    """Set the local tables of an app aside; with `from_inputs`, delete its group and its changelogs first.

    EnvironmentProblem while a worker on this host has a table open, DaemonError while the group has members.
    """
    from app.kafka.admin import delete_changelogs, delete_group
    from app.stream import local_state  # Faust is slow to import, so only when needed

    folders = local_state.databases(Path(deployment.settings.data_dir), app_id)
    if used := [folder for folder in folders if local_state.is_in_use(folder)]:
        raise EnvironmentProblem(f"{used[0]}: a worker has it open: stop it first, and whatever starts it again")
    had_group, topics = False, list[str]()
    if from_inputs:
        kafka = deployment.settings.kafka
        had_group = await delete_group(kafka, app_id)
        topics = await delete_changelogs(kafka, app_id)
    aside = [str(local_state.set_aside(folder, now_s)) for folder in folders]
    return Done(True, aside, app_id if had_group else None, topics)


def lines(done: Done) -> list[str]:
    """What was done, a line each."""
    found = [
        *(f"set aside as {path}" for path in done.set_aside),
        *(f"deleted the group {group} and its commits" for group in (done.deleted_group,) if group),
        *(f"deleted the topic {topic}" for topic in done.deleted_topics),
    ]
    return found or ["There was no state."]


@click.group()
def state() -> None:
    """Look after the state of workers."""


@state.command("reset")
@click.option("--cell", required=True, help="The cell: a PoP, or a name under [cells].")
@click.option(
    "--process",
    type=click.Choice(["telemetry", "actuator"]),
    default="telemetry",
    show_default=True,
    help="Which worker of the cell.",
)
@click.option("--instance", help="Name of a second worker of the cell on this host, as it was started with.")
@click.option(
    "--from-inputs",
    is_flag=True,
    help="Also delete the cell's changelogs and commits, so that its inputs are read again.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@with_files
def reset_command(
    read: Callable[[], Deployment], cell: str, process: str, instance: str | None, as_json: bool, **choices: bool
) -> None:
    """Let a stopped worker rebuild its state.

    It sets the local tables on this host aside, and the next start rebuilds them from the changelogs. With
    --from-inputs the changelogs go, too, and the next start counts again from the oldest input that Kafka has: windows
    of that time are published again. The directories are renamed, and nothing in them is lost.
    """
    from_inputs, yes = choices["from_inputs"], choices["yes"]
    deployment = read().instance(instance, None)
    deployment.cell(cell)  # an unknown cell is wrong usage
    app_id = topics.app_id(process, cell)
    if not yes:
        if as_json:
            raise click.UsageError("give --yes: with --json nothing is asked")
        source = "its inputs: its changelogs and commits are deleted" if from_inputs else "its changelogs"
        click.confirm(f"Rebuild the state of {app_id} from {source}. Continue?", abort=True, err=True)
    done = asyncio.run(reset(deployment, app_id, from_inputs, SystemClock().now_s()))
    if as_json:
        print_json(done)
    else:
        click.echo("\n".join(lines(done)))
