"""A world that can be killed between any two steps: a source, a disk, a changelog, a group's commit, an output topic.

The reader under test is the real one. What a kill leaves is what Kafka and RocksDB would: the disk has every row that
was put, the changelog those that were sent, in order, and the commit stands below the first event not acknowledged.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from faust.types import TP

from app.clock import Clock, ManualClock
from app.config.settings import Kafka
from app.stream.consumer import Record
from app.stream.exact import ExactReader, Reading
from app.stream.fence import StallFence
from app.stream.fetching import Hole
from app.stream.incarnations import Found, Incarnations, Inputs
from app.stream.joined import Joined
from tables.store import HEADER, Rows

SOURCE = TP("numbers", 0)
NUMBERS = (7, 11, 13, 17, 19, 23, 29)
BATCHES = ((0, 1), (2,), (3, 4), (5, 6))
KEYS = 2
PROGRESS = "progress"
SUM = "sum "


class Killed(BaseException):
    """SIGKILL: nothing that runs may catch it."""


class Ended(Exception):
    """The worker ended itself."""


def end(reason: str) -> None:
    raise Ended(reason)


class Row(msgspec.Struct):
    applied: int = -1
    total: int = 0


class World:
    """`kill_in` steps are left until SIGKILL; `refuse` is a row whose changelog record the broker does not take.

    `topic_id` is that of the source, which can be deleted and recreated; `committed_in` stands with the commit.
    The changelog has lost its records before `begin`, and the disk was made from those from `made_from` on.
    """

    def __init__(self) -> None:
        self.disk: dict[bytes, bytes] = {}
        self.changelog: list[tuple[bytes, bytes | None]] = []
        self.begin = self.made_from = 0
        self.published: set[int] = set()
        self.acked: set[int] = set()
        self.kill_in: int | None = None
        self.refuse: bytes | None = None
        self.topic_id = "first"
        self.committed_in = ""

    def step(self) -> None:
        if self.kill_in is not None:
            self.kill_in -= 1
            if self.kill_in < 0:
                raise Killed

    @property
    def committed(self) -> int:
        """Kafka's next offset: below it everything is acknowledged."""
        return next(offset for offset in range(len(NUMBERS) + 1) if offset not in self.acked)

    def recreate_source(self) -> None:
        """The same numbers, from offset 0 on; Kafka forgets what was committed."""
        self.topic_id = "second"
        self.acked.clear()

    def recover(self, wiped: bool) -> None:
        """What a start makes of it: the disk, or the changelog alone."""
        self.kill_in = None
        if wiped:
            self.disk, self.made_from = self.rows(), self.begin

    def rows(self) -> dict[bytes, bytes]:
        """What a recovery finds in the changelog: the last record of each row."""
        return {key: row for key, row in dict(self.changelog[self.begin :]).items() if row is not None}

    def totals(self) -> dict[str, int]:
        """What the changelog says."""
        return totals_of(self.rows())


def totals_of(rows: dict[bytes, bytes]) -> dict[str, int]:
    return {key.decode(): row_of(row).total for key, row in sorted(rows.items()) if key.startswith(SUM.encode())}


def row_of(value: bytes) -> Row:
    return msgspec.msgpack.decode(value[HEADER.size :], type=Row)


def key_of(offset: int) -> str:
    return f"{SUM}{offset % KEYS}"


class Table:
    """A table of one worker: rows are on the disk at once, their changelog records leave when they are awaited."""

    name = "numbers"

    def __init__(self, world: World) -> None:
        self._world = world
        self._pending: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, row: bytes) -> None:
        self._world.step()
        self._world.disk[key] = row
        self._pending.append((key, row))

    def send_only(self, key: bytes, row: bytes | None) -> None:
        self._world.step()
        self._pending.append((key, row))

    def store_only(self, key: bytes, row: bytes | None) -> None:
        self._world.step()
        if row is None:
            self._world.disk.pop(key, None)
        else:
            self._world.disk[key] = row

    def stored(self, key: bytes) -> bytes | None:
        return self.get(key)

    def get(self, key: bytes) -> bytes | None:
        return self._world.disk.get(key)

    def items(self) -> Any:
        return list(self._world.disk.items())

    def values(self) -> Any:
        return list(self._world.disk.values())

    def take_unanswered(self) -> list[Awaitable[None]]:
        pending, self._pending = self._pending, []
        return [self._send(*record) for record in pending]

    async def _send(self, key: bytes, row: bytes | None) -> None:
        self._world.step()
        if key == self._world.refuse:
            raise OSError("message too large")
        self._world.changelog.append((key, row))


class Sums:
    """Sums by key; every third record closes a window, which is published. A progress row says how far it all went."""

    def __init__(self, world: World, table: Table) -> None:
        self._world = world
        self.rows = Rows(cast(Any, table), Row, lambda row: row.applied)
        self.reset()

    def reset(self) -> None:
        self._memory: dict[str, Row] = {}
        self.dirty: set[str] = set()
        self._closed: list[int] = []
        self._progress = Row()

    def load(self) -> None:
        self.reset()
        self._memory = dict(self.rows.items(SUM))
        self._progress = self.rows.get(PROGRESS) or Row()

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        for record in records:
            self.apply_one(record)

    def apply_one(self, record: Record) -> None:
        key = key_of(record.offset)
        self.dirty.add(key)
        if record.position <= self._progress.applied:
            return
        self._progress.applied = record.position
        row = self._memory.setdefault(key, Row())
        if record.position > row.applied:
            row.applied = record.position
            row.total += int(record.value)
        if record.offset % 3 == 2:
            self._closed.append(record.position // 3)

    def skip(self, tp: TP, hole: Hole) -> None:
        self._progress.applied = max(self._progress.applied, hole.position)

    def write_rows(self) -> None:
        for key in sorted(self.dirty):
            if key in self._memory:
                self.rows.put(key, self._memory[key])
        self.dirty.clear()

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        closed, self._closed = self._closed, []

        def publish(window: int) -> Callable[[], Awaitable[Any]]:
            async def send() -> Awaitable[None]:
                self._world.step()
                self._world.published.add(window)
                return asyncio.sleep(0)

            return send

        return [publish(window) for window in closed]

    def write_progress(self) -> None:
        self.rows.put(PROGRESS, self._progress)

    def final_publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        return ()

    def checkpoint(self) -> dict[str, int]:
        return {SOURCE.topic: self._progress.applied}


class Stream:
    """The batches from the one with `first` on; `dropped` is an event that Faust lost at the end of its recovery."""

    def __init__(self, world: World, dropped: int | None = None, first: int = 0) -> None:
        self._world = world
        after = [batch for batch in BATCHES if batch[-1] >= first]
        self._left = [batch for index, batch in enumerate(after) if index != dropped]
        self.channel = SimpleNamespace(queue=SimpleNamespace(empty=lambda: True))

    def noack(self) -> "Stream":
        return self

    async def events(self) -> AsyncIterator[Any]:
        for batch in self._left:
            value = [Record(offset, 0.0, None, b"%d" % NUMBERS[offset]) for offset in batch]
            message = SimpleNamespace(tp=SOURCE, offset=batch[-1], serialized_value_size=0, generation_id=1)
            yield Event(message, value)

    async def ack(self, event: Any) -> bool:
        self._world.step()
        self._world.acked |= set(event.offsets)
        return True


class Event:
    """Weakly referable, as Faust's events are."""

    def __init__(self, message: Any, value: list[Record]) -> None:
        self.message, self.value, self.offsets = message, value, [record.offset for record in value]


def worker(
    world: World, reader: type[ExactReader] = ExactReader, state: type[Sums] = Sums, clock: Clock | None = None
) -> ExactReader:
    """A worker that has just recovered from what the world holds."""
    made = new_worker(world, reader, state, clock)
    load(world, made)
    return made


def new_worker(
    world: World, reader: type[ExactReader] = ExactReader, state: type[Sums] = Sums, clock: Clock | None = None
) -> ExactReader:
    """A worker that has not loaded its rows."""
    tables = [cast(Any, Table(world))]
    inputs, sums = incarnations(world, tables)._inputs, state(world, tables[0])
    joined = Joined(lambda topic: None)
    app = SimpleNamespace(readers=[], inputs=inputs, joined=joined, consumer_generation_id=1, kafka=Kafka())
    reading = Reading("sums", sums, [SOURCE.topic], tables, sums.checkpoint)
    return reader(cast(Any, app), reading, StallFence(5.0, clock or ManualClock(), end), end)


def load(world: World, made: ExactReader) -> None:
    """Load the rows, and read on from where they end."""
    made.load()
    inputs = made._app.inputs
    inputs.begins[SOURCE.topic] = min(world.committed, inputs.first[SOURCE.topic]), range(0)


def incarnations(world: World, tables: Sequence[Any]) -> Incarnations:
    """What the broker says of the source now, and will say when it is asked again."""

    async def ask(topic: str) -> Found:
        return Found(world.topic_id, world.committed_in)

    inputs = Inputs(ask)
    inputs.ids = {SOURCE.topic: world.topic_id}
    return Incarnations(inputs, [SOURCE.topic], tables)


async def live(world: World, dropped: int | None = None, **parts: Any) -> None:
    """One life of a worker: to the end of the source, to its kill or to its own end."""
    with suppress(Killed, Ended):
        made = worker(world, **parts)
        first = made._app.inputs.begins[SOURCE.topic][0]
        await made.run(Stream(world, dropped, first))
