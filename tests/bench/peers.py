"""The other programs: each runs once over a part of a topic, alone on its core, and reports what it did."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from app.lab.daemons.machine import CHECKOUT, binary
from app.lab.daemons.runner import Program, Runner
from tests.bench.figures import Run

VENV = CHECKOUT / ".cache" / "bench-venv" / "bin" / "python"
STREAMS = CHECKOUT / ".cache" / "bench-kafka-streams"
JAVA_OPTIONS = ("-Xms1g", "-Xmx1g", "-XX:+UseSerialGC")  # one core: the other collectors have threads of their own
WITHIN_S = 600.0


class Peer(msgspec.Struct, frozen=True):
    """A program in one configuration. `rate` is about what it does, in records a second: the size of its part."""

    program: str
    per_message: int
    rate: float
    variant: str = ""

    @property
    def command(self) -> Sequence[str]:
        if self.program == "kafka_streams":
            jars = f"{STREAMS}/libs/*:{STREAMS}/bench-kafka-streams-1.jar"
            return binary("java"), *JAVA_OPTIONS, "-cp", jars, "bench.SumPerLink"
        python = sys.executable if self.program == "plain_faust" else VENV
        return str(python), "-m", f"tests.bench.{self.program}"


class Bench(msgspec.Struct, frozen=True):
    """Where everything runs."""

    broker: str
    run_dir: Path
    runner: Runner
    core: int  # of the measured program; the broker and we are on the others
    tls: Mapping[str, str] = {}  # `[kafka]` for those who come by TLS

    def pinned(self, *command: str) -> Sequence[str]:
        return "taskset", "--cpu-list", str(self.core), *command


class Report(msgspec.Struct):
    """What a peer prints (report.py)."""

    records: int
    seconds: float
    sums: dict[str, int]
    settings: dict[str, str | int | float]


async def run_peer(bench: Bench, peer: Peer, topic: str, records: int, run: str) -> Run:
    """Run it once, as consumer group `run`; DaemonError with the end of its log where it fails."""
    directory = bench.run_dir / run
    directory.mkdir()
    told = (bench.broker, topic, str(records), run, str(directory), peer.variant)
    # PYTHONPATH: the peers' environment has none of our packages, but report.py is one of them.
    program = Program(
        name=run, argv=bench.pinned(*peer.command, *filter(None, told)), env={"PYTHONPATH": str(CHECKOUT)}
    )
    await bench.runner.run(program, WITHIN_S)
    text = await asyncio.to_thread((bench.run_dir / f"{run}.log").read_text, errors="replace")
    (reported,) = (line for line in text.splitlines() if line.startswith('{"records"'))  # among lines of its log
    report = msgspec.json.decode(reported, type=Report)
    settings = report.settings | ({"java": " ".join(JAVA_OPTIONS)} if peer.program == "kafka_streams" else {})
    return Run(records=report.records, seconds=report.seconds, sums=report.sums, settings=settings)
