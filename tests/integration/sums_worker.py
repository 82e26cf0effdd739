"""A worker for tests: sums numbers by key through the flush protocol. Run: python -m tests.integration.sums_worker."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import faust
import msgspec
from faust.types import TP

from app.clock import SystemClock
from app.settings import Kafka, Settings
from app.stream.consumer import Record
from app.stream.exact import ExactReader
from app.stream.fence import StallFence, die
from app.stream.recovery import stop_flow_at_recovery
from app.stream.worker import create_app, run, source
from tables.store import ExactTable, Rows, open_table

APP_ID = "sums-worker"
SOURCE = "numbers"
KEYS = 20


class Row(msgspec.Struct):
    applied: int = -1
    total: int = 0


class Sums:
    """The smallest state that can be lost or doubled."""

    def __init__(self, rows: Rows[Row]) -> None:
        self._rows = rows
        self.reset()

    def reset(self) -> None:
        self._memory: dict[str, Row] = {}
        self._dirty: set[str] = set()

    def load(self) -> None:
        self.reset()
        self._memory.update(self._rows.items())

    def apply(self, tp: TP, record: Record) -> None:
        number = int(record.value)
        key = str(number % KEYS)
        row = self._memory.setdefault(key, Row())
        if record.offset > row.applied:
            row.total += number
            row.applied = record.offset
        self._dirty.add(key)

    def write_rows(self) -> None:
        for key in self._dirty:
            self._rows.put(key, self._memory[key])
        self._dirty.clear()

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        return []

    def write_progress(self) -> None:
        """The rows say all there is to say."""


def build(broker: str, data_dir: str) -> faust.App:
    kafka = Kafka(broker=broker, replication_factor=1, session_timeout_s=6)
    app = create_app(APP_ID, Settings(pops=("none",), data_dir=data_dir, kafka=kafka))
    table: ExactTable = open_table(app, "sums")
    state = Sums(Rows(table, Row, lambda row: row.applied))
    fence = StallFence(kafka.session_timeout_s / 2, SystemClock())
    fence.start()
    reader = ExactReader(app, state, [table], fence, die)
    stop_flow_at_recovery(app, table, state.load)

    @app.agent(source(app, SOURCE), name="sums")
    async def sums(stream: Any) -> None:
        await reader.run(stream)

    return app


if __name__ == "__main__":
    run(build(sys.argv[1], sys.argv[2]))
