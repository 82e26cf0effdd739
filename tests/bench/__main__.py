"""`python -m tests.bench`: the telemetry worker beside other stream programs, over the same topics.

Every program adds up bytes per link and 10 s window. It runs alone on one core, the broker on the others, and its rate
is the records from the first that it takes to the last whose offset is committed; starting up is not counted. Slow
programs read only the first part of a topic. Rounds are interleaved and figures are medians. Where the sums of any
program differ from what was sent, no figure is printed and the exit code is 1.
"""

import asyncio
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import mkdtemp

import click
import msgspec
from rich.console import Console
from rich.table import Table

from app.cli.output import PIPE_COLUMNS
from app.clock import SystemClock
from app.contract import topics
from app.errors import AutopilotError, EnvironmentProblem
from app.lab.daemons.certificates import Authority
from app.lab.daemons.kafka import Listener, kafka
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Runner
from tests.bench import network
from tests.bench.figures import OURS, OURS_TLS, Row, Run, check, document, ours_over
from tests.bench.fill import fill
from tests.bench.offsets import Offsets
from tests.bench.ours import Worker
from tests.bench.peers import Bench, Peer, run_peer
from tests.bench.traffic import RATE, REFRESH_S, SIZES, WINDOW_S, Plan, Traffic, blocks

progress = Console(stderr=True, highlight=False)
AGE_S = 600  # of the traffic's first second: no record is of the future
NETWORK_PER_S = {1000: 200_000, 100: 160_000, 1: 80_000}  # records of the network whose traffic is caught up with
ROOM = 1.5  # capacity of a link over the mean load: the largest links are congested

# Rates are about what was seen; they only make runs equally long.
PROGRAMS = (
    Peer(OURS, 1000, 900_000),
    Peer("kafka_streams", 1000, 500_000, "each"),
    Peer("kafka_streams", 1000, 700_000, "combined"),
    Peer("quix", 1000, 80_000, "each"),
    Peer("quix", 1000, 600_000, "combined"),
    Peer("limit", 1000, 1_300_000),
    Peer(OURS_TLS, 1000, 900_000),
    Peer(OURS, 100, 300_000),
    Peer("kafka_streams", 100, 400_000, "each"),
    Peer("kafka_streams", 100, 400_000, "combined"),
    Peer("quix", 100, 50_000, "each"),
    Peer("quix", 100, 300_000, "combined"),
    Peer("limit", 100, 300_000),
    Peer(OURS, 1, 200_000),
    Peer("kafka_streams", 1, 200_000, "each"),
    Peer("quix", 1, 50_000, "each"),
    Peer("plain_faust", 1, 3_000),
)
NAMES = list(dict.fromkeys(one.program for one in PROGRAMS))


class Filled(msgspec.Struct):
    """A topic: the PoP whose flows it holds, and the traffic in it."""

    pop: str
    traffic: Traffic
    capacity_bps: float


def part(peer: Peer, topic_records: int, seconds: float) -> int:
    """How many records of a topic a program reads: ours all, the others what they read in so many seconds."""
    if peer.program in (OURS, OURS_TLS):
        return topic_records
    return min(topic_records, blocks(peer.rate * seconds))


def plan_topics(chosen: Sequence[Peer], seconds: float, start_s: int) -> Iterator[Plan]:
    """A topic for each number of records a message, as large as the fastest program that does the work wants it."""
    for per_message in dict.fromkeys(peer.per_message for peer in chosen):
        peers = [peer for peer in chosen if peer.per_message == per_message]
        records = max(peer.rate for peer in [one for one in peers if one.program != "limit"] or peers) * seconds
        windows = max(1, round(records / NETWORK_PER_S[per_message] / WINDOW_S))
        a_purge = blocks(records * REFRESH_S / WINDOW_S / windows)
        plan = Plan(start_s=start_s, windows=windows, a_purge=a_purge, per_message=per_message)
        marks = sorted({part(peer, plan.records, seconds) for peer in peers})
        yield msgspec.structs.replace(plan, marks=marks)


def cores() -> tuple[int, set[int]]:
    """One for the measured program, and the others; EnvironmentProblem where there is only one."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise EnvironmentProblem("the benchmark takes two cores: one for the program, one for the broker")
    return first, set(others)


class Benchmark:
    """One broker with filled topics, and the rows that come of the rounds."""

    def __init__(self, bench: Bench, logs: Path, offsets: Offsets, seconds: float) -> None:
        self.rows: dict[Peer, Row] = {}
        self._logs = logs  # of the broker, a directory for each partition
        self._bench = bench
        self._offsets = offsets
        self._seconds = seconds
        self._filled: dict[int, Filled] = {}

    async def fill(self, plan: Plan) -> None:
        """Fill the topics of one plan."""
        pop = f"bench{plan.per_message}"
        load_bps = 8 * RATE * sum(SIZES) / len(SIZES) * plan.a_purge / REFRESH_S / network.LINKS
        progress.print(f"{plan.records:,} records, {plan.per_message} a message: filling")
        traffic = await fill(self._bench.broker, pop, plan, load_bps * ROOM)
        self._filled[plan.per_message] = Filled(pop, traffic, load_bps * ROOM)

    async def run(self, peer: Peer, number: int) -> None:
        """One program in one round; Disagreement where its output is wrong. Nobody is told a figure before the end."""
        filled = self._filled[peer.per_message]
        records = part(peer, filled.traffic.plan.records, self._seconds)
        row = self.rows.setdefault(peer, _row(peer, records))
        await asyncio.to_thread(warm, self._logs / f"{topics.FLOWS.for_pop(filled.pop)}-0")
        run = await self._measure(peer, filled, records, f"{row.name} {number}".replace(" ", "-").replace("_", "-"))
        check(row.name, run, filled.traffic.expected[records])
        row.settings = run.settings
        row.rates.append(run.rate)
        progress.print(f"round {number}: {row.name}: done, the sums are right")

    async def _measure(self, peer: Peer, filled: Filled, records: int, run: str) -> Run:
        if peer.program not in (OURS, OURS_TLS):
            return await run_peer(self._bench, peer, topics.FLOWS.for_pop(filled.pop), records, run)
        worker = Worker(self._bench, self._offsets, filled.pop, filled.capacity_bps, run, peer.program == OURS_TLS)
        return await worker.measure(filled.traffic.expected[records])


def by_tls(run_dir: Path) -> tuple[Listener, dict[str, str]]:
    """A listener that wants a certificate of its clients, and the keys of `[kafka]` for a client that has one."""
    authority = Authority("bench")
    ours = authority.issue("bench")
    texts = {"ca_file": authority.certificate, "cert_file": ours.certificate, "key_file": ours.key}
    files = {key: run_dir / f"{key}.pem" for key in texts}
    for key, file in files.items():
        file.write_text(texts[key], encoding="utf-8")
    listener = Listener("MTLS", free_port(), authority.issue("broker", ["localhost"]), clients=authority.certificate)
    return listener, {"broker": listener.address, "security": "mtls", **{key: str(file) for key, file in files.items()}}


def warm(partition: Path) -> None:
    """Have a topic in the page cache, where what was just sent is, and not only for who reads soon after another."""
    for segment in sorted(partition.glob("*.log")):
        with segment.open("rb") as file:
            while file.read(1 << 24):
                pass


def _row(peer: Peer, records: int) -> Row:
    return Row(
        program=peer.program,
        per_message=peer.per_message,
        variant=peer.variant,
        records=records,
        settings={},
        rates=[],
    )


async def run_all(chosen: Sequence[Peer], rounds: int, seconds: float) -> Benchmark:
    """Every program once a round."""
    core, others = cores()
    os.sched_setaffinity(0, others)  # the broker's, too, which we start
    start_s = int(SystemClock().now_s() - AGE_S) // WINDOW_S * WINDOW_S
    plans = list(plan_topics(chosen, seconds, start_s))
    run_dir = Path(mkdtemp(prefix="bench-"))
    run_dir.chmod(0o755)
    broker_dir = run_dir / "broker"
    async with AsyncExitStack() as stack:
        # Gigabytes, whatever goes wrong; the logs beside it stay then.
        stack.callback(shutil.rmtree, broker_dir, ignore_errors=True)
        wanted = topics.named([f"bench{plan.per_message}" for plan in plans])
        listener, tls = by_tls(run_dir)
        broker = await stack.enter_async_context(kafka(wanted, broker_dir, [listener]))
        runner = await stack.enter_async_context(Runner(run_dir))
        offsets = await stack.enter_async_context(Offsets.of(broker))
        benchmark = Benchmark(Bench(broker, run_dir, runner, core, tls), broker_dir / "kafka", offsets, seconds)
        for plan in plans:
            await benchmark.fill(plan)
        for number in range(1, rounds + 1):
            for peer in chosen:
                await benchmark.run(peer, number)
    shutil.rmtree(run_dir)
    return benchmark


def table(rows: Sequence[Row]) -> Table:
    """For people."""
    shown = Table("program", "a message", "variant", "records", "records/s", "lowest", "highest", "ours over it")
    for row in rows:
        figures = (row.records, row.rate, min(row.rates), max(row.rates))
        ratio = ours_over(rows, row)
        shown.add_row(
            row.program,
            str(row.per_message),
            row.variant,
            *(f"{figure:,.0f}" for figure in figures),
            "" if ratio is None else f"{ratio:.2f}",
        )
    return shown


def show(rows: Sequence[Row]) -> None:
    """The table, and what was set."""
    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
    console.print(table(rows))
    for row in rows:
        settings = ", ".join(f"{key}={value}" for key, value in row.settings.items())
        console.print(f"{row.name}: {settings}", soft_wrap=True)


@click.command()
@click.option("--only", "names", multiple=True, type=click.Choice(NAMES), help="These programs.")
@click.option(
    "--per-message",
    "sizes",
    multiple=True,
    type=click.Choice(["1", "100", "1000"]),
    default=("1", "1000"),
    help="Topics, by their records a message.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0.5), default=12.0, show_default=True, help="About, of each run.")
@click.option("--json", "json_", is_flag=True, help="One JSON document as the last line of stdout.")
def main(names: tuple[str, ...], sizes: tuple[str, ...], rounds: int, seconds: float, json_: bool) -> None:
    """Measure; exit code 1 where the programs do not agree."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # a fresh broker makes its topics first
    chosen = [peer for peer in PROGRAMS if peer.program in (names or NAMES) and str(peer.per_message) in sizes]
    if not chosen:
        raise click.ClickException("none of these programs reads such a topic")
    try:
        benchmark = asyncio.run(run_all(chosen, rounds, seconds))
    except AutopilotError as error:
        raise click.ClickException(str(error)) from error
    rows = list(benchmark.rows.values())
    show(rows)
    if json_:
        print(json.dumps(document(rows)))


if __name__ == "__main__":
    main()
