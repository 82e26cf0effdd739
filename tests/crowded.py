"""`python -m tests.crowded`: how late decisions are while every HTTP server of the demo is attacked, and while none is.

The demo runs throughout. For the first half nobody asks anything; then, on the ports of telemetry, actuator and view,
every five seconds 1,100 half requests begin at once, 200 streams are held open, 200 clients ask for page after page
and read none, requests come byte by byte, and names, headers, bodies and lines come that no server takes. All of it is
on loopback, from one process.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir

import click
import msgspec
import numpy as np

from app.cli.show import read_decision
from app.clock import SystemClock
from app.config.settings import Deployment, load
from app.config.trusted_keys import trust_of
from app.contract import topics
from app.errors import AutopilotError
from app.kafka.read import read_topic
from app.kafka.unreadable import decoded
from tests.http_attack import HALF, STREAM, asked, connected, crowd, drip, unreading
from tests.soak import running

HALF_REQUESTS, STREAMS, UNREADING, SLOW = 1100, 200, 200, 20
PAGES = 40 * b"".join(
    f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for path in ("/metrics", "/state", "/")
)
AGAIN_S, LOOK_EVERY_S = 5.0, 1.0
ODD = (
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 100_000,
)
CLOCK = SystemClock()


class Delays(msgspec.Struct, frozen=True):
    """Of the decisions of some time: seconds from the end of a window, and from its last flow record, to Kafka."""

    decisions: int
    from_end_p50_s: float
    from_end_p99_s: float
    from_end_max_s: float
    from_closed_p50_s: float
    from_closed_p99_s: float
    from_closed_max_s: float


class Outcome(msgspec.Struct, frozen=True):
    """Both halves, the most files that each worker held open in them, and the demo's verdict."""

    quiet: Delays
    attacked: Delays
    files_quiet: dict[str, int]
    files_attacked: dict[str, int]
    restarts: int
    demo_exit: int


class Watched:
    """What the workers hold: the most files of each, and their process ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, int] = {}
        self.pids: set[int] = set()

    async def watch(self) -> None:
        while True:
            for name, pid, held in running(self._folder):
                self.pids.add(pid)
                self.files[name] = max(self.files.get(name, 0), held.files)
            await asyncio.sleep(LOOK_EVERY_S)

    def files_so_far(self) -> dict[str, int]:
        """The most since the last call."""
        files, self.files = self.files, {}
        return files


async def attack(port: int) -> None:
    """Until cancelled."""
    async with crowd(port, STREAMS, STREAM):
        while True:
            with unreading(port, UNREADING, PAGES):
                async with crowd(port, HALF_REQUESTS, HALF), asyncio.TaskGroup() as slow:
                    for _ in range(SLOW):
                        slow.create_task(slowly(port))
                    for request in ODD:
                        with contextlib.suppress(OSError):
                            await asked(port, request)
                    await asyncio.sleep(AGAIN_S)


async def slowly(port: int) -> None:
    """A byte a second, for as long as the server waits."""
    with contextlib.suppress(OSError):
        client = await connected(port)
        await drip(client, HALF[: int(AGAIN_S)], 1.0)
        client.close()


async def published(deployment: Deployment, since_s: float) -> list[tuple[float, float, float]]:
    """(end of the window, its last flow record, in Kafka) of each decision since then, in Unix seconds."""
    (pop,) = deployment.pops
    records = await read_topic(deployment.settings.kafka, topics.DECISIONS.for_pop(pop), since_s=since_s)
    length_s = deployment.settings.windows.length_s
    return [
        (decision.window_start.timestamp() + length_s, decision.closed_at.timestamp(), record.timestamp / 1000)
        for record, decision in decoded(records, read_decision, trust_of(deployment.settings.trust))
        if decision.closed_at is not None
    ]


def delays(rows: Sequence[tuple[float, float, float]]) -> Delays:
    """A percentile of few values is one of the largest."""
    from_end, from_closed = [at - end for end, _, at in rows], [at - closed for _, closed, at in rows]
    return Delays(len(rows), *_figures(from_end), *_figures(from_closed))


def _figures(values: Sequence[float]) -> Iterator[float]:
    for percentile in (50, 99, 100):
        yield round(float(np.percentile(values, percentile, method="inverted_cdf")), 3)


async def decided(settings_file: Path, demo: asyncio.subprocess.Process) -> Deployment:
    """The demo's deployment, as soon as there are decisions."""
    while demo.returncode is None:
        with contextlib.suppress(AutopilotError):
            deployment = load(settings_file)
            if await published(deployment, 0.0):
                return deployment
        await asyncio.sleep(LOOK_EVERY_S)
    raise click.ClickException(f"the demo ended with {demo.returncode} before it decided; see {settings_file.parent}")


async def crowded(seconds: int, folder: Path) -> Outcome:
    """Each half lasts for so long."""
    argv = ("-m", "app", "demo", "--for", str(2 * seconds + 60), "--keep", str(folder), "--json")
    demo = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=sys.stderr)
    deployment = await decided(folder / "autopilot.toml", demo)
    settings, watched = deployment.settings, Watched(folder)
    watching, began_s = asyncio.create_task(watched.watch()), CLOCK.now_s()
    await asyncio.sleep(seconds)
    files_quiet, attacked_s = watched.files_so_far(), CLOCK.now_s()
    ports = (settings.state_port, settings.actuator_port, settings.view_port)
    attacks = [asyncio.create_task(attack(port)) for port in ports if port]
    await asyncio.sleep(seconds)
    rows = await published(deployment, began_s)
    files_attacked = watched.files_so_far()
    if broken := [task.exception() for task in attacks if task.done()]:
        raise click.ClickException(f"an attack ended: {broken}")
    for task in (*attacks, watching):
        task.cancel()
    return Outcome(
        delays([row for row in rows if row[2] < attacked_s]),
        delays([row for row in rows if row[2] >= attacked_s]),
        files_quiet,
        files_attacked,
        len(watched.pids) - len(files_quiet),
        await demo.wait(),
    )


@click.command(help=__doc__)
@click.option("--for", "seconds", type=click.IntRange(min=60), default=300, show_default=True, help="Of each half.")
def main(seconds: int) -> None:
    folder = Path(gettempdir()) / f"crowded-{os.getpid()}"  # the demo makes it: as root it runs as another user
    outcome = asyncio.run(crowded(seconds, folder))
    click.echo(msgspec.json.encode(outcome).decode())
    if outcome.demo_exit or outcome.restarts:
        click.echo(f"a worker was started again, or the demo failed; its logs are in {folder}", err=True)
        raise SystemExit(1)
    rmtree(folder)


if __name__ == "__main__":
    main()
