"""`python -m tests.soak`: the whole loop for half an hour at twice the demo's load; memory and open files must be flat.

The figures of each worker are taken every ten seconds. Flat: the last fifth of the run needs no more than `MORE` above
the second fifth, when all is warm; the first is not looked at.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import gettempdir

import click
import msgspec

SCENARIO = Path(__file__).with_suffix(".toml")
WORKERS = ("telemetry", "actuator", "view")
EVERY_S = 10.0
MORE = 1.05
FILES_MORE = 5


class Sample(msgspec.Struct, frozen=True):
    """What a process holds: resident memory and open files."""

    rss_mib: float
    files: int


class Flatness(msgspec.Struct, frozen=True):
    """Medians of the second fifth of the run, of the last, and whether they are the same but for noise."""

    worker: str
    pids: int
    samples: int
    rss_mib_early: float
    rss_mib_late: float
    files_early: int
    files_late: int
    flat: bool


async def soak(seconds: int, folder: Path) -> tuple[int, list[Flatness]]:
    """(the demo's exit code, a row per worker)."""
    argv = ("-m", "app", "demo", "--scenario", str(SCENARIO), "--for", str(seconds), "--keep", str(folder), "--json")
    demo = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=sys.stderr)
    seen: dict[str, list[Sample]] = {name: [] for name in WORKERS}
    pids: dict[str, set[int]] = {name: set() for name in WORKERS}
    ended = asyncio.create_task(demo.wait())
    while not ended.done():
        for name, pid, held in running(folder):
            seen[name].append(held)
            pids[name].add(pid)
        await asyncio.wait({ended}, timeout=EVERY_S)
    return ended.result(), [flatness(name, len(pids[name]), samples) for name, samples in seen.items()]


def running(folder: Path) -> Iterator[tuple[str, int, Sample]]:
    """(name, process id, what it holds) of our workers of this run."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            argv = (process / "cmdline").read_text(errors="replace").split("\0")
            if "app" in argv and any(part.startswith(str(folder)) for part in argv):
                yield from ((name, int(process.name), sample(process)) for name in WORKERS if name in argv)


def sample(folder: Path) -> Sample:
    """Of a process, from its folder in /proc."""
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Sample(int(status["VmRSS"].split()[0]) / 1024, len(list((folder / "fd").iterdir())))


def flatness(worker: str, pids: int, samples: list[Sample]) -> Flatness:
    """Pure; a worker that was started again is not flat, whatever it holds. ClickException where there are too few."""
    fifth = len(samples) // 5
    if not fifth:
        raise click.ClickException(f"{worker}: seen {len(samples)} times, at least 5 are needed")
    early, late = samples[fifth : 2 * fifth], samples[-fifth:]
    rss_early, rss_late = median(each.rss_mib for each in early), median(each.rss_mib for each in late)
    files_early, files_late = (round(median(each.files for each in part)) for part in (early, late))
    flat = pids == 1 and rss_late <= rss_early * MORE and files_late <= files_early + FILES_MORE
    return Flatness(worker, pids, len(samples), round(rss_early, 1), round(rss_late, 1), files_early, files_late, flat)


@click.command(help=__doc__)
@click.option("--for", "seconds", type=click.IntRange(min=300), default=1800, help="Seconds of traffic.")
def main(seconds: int) -> None:
    folder = Path(gettempdir()) / f"soak-{os.getpid()}"  # the demo makes it: as root it runs as another user
    code, rows = asyncio.run(soak(seconds, folder))
    click.echo(msgspec.json.encode({"demo_exit": code, "workers": rows}).decode())
    if code or not all(row.flat for row in rows):
        click.echo(f"not flat, or the demo failed; its logs are in {folder}", err=True)
        raise SystemExit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
