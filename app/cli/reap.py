"""The command `autopilot reaper`, by itself: app/__main__.py starts it without the rest, to stay small."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from app.config import endpoints
from app.errors import AutopilotError

HALF_MAX = 2**16 - 1
Command = TypeVar("Command", bound=Callable[..., None])


def _target(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return endpoints.grpc(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} {error}") from error


def _community(_: click.Context, __: click.Parameter, value: str) -> str:
    """A community that nobody has would make a reaper that ends nothing."""
    halves = re.fullmatch(r"(0|[1-9][0-9]{0,4}):(0|[1-9][0-9]{0,4})", value)
    if halves is None or max(map(int, halves.groups())) > HALF_MAX:
        raise click.BadParameter(f"{value!r} is no community ASN:NUMBER; `autopilot check` prints that of each PoP")
    return value


def _file(name: str, text: str) -> Callable[[Command], Command]:
    return click.option(name, type=click.Path(), metavar="FILE", help=text)


@click.command()
@click.option(
    "--target",
    required=True,
    metavar="ADDRESS",
    callback=_target,
    help="gRPC address of the gobgpd: unix:///PATH.",
)
@click.option(
    "--marker",
    required=True,
    metavar="ASN:NUMBER",
    callback=_community,
    help="Community of our routes, as `autopilot check` prints it.",
)
@click.option(
    "--halt-file",
    type=click.Path(path_type=Path),
    default=Path("/etc/autopilot/halt"),
    show_default=True,
    help="As `halt_file` in the settings.",
)
@click.option(
    "--lease-s",
    type=click.FloatRange(min=1),
    default=300.0,
    show_default=True,
    help="As `pacing.lease_s`: no lease counts for longer.",
)
@_file("--ca-file", "As `gobgp.ca_file` in the settings, for a gobgpd with --tls; with the other two.")
@_file("--cert-file", "As `gobgp.cert_file`.")
@_file("--key-file", "As `gobgp.key_file`.")
def reaper(target: str, marker: str, halt_file: Path, lease_s: float, **files: str | None) -> None:
    """End leases beside one gobgpd, whatever becomes of the actuator.

    Run one beside each gobgpd, as a user who may end it. It withdraws what is past the lease that it carries, and
    everything while the halt file exists or cannot be looked at. It ends a gobgpd that does not answer. It needs no
    Kafka, no inventory and no settings file.
    """
    from app.reaper import run

    given = [path for path in files.values() if path is not None]
    if 0 < len(given) < len(files):
        raise click.UsageError("mutual TLS needs --ca-file, --cert-file and --key-file")
    tls = None
    if given:
        from app.bgp.tls import Tls  # 5 MB that are seldom needed
        from app.config.gobgp_settings import Gobgp

        tls = Tls(Gobgp(**files))
    try:
        run(target, marker, halt_file, lease_s, tls)
    except AutopilotError as error:
        raise click.ClickException(str(error)) from error
