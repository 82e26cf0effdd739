"""Stands in for Faust and RocksDB under the real agents: streams with their faults, tables, the app."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from faust.types import TP

from app.config.settings import Kafka
from app.simulation.broker import Broker, Producer, apply
from app.simulation.loop import Died, Process
from app.stream.app import ExactApp, Reader, full
from app.stream.consumer import BEHIND_BYTES, Record
from app.stream.exact import ExactReader, Reading
from app.stream.fence import StallFence
from app.stream.incarnations import Found, Inputs
from app.stream.joined import Joined, Reach
from tables.store import ExactTable

SESSION_TIMEOUT_S = 10.0
BATCH_MAX = 40
COMMIT_S = (0.0, 1.0)
LOOK_S = 1.0
DROPS, REPEATS = 0.06, 0.03  # chances: per start of a stream, per batch
IN_FLIGHT = 0.6  # chance that a commit was on its way when a process died


class Disk:
    """The tables on one machine: rows, and how much of each changelog they include. It outlives its processes."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[bytes, bytes]] = {}
        self.persisted: dict[str, int] = {}

    def wipe(self) -> None:
        """Lose all rows, as when the disk breaks."""
        self.rows.clear()
        self.persisted.clear()

    def set_aside(self, table: str) -> None:
        """Lose the rows of a table, as a start does that does not believe them."""
        self.rows.pop(table, None)
        self.persisted.pop(table, None)


class SimulatedTable:
    """Behaves like an ExactTable: writes reach the disk at once and the changelog later, with answers to wait for."""

    def __init__(self, worker: "Worker", name: str) -> None:
        self.name = name
        self._worker, self._unanswered = worker, list[Any]()
        self._changelog = worker.broker.changelog(f"{worker.group}-{name}")
        self._disk = worker.disk
        if worker.disk.persisted.get(name, 0) > len(self._changelog.records):
            worker.disk.set_aside(name)  # the changelog lost its end
        self._rows = worker.disk.rows.setdefault(name, {})
        for key, row in self._changelog.records[worker.disk.persisted.get(name, 0) :]:
            apply(self._rows, key, row)
        worker.disk.persisted[name] = len(self._changelog.records)
        self.producer = worker.producer(self._land)

    def put(self, key: bytes, row: bytes) -> None:
        """Write a row; the changelog gets it a moment later."""
        self._write(key, row)

    def __delitem__(self, key: bytes) -> None:
        self._write(key, None)

    def get(self, key: bytes) -> bytes | None:
        """The row of this key; None if there is none."""
        return self._rows.get(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All (key, row), sorted by key."""
        return iter(sorted(self._rows.items()))

    def values(self) -> Iterator[bytes]:
        """All rows, in the order in which their keys were first written."""
        return iter(self._rows.values())

    def take_unanswered(self) -> list[Any]:
        """The answers of all writes since the last call, as futures."""
        unanswered, self._unanswered = self._unanswered, []
        return unanswered

    def _write(self, key: bytes, row: bytes | None) -> None:
        self._worker.process.write()
        self._set(key, row)
        self._unanswered.append(self.producer.send((key, row)))

    def _set(self, key: bytes, row: bytes | None) -> None:
        if row is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = row

    def _land(self, record: tuple[bytes, bytes | None]) -> None:
        if self._changelog.append(*record):
            self._worker.broker.on_landed(
                f"{self._worker.group}-{self.name}", record[0].decode(), record[1], not self._worker.process.ghost
            )
        if self._worker.process.alive and self._worker.process.world.rng.random() < 0.8:
            self._disk.persisted[self.name] = len(self._changelog.records)


GENERATION = 1  # of each group; a new process takes over the partitions of the one before


class BatchEvent:
    """An event with a batch of records; weakly referable, as Faust's events are."""

    def __init__(self, tp: TP, records: list[Record]) -> None:
        size_bytes = BEHIND_BYTES if len(records) == BATCH_MAX else 0
        self.message = SimpleNamespace(
            tp=tp, offset=records[-1].offset, serialized_value_size=size_bytes, generation_id=GENERATION
        )
        self.value = records


class Stream:
    """One topic for one group, read at least once from the committed offset, in batches of any size."""

    def __init__(self, worker: "Worker", topic: str) -> None:
        self._worker, self._tp = worker, TP(topic, 0)
        self._log = worker.broker.read(worker.process, topic, self._wake)
        committed = worker.broker.committed.setdefault((worker.group, topic), 0)
        self._position = min(committed, worker.inputs.first.get(topic, committed))
        worker.inputs.begins[topic] = self._position, range(0)
        leads = topic in worker.inputs.leading
        worker.reached[topic] = Reach(self._position, backlog=len(self._log) if leads else 0, by_time=not leads)
        worker.committed[self._tp] = self._position or None
        self._drop = worker.drops(self._position)
        self._repeat: BatchEvent | None = None
        self._waiting: Any = None
        self._acked, self._due = self._position, False
        self._is_noack = False
        worker.streams.append(self)
        self.channel = SimpleNamespace(queue=SimpleNamespace(empty=self._is_dry))

    def noack(self) -> "Stream":
        """This stream, but without acknowledging events automatically."""
        self._is_noack = True
        return self

    async def events(self) -> AsyncIterator[BatchEvent]:
        """Yield batches without end, acknowledging each unless `noack` was called."""
        while True:
            while self._tp in full(self._worker.readers):
                await self._worker.joined.moved()
            self._worker.process.check()
            if (event := self._next()) is None:
                self._waiting = self._worker.process.loop.create_future()
                await self._waiting
                continue
            yield event
            if not self._is_noack:
                await self.ack(event)

    async def ack(self, event: BatchEvent) -> bool:
        """Acknowledge an event; its offset is committed a moment later."""
        self._worker.process.check()
        self._acked = max(self._acked, event.message.offset + 1)
        if not self._due:
            self._due = True
            self._later()
        return True

    def _next(self) -> BatchEvent | None:
        if (repeat := self._repeat) is not None:
            self._repeat = None
            return repeat
        if not self._worker.broker.up or self._position >= len(self._log):
            return None
        rng = self._worker.process.world.rng
        records = self._log[self._position : self._position + rng.randint(1, BATCH_MAX)]
        self._position = records[-1].offset + 1
        followed = self._position < len(self._log)  # without a later record nobody could miss it
        records = [record for record in records if not (followed and record.offset == self._drop)]
        if not records:
            return self._next()
        event = BatchEvent(self._tp, records)
        self._repeat = BatchEvent(self._tp, records) if self._worker.repeats() else None
        return event

    def _is_dry(self) -> bool:
        return self._repeat is None and self._position >= len(self._log)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done() and self._worker.process.alive:
            self._waiting.set_result(None)

    def _later(self) -> None:
        self._worker.process.world.after(self._worker.process.world.rng.uniform(*COMMIT_S), self.commit)

    def crashed(self) -> None:
        """The process has ended; its last commit may still arrive."""
        if self._due and self._worker.broker.up and self._worker.process.world.rng.random() < IN_FLIGHT:
            self._worker.broker.commit(self._worker.process, self._worker.group, self._tp.topic, self._acked)

    def set_commit_to_end(self) -> None:
        """Commit, from outside, everything that is in the topic."""
        self._worker.broker.committed[self._worker.group, self._tp.topic] = len(self._log)

    def commit(self) -> None:
        """Commit what was acknowledged, now or as soon as the process and the broker can."""
        process, broker = self._worker.process, self._worker.broker
        if not process.alive or not self._due:
            return
        if process.frozen or not broker.up:
            self._later()
            return
        self._due = False
        if broker.commit(process, self._worker.group, self._tp.topic, self._acked):
            self._worker.committed[self._tp] = self._acked


class Worker:
    """One Faust process of a consumer group on one machine. If `flaky`, a start may drop or repeat single messages."""

    def __init__(self, process: Process, broker: Broker, group: str, disk: Disk, flaky: bool) -> None:
        self.process, self.broker, self.group, self.disk = process, broker, group, disk
        self.committed: dict[TP, int | None] = {}
        self.fence = StallFence(SESSION_TIMEOUT_S / 2, process.clock, self.end)
        self._flaky, self._producers = flaky, list[Producer]()
        self._channels: dict[str, Any] = {}
        self.streams: list[Stream] = []
        self.readers: list[Reader] = []
        self.wiped = False  # whether the disk is lost with the process
        self.inputs = Inputs(self._ask)
        self.reached: dict[str, Reach] = {}
        self.joined = Joined(self._end)
        self.joined.begin(self.reached)
        broker.owner[group] = process
        process.on_crash = self._crashed
        process.world.after(LOOK_S, self._look)

    @property
    def app(self) -> ExactApp:
        """A stand-in with everything that the product uses of a Faust app."""

        async def earliest_offsets(tp: TP) -> dict[TP, int]:
            return {tp: 0}

        async def commit() -> None:
            self.process.check()
            for stream in self.streams:
                stream.commit()

        consumer = SimpleNamespace(earliest_offsets=earliest_offsets, commit=commit, _committed_offset=self.committed)
        conf = SimpleNamespace(id=self.group)
        app = SimpleNamespace(
            consumer=consumer,
            consumer_generation_id=GENERATION,
            readers=self.readers,
            topic=self._channel,
            conf=conf,
            inputs=self.inputs,
            joined=self.joined,
            end=self._end,
            kafka=Kafka(session_timeout_s=SESSION_TIMEOUT_S),
        )
        return cast(ExactApp, app)

    def read(self, reading: Reading) -> None:
        """Run an agent on its topic, from what its tables hold. The topic is never recreated in a run."""
        [topic] = reading.topics
        self.inputs.ids = {**self.inputs.ids, topic: "the only one"}
        reader = ExactReader(self.app, reading, self.fence, self.end)
        reader.load()
        self.process.spawn(reader.run(Stream(self, topic)))

    def _end(self, topic: str) -> int | None:
        return len(self.broker.topics[topic]) if self.broker.up else None

    async def _ask(self, topic: str) -> Found:
        return Found(self.inputs.ids[topic])

    def table(self, name: str) -> ExactTable:
        """Open this group's table of that name and recover it from disk and changelog."""
        return cast(ExactTable, SimulatedTable(self, name))

    def producer(self, land: Callable[[Any], None]) -> Producer:
        """A new producer of this process; `land` is called with each record that arrives."""
        self._producers.append(Producer(self.process, self.broker, land))
        return self._producers[-1]

    def drops(self, first: int) -> int | None:
        """The offset of a single message, soon after `first`, that is to be lost; None for none."""
        rng = self.process.world.rng
        return first + rng.randrange(8) if self._flaky and rng.random() < DROPS else None

    def repeats(self) -> bool:
        """Whether to deliver the next batch twice."""
        return self._flaky and self.process.world.rng.random() < REPEATS

    def fail_a_record(self) -> None:
        """Make the broker refuse the next record to one destination."""
        self.process.world.rng.choice(self._producers).fail_next = True

    def end(self, reason: str) -> None:
        """End the process, as `die` does in production."""
        if not self.process.alive:
            raise Died
        self.process.die(reason)

    def _crashed(self) -> None:
        """The process has ended: some of what was on its way still arrives."""
        for producer in self._producers:
            producer.crashed()
        for stream in self.streams:
            stream.crashed()
        if self.wiped:
            self.disk.wipe()

    def _look(self) -> None:
        """Stand in for the fence's thread."""
        if self.process.alive:
            if not self.process.frozen:
                self.fence.check()
            self.process.world.after(LOOK_S, self._look)

    def _channel(self, topic: str) -> Any:
        if topic not in self._channels:
            producer = self.producer(lambda sent: self.broker.append(topic, sent[1], self.process, sent[0]))

            async def send(key: bytes, value: bytes) -> Awaitable[Any]:
                self.process.check()
                return cast(Awaitable[Any], producer.send((key, value)))

            self._channels[topic] = SimpleNamespace(send=send)
        return self._channels[topic]
