"""Lives of a telemetry worker under the real protocol, each killed at some step; what they publish, by topic and id.

Flows and counters of a PoP are in two logs. Tables are on a disk at once and in their changelogs a step later.
"""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec
from faust.types import TP

from agents import counters, flows
from agents.counters import CountersState
from agents.decide import CycleInputs, PopDecider
from agents.flows import FlowsState, FlowTables, Publishers
from agents.sources import sources
from app.clock import ManualClock
from app.config.inventory import Pop
from app.config.settings import Kafka, Settings
from app.contract import topics
from app.contract.schemas import Sources
from app.simulation.broker import apply
from app.stream.consumer import Record
from app.stream.exact import ExactReader, Reading
from app.stream.fence import StallFence
from app.stream.final_rows import FinalRows
from app.stream.incarnations import Found, Inputs
from app.stream.joined import Joined, Reach
from app.stream.publish import Publisher
from app.te.routing.natural import NaturalRouting
from app.te.traffic.windows import ClosedWindow
from tables.congestion import CongestionTable
from tables.interfaces import InterfaceTable
from tables.link_windows import LinkWindowRow
from tables.store import ExactTable, Rows
from tests.agents.test_decide import SilentSource
from tests.cases import ports
from tests.pops import demo_pop
from tests.tables.memory import MemoryTable

CASE: ports.Case = {"windows": 3, "gbps": 60, "ports": [{"ifIndex": 101}]}
POP = "rhv1000"
Said = dict[tuple[str, str], set[bytes]]  # by topic and id
Log = dict[str, list[Record]]


class Killed(BaseException):
    """SIGKILL: no handler of an error runs."""


class Kill(NamedTuple):
    """After how many steps of a life; whether the disk is lost with it, and the share of which changelogs."""

    steps: int
    wiped: bool
    tails: Mapping[str, float] = {}


class World:
    """What outlives a process: the disk, the changelogs, the commits, and what was published."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.disk: dict[str, dict[bytes, bytes]] = defaultdict(dict)
        self.changelogs: dict[str, list[tuple[bytes, bytes | None]]] = defaultdict(list)
        self.committed: dict[str, int] = dict.fromkeys(log, 0)
        self.said: Said = defaultdict(set)
        self.steps = 0
        self.kill_at: int | None = None

    def step(self) -> None:
        """Something that others see is about to happen."""
        self.steps += 1
        self.check()

    def check(self) -> None:
        """End the process that was killed, in each of its tasks."""
        if self.kill_at is not None and self.steps > self.kill_at:
            raise Killed

    def recover(self, kill: Kill) -> None:
        """The next process finds the disk, or the changelogs alone; a disk ahead of its changelog is set aside."""
        for name, lost in kill.tails.items():
            del self.changelogs[name][int(len(self.changelogs[name]) * (1 - lost)) :]
        for name in self.changelogs if kill.wiped else kill.tails:
            self.disk[name] = _replayed(self.changelogs[name])


def _replayed(changelog: Sequence[tuple[bytes, bytes | None]]) -> dict[bytes, bytes]:
    rows: dict[bytes, bytes] = {}
    for key, row in changelog:
        apply(rows, key, row)
    return rows


class Table(MemoryTable):
    """A table of one process."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self._world, self._unanswered = world, list[tuple[bytes, bytes | None]]()
        self.update(world.disk[name])

    def put(self, key: bytes, row: bytes) -> None:
        self._world.step()
        self[key] = self._world.disk[self.name][key] = row
        self._unanswered.append((key, row))

    def __delitem__(self, key: bytes) -> None:
        self._world.step()
        self.pop(key, None)
        self._world.disk[self.name].pop(key, None)
        self._unanswered.append((key, None))

    def values(self) -> Any:
        return list(super().values())

    def take_unanswered(self) -> list[Awaitable[None]]:
        unanswered, self._unanswered = self._unanswered, []
        return [self._send(*record) for record in unanswered]

    async def _send(self, key: bytes, row: bytes | None) -> None:
        self._world.step()
        self._world.changelogs[self.name].append((key, row))


class Event:
    """Weakly referable, as Faust's events are."""

    def __init__(self, tp: TP, records: list[Record]) -> None:
        self.message = SimpleNamespace(
            tp=tp, offset=records[-1].offset, serialized_value_size=0, generation_id=1, value=records
        )
        self.value = records


class Stream:
    """One log from an offset on, in fetches of any size."""

    def __init__(self, world: World, topic: str, first: int, reader: ExactReader, cut: random.Random) -> None:
        self._world, self._tp, self._first, self._cut = world, TP(topic, 0), first, cut
        self._reader = reader
        self.channel = SimpleNamespace(queue=SimpleNamespace(empty=lambda: True))

    def noack(self) -> "Stream":
        return self

    async def events(self) -> AsyncIterator[Event]:
        log = self._world.log[self._tp.topic]
        while self._first < len(log) or self._reader._waiting.partitions():
            self._world.check()
            if self._first < len(log) and self._tp not in self._reader.full():
                records = log[self._first : self._first + self._cut.randint(1, 20)]
                self._first = records[-1].offset + 1
                yield Event(self._tp, records)
            await asyncio.sleep(0)

    async def ack(self, event: Event) -> bool:
        self._world.step()
        self._world.committed[self._tp.topic] = event.message.offset + 1
        return True


class Life:
    """One process, from its start to its end."""

    def __init__(self, world: World, cut: random.Random) -> None:
        self._world = world
        self._cut = cut
        self._readers: list[tuple[ExactReader, str]] = []
        self._app = SimpleNamespace(
            readers=[],
            inputs=Inputs(self._ask),
            joined=Joined(self._end),
            consumer_generation_id=1,
            topic=self._channel,
            kafka=Kafka(),
        )
        self._app.inputs.ids = dict.fromkeys(world.log, "the only one")
        pop = ports.with_link(demo_pop(), ports.LINK)
        clock, pops = ManualClock(ports.T0 + world.steps), {POP: pop}
        letters = Publisher(cast(Any, self._app))
        interfaces = InterfaceTable(self._table("interfaces"))
        self.counters = CountersState(pops, interfaces, letters)
        publishers = Publishers(letters, {POP: Publisher(cast(Any, self._app))})
        natural = NaturalRouting(pop, ports._rib(pop))

        def new_decider(pop: Pop) -> PopDecider:
            inputs = CycleInputs(self.counters.rates, self._sources, lambda *_: frozenset())
            settings = Settings(pops=("rhv1000.toml",), mode="auto")
            return PopDecider(pop, settings, natural, inputs, publishers.windows[POP], clock)

        tables = FlowTables(
            Rows(self._table("link_windows"), LinkWindowRow, lambda row: row.sums.applied),
            CongestionTable(self._table("congestion")),
            FinalRows(1e9, clock.monotonic_s),
            lambda topic: world.committed[topic],
        )
        windows = Settings(pops=("rhv1000.toml",)).windows
        state = FlowsState(pops, windows, tables, publishers, new_decider, lambda _: natural.table)
        self._read(counters.reading(self.counters, interfaces))
        self._read(flows.reading(state))

    async def run(self) -> None:
        """Read both logs to their ends."""
        begins = {}
        for reader, topic in self._readers:
            reader.load()
            first = min(self._world.committed[topic], self._app.inputs.first[topic])
            self._app.inputs.begins[topic] = first, range(0)
            begins[topic] = first
        self._app.joined.begin({topic: Reach(first, 0, by_time=True) for topic, first in begins.items()})
        streams = [Stream(self._world, topic, begins[topic], reader, self._cut) for reader, topic in self._readers]
        await asyncio.gather(*(reader.run(stream) for (reader, _), stream in zip(self._readers, streams, strict=True)))
        for reader, _ in self._readers:
            await reader._flush()

    def _table(self, name: str) -> ExactTable:
        return cast(ExactTable, Table(self._world, name))

    def _read(self, reading: Reading) -> None:
        reader = ExactReader(cast(Any, self._app), reading, StallFence(5.0, ManualClock()), self._failed)
        self._readers.append((reader, reading.topics[0]))

    def _failed(self, reason: str) -> None:
        raise AssertionError(reason)

    def _end(self, topic: str) -> int | None:
        return len(self._world.log[topic]) if topic in self._world.log else None

    async def _ask(self, topic: str) -> Found:
        return Found("the only one")

    def _channel(self, topic: str) -> Any:
        async def send(key: bytes, value: bytes) -> Awaitable[None]:
            self._world.step()
            self._world.said[topic, msgspec.json.decode(value).get("id", "")].add(value)
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            answer.set_result(None)
            return answer

        return SimpleNamespace(send=send)

    def _sources(self, pop: Pop, window: ClosedWindow) -> Sources:
        return sources(pop, window, SilentSource(), self.counters, SilentSource())


def recorded() -> Log:
    """What comes of the PoP, in the two logs."""
    log: Log = {topics.FLOWS.for_pop(POP): [], topics.COUNTERS.for_pop(POP): []}
    end_s = CASE["windows"] * ports.WINDOW_S + ports.CLOSED_AFTER_S
    for at_s, kind, values in sorted(ports._events(CASE, 3.0, end_s), key=lambda event: event[:2]):
        if kind == "counter":
            record = ports.TEMPLATE | {"timestamp": f"{ports.T0 + at_s:.6f}"} | values
            _append(log[topics.COUNTERS.for_pop(POP)], ports.T0 + at_s + 0.1, [record])
        else:
            marks = [{"event_type": kind, "writer_id": f"w/{at_s}"} for kind in ("purge_init", "purge_close")]
            parts: Sequence[Sequence[Mapping[str, object]]] = (marks[:1], list(ports._flows(CASE, at_s)), marks[1:])
            for index, part in enumerate(parts):
                _append(log[topics.FLOWS.for_pop(POP)], ports.T0 + at_s + 0.1 * index, part)
    return log


def _append(log: list[Record], at_s: float, lines: Sequence[Mapping[str, object]]) -> None:
    log.append(Record(len(log), at_s, None, b"\n".join(json.dumps(line).encode() for line in lines)))


async def said(log: Log, kills: Sequence[Kill], seed: int) -> tuple[Said, int]:
    """All that is published about windows over lives that end so, and one that does not; and how many steps it took."""
    world, cut = World(log), random.Random(seed)
    for kill in kills:
        world.kill_at = world.steps + kill.steps
        with suppress(Killed):
            await Life(world, cut).run()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        world.recover(kill)
    world.kill_at = None
    await Life(world, cut).run()
    decisions = topics.DECISIONS.for_pop(POP)
    return {key: values for key, values in world.said.items() if key[0] != decisions}, world.steps
