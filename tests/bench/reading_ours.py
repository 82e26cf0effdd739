"""Our part of `tests.bench.reading`: a worker with our consumer and our exact reader, whose state only counts."""

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from faust.types import TP

from app.clock import SystemClock
from app.config.settings import Kafka, Settings
from app.stream.consumer import Record
from app.stream.exact import Reading
from app.stream.fence import StallFence
from app.stream.fetching import Hole
from app.stream.reading import attach_reader
from app.stream.worker import create_app, run
from tables.store import open_table
from tests.bench.meter import Meter
from tests.bench.report import Job

SESSION_S = 10.0


class Counting:
    """Counts, and ends the worker when all is there."""

    def __init__(self, messages: int) -> None:
        self._meter = Meter(messages)

    def reset(self) -> None:
        """There are no rows."""

    def load(self) -> None:
        """As above."""

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        if self._meter.add(len(records), sum([len(record.value) for record in records])):
            os.kill(os.getpid(), signal.SIGTERM)

    def skip(self, tp: TP, hole: Hole) -> None:
        """As above."""

    def write_rows(self) -> None:
        """As above."""

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        return ()

    def write_progress(self) -> None:
        """As above."""

    def final_publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        return ()


def main() -> None:
    job = Job.from_argv()
    kafka = Kafka(broker=job.broker, replication_factor=1, session_timeout_s=SESSION_S)
    app = create_app(job.group, Settings(pops=("none",), data_dir=job.directory, kafka=kafka))
    fence = StallFence(SESSION_S, SystemClock())
    attach_reader(app, Reading("counts", Counting(job.records), [job.topic], [open_table(app, "rows")]), fence)
    run(app)


if __name__ == "__main__":
    main()
