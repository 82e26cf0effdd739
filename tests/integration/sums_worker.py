"""A worker for tests: sums numbers by key through the flush protocol. Run: python -m tests.integration.sums_worker."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import mode
import msgspec
from faust.types import TP

from app.clock import SystemClock
from app.config.http_settings import Http
from app.config.settings import Kafka, Settings
from app.stream.app import ExactApp
from app.stream.consumer import Record
from app.stream.exact import ExactReader, Reading
from app.stream.fence import StallFence, die
from app.stream.fetching import Hole
from app.stream.recovery import stop_flow_at_recovery
from app.stream.watchdog import Watchdog
from app.stream.worker import create_app, run, source
from app.web.state_server import StateServer
from tables.store import VERSION, ExactTable, Rows, open_table

APP_ID = "sums-worker"
SOURCE = "numbers"
KEYS = 20
SUM, PROGRESS = "sum ", "progress"


def key_of(number: int) -> str:
    return f"{SUM}{number % KEYS}"


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
        self._progress = Row()

    def load(self) -> None:
        self.reset()
        self._memory.update(self._rows.items(SUM))
        self._progress = self._rows.get(PROGRESS) or Row()

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        for record in records:
            self._add(record)

    def _add(self, record: Record) -> None:
        number = int(record.value)
        key = key_of(number)
        row = self._memory.setdefault(key, Row())
        if record.position > row.applied:
            row.total += number
            row.applied = record.position
        self._progress.applied = max(self._progress.applied, record.position)
        self._dirty.add(key)

    def skip(self, tp: TP, hole: Hole) -> None:
        self._progress.applied = max(self._progress.applied, hole.position)

    def checkpoint(self) -> Mapping[str, int]:
        return {SOURCE: self._progress.applied}

    def write_rows(self) -> None:
        for key in self._dirty:
            self._rows.put(key, self._memory[key])
        self._dirty.clear()

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        return []

    def write_progress(self) -> None:
        self._rows.put(PROGRESS, self._progress)

    def final_publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        return ()


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a worker differs from the usual one; the last argument, as JSON."""

    app_id: str = APP_ID
    kafka: dict[str, str] = {}  # keys of [kafka], for another listener than the plain one
    standby_replicas: int = 0
    session_timeout_s: float = 6.0
    patience_s: float = 60.0
    broker_request_timeout_s: float = 60.0
    state_port: int = 0  # 0 is none
    stuck_after: int = -1  # the agent takes no record beyond this offset, and does not say so
    unloadable: bool = False  # of another version than the rows that it finds
    slow_recovery: bool = False  # a step of it is not answered


class Stuck(ExactReader):
    """An agent that stops taking events, as consumers of Faust do after a while (F7)."""

    after: int

    async def _accept(self, event: Any) -> bool:
        return not 0 <= self.after < event.message.offset and await super()._accept(event)


def build(broker: str, data_dir: str, options: Options) -> tuple[ExactApp, list[mode.Service]]:
    reached: dict[str, Any] = {"broker": broker} | options.kafka
    kafka = Kafka(
        **reached,
        replication_factor=1,
        session_timeout_s=options.session_timeout_s,
        standby_replicas=options.standby_replicas,
    )
    app = create_app(options.app_id, Settings(pops=("none",), data_dir=data_dir, kafka=kafka))
    app.conf.broker_request_timeout = options.broker_request_timeout_s
    table: ExactTable = open_table(app, "sums")
    state = Sums(Rows(table, Row, lambda row: row.applied, version=VERSION + options.unloadable))
    clock = SystemClock()
    fence = StallFence(kafka.session_timeout_s / 2, clock)
    fence.start()
    reader = Stuck(app, Reading("sums", state, [SOURCE], [table], state.checkpoint), fence, die)
    reader.after = options.stuck_after
    stop_flow_at_recovery(app, table, reader.take_up)

    if options.slow_recovery:
        tables: Any = app.tables
        tables.recovery._build_highwaters = lambda *_: asyncio.sleep(3600)

    @app.agent(source(app, SOURCE), name="sums")
    async def sums(stream: Any) -> None:
        await reader.run(stream)

    watchdog = Watchdog(app, fence, clock, patience_s=options.patience_s, look_every_s=1.0)
    services: list[mode.Service] = [watchdog]
    if options.state_port:
        services.append(
            StateServer(
                {},
                Http(),
                options.state_port,
                "state_port",
                probes={"/healthz": watchdog.alive, "/readyz": watchdog.ready},
            )
        )
    return app, services


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    told = msgspec.json.decode(sys.argv[3] if len(sys.argv) > 3 else "{}", type=Options)
    app_, services_ = build(sys.argv[1], sys.argv[2], told)
    run(app_, *services_)
