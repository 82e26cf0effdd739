"""`autopilot render`: files for the programs beside us, made from the inventory."""

from pathlib import Path

import click

from app.cli.options import pop_option, with_deployment
from app.config.collectors import collector_files
from app.config.settings import Deployment
from app.errors import ConfigError, EnvironmentProblem


@click.group()
def render() -> None:
    """Write files for the programs beside us, from the inventory."""


@render.command("collectors")
@pop_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    show_default=True,
    help="Folder of the files; with several PoPs, each gets its own in it.",
)
@with_deployment
def render_collectors(deployment: Deployment, pop: str | None, out: Path) -> None:
    """Write whom sfacctd and pmbmpd should hear (sfacctd_allow_file, bmp_daemon_allow_file), and the lines of their
    configuration that name these files, the number of BMP peers, and a producer that keeps the order of messages.
    """
    for path in write_collectors(deployment, pop, out):
        click.echo(path)


def write_collectors(deployment: Deployment, pop: str | None, out: Path) -> list[Path]:
    """Write the files of pmacct's collectors for these PoPs and return their paths.

    A single PoP's are in `out` itself, else those of each PoP are in a folder with its name. EnvironmentProblem if a
    file cannot be written.
    """
    from app.cli.show import chosen  # Kafka's client is slow to import

    names = chosen(deployment, pop)
    written = []
    for name in names:
        folder = (out if len(names) == 1 else out / name).absolute()
        try:
            files = collector_files(deployment.pops[name], folder)
            folder.mkdir(parents=True, exist_ok=True)
            for file, text in files.items():
                (folder / file).write_text(text, encoding="utf-8")
                written.append(folder / file)
        except ValueError as error:
            raise ConfigError([f"{name}: {error}"]) from None
        except OSError as error:
            raise EnvironmentProblem(f"{folder}: {error.strerror}; choose another --out") from None
    return written
