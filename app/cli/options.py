"""Options that several commands of `autopilot` share."""

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from app.config.settings import Deployment, load

T = TypeVar("T")


def with_deployment(command: Callable[..., T]) -> Callable[..., T]:
    """Add `--config` to a command and pass it the deployment loaded from there."""

    @with_files
    @wraps(command)
    def run(read: Callable[[], Deployment], **kwargs: Any) -> T:
        return command(read(), **kwargs)

    return run


def with_files(command: Callable[..., T]) -> Callable[..., T]:
    """Add `--config` to a command and pass it what loads the deployment from there, now and later."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        default="autopilot.toml",
        show_default=True,
        envvar="AUTOPILOT_CONFIG",
        show_envvar=True,
        help="Path of the settings file.",
    )
    @wraps(command)
    def run(config: Path, **kwargs: Any) -> T:
        return command(partial(load, config), **kwargs)

    return run


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, for errors too.")
pop_option = click.option("--pop", default=None, help="Only this PoP (default: every PoP of the deployment).")
cell_option = click.option("--cell", required=True, help="The cell to run: a PoP, or a name under [cells].")
