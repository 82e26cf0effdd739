"""`python -m tests.bench.reading`: what it costs to take messages from Kafka, before anything is done with them.

A worker with our consumer and our exact reader counts messages and bytes, and so does librdkafka; with `--before` the
worker of another checkout of the project, too. Each runs alone on one core, the broker on the others; rounds are
interleaved. CPU time is what counts, of all threads: the rest of a worker needs the same core. A program that counts
other bytes than the rest ends the benchmark without a figure.
"""

import asyncio
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

import click
import msgspec
from rich.console import Console
from rich.table import Table

from app.cli.output import PIPE_COLUMNS
from app.clock import SystemClock
from app.contract import topics
from app.errors import AutopilotError
from app.lab.daemons.kafka import kafka
from app.lab.daemons.machine import CHECKOUT
from app.lab.daemons.runner import Program, Runner
from tests.bench.__main__ import AGE_S, cores
from tests.bench.figures import OURS, Disagreement
from tests.bench.fill import fill
from tests.bench.offsets import Offsets
from tests.bench.peers import VENV, Bench
from tests.bench.traffic import REFRESH_S, WINDOW_S, Plan, blocks

BEFORE, LIBRDKAFKA = "before", "librdkafka"
PURGES = WINDOW_S // REFRESH_S
CAPACITY_BPS = 1e12  # nobody looks at it
WITHIN_S = 120.0


class Report(msgspec.Struct, frozen=True):
    """What a program prints (meter.py)."""

    bytes: int
    seconds: float
    cpu_s: float
    timed_bytes: int
    timed_messages: int
    memory_max_bytes: int


class Row(msgspec.Struct, frozen=True):
    """The medians of a program's rounds."""

    program: str
    per_message: int
    bytes_per_s: float
    bytes_per_cpu_s: float
    messages_per_s: float
    messages_per_cpu_s: float
    memory_max_bytes: float


def row(program: str, per_message: int, reports: Sequence[Report]) -> Row:
    """Of the rounds of one program over one topic."""
    return Row(
        program,
        per_message,
        median(one.timed_bytes / one.seconds for one in reports),
        median(one.timed_bytes / one.cpu_s for one in reports),
        median(one.timed_messages / one.seconds for one in reports),
        median(one.timed_messages / one.cpu_s for one in reports),
        median(one.memory_max_bytes for one in reports),
    )


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Ours over the others: bytes by CPU second, by name and records a message."""
    ours = {one.per_message: one for one in rows if one.program == OURS}
    return {
        f"{one.program}_{one.per_message}": round(ours[one.per_message].bytes_per_cpu_s / one.bytes_per_cpu_s, 3)
        for one in rows
        if one.program != OURS
    }


def agree(reports: Sequence[Report]) -> None:
    """Disagreement where programs counted different bytes."""
    if len({one.bytes for one in reports}) > 1:
        raise Disagreement("the programs counted different bytes of the same topic: there are no figures")


class ConstantsRead:
    """One broker with filled topics, and the reports of the programs that read them."""

    def __init__(self, bench: Bench, offsets: Offsets, before: Path | None) -> None:
        self.reports: dict[tuple[str, int], list[Report]] = {}
        self._bench = bench
        self._offsets = offsets
        self._programs = {OURS: (sys.executable, "ours", CHECKOUT), LIBRDKAFKA: (str(VENV), LIBRDKAFKA, CHECKOUT)}
        if before is not None:
            self._programs[BEFORE] = (sys.executable, "ours", self._with_our_tests(before))

    def _with_our_tests(self, checkout: Path) -> Path:
        """A folder with the other checkout's packages, and this benchmark."""
        folder = self._bench.run_dir / BEFORE
        folder.mkdir()
        for package in ("app", "agents", "tables"):
            (folder / package).symlink_to(checkout.resolve() / package)
        (folder / "tests").symlink_to(CHECKOUT / "tests")
        return folder

    async def fill(self, per_message: int, records: int) -> None:
        start_s = int(SystemClock().now_s() - AGE_S) // WINDOW_S * WINDOW_S
        plan = Plan(start_s=start_s, windows=1, a_purge=blocks(records / PURGES), per_message=per_message)
        await fill(self._bench.broker, f"bench{per_message}", plan, CAPACITY_BPS)

    async def round(self, per_message: int, number: int) -> None:
        """Every program once."""
        topic = topics.FLOWS.for_pop(f"bench{per_message}")
        messages = await self._offsets.end(topic)
        for program in self._programs:
            report = await self._run(program, topic, messages, f"{program}-{per_message}-{number}")
            self.reports.setdefault((program, per_message), []).append(report)
        agree([report for (_, of), found in self.reports.items() if of == per_message for report in found])

    async def _run(self, program: str, topic: str, messages: int, run: str) -> Report:
        python, module, checkout = self._programs[program]
        directory = self._bench.run_dir / run
        directory.mkdir()
        told = (self._bench.broker, topic, str(messages), run, str(directory))
        # -P: else the packages of the working directory come first, which are ours
        argv = self._bench.pinned(python, "-P", "-m", f"tests.bench.reading_{module}", *told)
        await self._bench.runner.run(Program(name=run, argv=argv, env={"PYTHONPATH": str(checkout)}), WITHIN_S)
        text = await asyncio.to_thread((self._bench.run_dir / f"{run}.log").read_text, errors="replace")
        (reported,) = (line for line in text.splitlines() if line.startswith('{"bytes"'))
        return msgspec.json.decode(reported, type=Report)


async def run_all(sizes: Sequence[int], rounds: int, records: int, before: Path | None) -> list[Row]:
    """The rows of all programs."""
    core, others = cores()
    os.sched_setaffinity(0, others)
    run_dir = Path(mkdtemp(prefix="reading-"))
    run_dir.chmod(0o755)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(kafka(topics.named([f"bench{size}" for size in sizes])))
        runner = await stack.enter_async_context(Runner(run_dir))
        offsets = await stack.enter_async_context(Offsets.of(broker))
        reading = ConstantsRead(Bench(broker, run_dir, runner, core), offsets, before)
        for size in sizes:
            await reading.fill(size, records)
        for number in range(rounds):
            for size in sizes:
                await reading.round(size, number)
    shutil.rmtree(run_dir)
    return [row(*of, reports) for of, reports in reading.reports.items()]


def table(rows: Sequence[Row]) -> Table:
    """For people."""
    shown = Table("program", "a message", "MB/s", "MB/CPU s", "messages/s", "messages/CPU s", "memory MB")
    for one in rows:
        figures = (one.bytes_per_s / 1e6, one.bytes_per_cpu_s / 1e6, one.messages_per_s, one.messages_per_cpu_s)
        shown.add_row(one.program, str(one.per_message), *(f"{x:,.0f}" for x in (*figures, one.memory_max_bytes / 1e6)))
    return shown


@click.command()
@click.option(
    "--per-message", "sizes", multiple=True, type=click.Choice(["1", "1000"]), default=("1", "1000"), help="Topics."
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--records", type=click.IntRange(100_000), default=1_000_000, show_default=True, help="In each topic.")
@click.option("--before", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Another checkout.")
@click.option("--json", "json_", is_flag=True, help="One JSON document as the last line of stdout.")
def main(sizes: tuple[str, ...], rounds: int, records: int, before: Path | None, json_: bool) -> None:
    """Measure; exit code 1 where the programs do not agree."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # a fresh broker makes its topics first
    try:
        rows = asyncio.run(run_all([int(size) for size in sizes], rounds, records, before))
    except AutopilotError as error:
        raise click.ClickException(str(error)) from error
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False).print(table(rows))
    if json_:
        print(json.dumps({"ratios": ratios(rows), "rows": [msgspec.structs.asdict(one) for one in rows]}))


if __name__ == "__main__":
    main()
