"""The commands that change what running workers do: `halt`, `resume`, `reload`."""

import asyncio
import os
import pwd

import click

from app.cli.options import json_option, pop_option, with_deployment
from app.cli.output import print_json
from app.clock import SystemClock
from app.config.key_files import signer_of
from app.config.settings import Deployment
from app.config.trusted_keys import trust_of
from app.contract.schemas import TEXT_MAX
from app.errors import ConfigError


def _printable(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (value.strip() and value.isprintable() and len(value) <= TEXT_MAX):
        raise click.BadParameter(f"write one line of at most {TEXT_MAX} characters")
    return value


reason_option = click.option(
    "--reason", metavar="TEXT", callback=_printable, help="Why: on the page, in every command and in the logs."
)


def _user() -> str:
    """Who gives the command. Names in the environment are anybody's choice."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def _order(deployment: Deployment, pop: str | None, halted: bool, reason: str | None) -> None:
    from app.cli.show import chosen
    from app.kafka.orders import ALL, INSTEAD, Seal, send_control

    chosen(deployment, pop)
    settings, of = deployment.settings, pop or ALL
    try:
        signer = signer_of(settings, "control", [of])
    except ConfigError as error:
        raise ConfigError([f"{problem}{INSTEAD if halted else ''}" for problem in error.problems]) from error
    seal = Seal(signer, trust_of(settings.trust)) if signer is not None else None
    asyncio.run(send_control(settings.kafka, of, halted, _user(), seal, reason))
    click.echo(f"{'halted' if halted else 'resumed'}: {pop or 'every PoP'}")


@click.command()
@pop_option
@reason_option
@with_deployment
def halt(deployment: Deployment, pop: str | None, reason: str | None) -> None:
    """Withdraw every override and announce no new ones, until `resume`. It records who halted, and why."""
    _order(deployment, pop, True, reason)


@click.command()
@pop_option
@reason_option
@with_deployment
def resume(deployment: Deployment, pop: str | None, reason: str | None) -> None:
    """Let the actuators announce overrides again. It records who resumed, and why."""
    _order(deployment, pop, False, reason)


@click.command()
@pop_option
@json_option
@with_deployment
def reload(deployment: Deployment, pop: str | None, as_json: bool) -> None:
    """Let the telemetry and actuator on this host take over a changed configuration: all of it, or nothing.

    It lists what changes. If the files have a mistake, or a worker needs a restart for one of the changes, it says so
    and changes nothing. On another host, send SIGHUP to the workers there; their logs say the same.
    """
    from app.cli import reloads

    found = asyncio.run(reloads.reload(deployment, pop, SystemClock()))
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(reloads.lines(found)))
    raise SystemExit(0 if found.reloaded else 1)
