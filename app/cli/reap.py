"""The command `autopilot reaper`, by itself: app/__main__.py starts it without the rest, to stay small."""

from pathlib import Path

import click

from app.config import endpoints


def _target(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return endpoints.grpc(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} {error}") from error


@click.command()
@click.option(
    "--target",
    required=True,
    metavar="ADDRESS",
    callback=_target,
    help="gRPC address of the gobgpd: unix:///PATH.",
)
@click.option("--marker", required=True, help="Community of our routes, as `marker_community` in the inventory.")
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
def reaper(target: str, marker: str, halt_file: Path, lease_s: float) -> None:
    """End leases beside one gobgpd, whatever becomes of the actuator.

    Run one beside each gobgpd, as a user who may end it. It withdraws what is past the lease that it carries, and
    everything while the halt file exists or cannot be looked at. It ends a gobgpd that does not answer. It needs no
    Kafka, no inventory and no settings file.
    """
    from app.reaper import run

    run(target, marker, halt_file, lease_s)
