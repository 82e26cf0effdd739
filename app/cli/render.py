"""`autopilot render`: files for the programs beside us, made from the inventory."""

from pathlib import Path

from app.cli.show import chosen
from app.config.collectors import collector_files
from app.config.settings import Deployment
from app.errors import ConfigError, EnvironmentProblem


def render_collectors(deployment: Deployment, pop: str | None, out: Path) -> list[Path]:
    """Write the files of pmacct's collectors for these PoPs and return their paths.

    A single PoP's are in `out` itself, else those of each PoP are in a folder with its name. EnvironmentProblem if a
    file cannot be written.
    """
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
