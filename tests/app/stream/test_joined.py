"""Topics that are joined by time: what waits for what, and what waits for nobody."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from app.clock import ManualClock
from app.config.settings import Kafka
from app.stream.consumer import Record
from app.stream.exact import ExactReader, Reading
from app.stream.fence import StallFence
from app.stream.joined import Joined, Reach
from tests.app.stream.test_exact import Event, Sums, Table, Unchanged
from tests.patience import PATIENCE_S


def joined(ends: dict[str, int | None], **reached: Reach) -> Joined:
    made = Joined(ends.get)
    made.begin(reached)
    return made


def test_a_topic_that_was_read_to_its_end_is_waited_for_by_nobody() -> None:
    made = joined({"counters": 5}, counters=Reach(5, 0, by_time=True))
    assert made.until_s(["counters"]) == inf


def test_nobody_passes_a_topic_whose_end_is_not_known_yet() -> None:
    made = joined({"counters": None}, counters=Reach(5, 0, by_time=True))
    assert made.until_s(["counters"]) == -inf


def test_others_may_go_as_far_as_the_next_record() -> None:
    made = joined({"counters": 9}, counters=Reach(5, 0, by_time=True))
    made.hold("counters", 5, 100.0, ["flows"])
    assert made.until_s(["counters"]) == 100.0
    made.reached("counters", 6, 100.0)
    assert made.until_s(["counters"]) == 100.0, "what comes next is not known, but it is not before"


def test_a_leading_topic_is_waited_for_until_its_backlog_is_read() -> None:
    made = joined({"bmp": 90}, bmp=Reach(5, 50, by_time=False))
    made.reached("bmp", 49, 100.0)
    assert made.until_s(["bmp"]) == -inf
    made.reached("bmp", 50, 100.0)
    assert made.until_s(["bmp"]) == inf


def test_who_waits_goes_on_as_long_as_that_is_read_which_it_waits_for() -> None:
    """Counters wait for flows, and these for routes; nobody waits for routes after their backlog."""
    counters, flows = Reach(7, 0, by_time=True), Reach(3, 0, by_time=True)
    made = joined({"flows": 9}, bmp=Reach(5, 50, by_time=False), flows=flows, counters=counters)
    assert made.waiting() == {}
    made.hold("flows", 4, 100.0, ["bmp", "counters"])
    made.hold("counters", 7, 200.0, ["flows"])
    assert made.waiting() == {"flows": (3, 4 + 5), "counters": (7, 7 + 4 + 5)}
    made.reached("bmp", 50, 100.0)
    made.reached("bmp", 51, 101.0)
    assert made.waiting() == {"flows": (3, 4), "counters": (7, 7 + 4)}, "what goes on beside a stall is no progress"
    made.hold("flows", 5, 101.0, ["bmp", "counters"])
    assert made.waiting()["counters"] == (7, 7 + 5)
    made.reached("flows", 6, 102.0)
    made.reached("counters", 8, 200.0)
    assert made.waiting() == {}


def test_a_topic_that_is_not_read_here_is_not_waited_for() -> None:
    assert joined({}).until_s(["counters"]) == inf


class World:
    """Flows and counters, each with the times of its records, in events of some records each."""

    def __init__(self, flows: Sequence[float], counters: Sequence[float]) -> None:
        self.log: list[tuple[str, float]] = []
        self.times = {"flows": flows, "counters": counters}
        self.joined = Joined(lambda topic: len(self.times[topic]))
        self.app = SimpleNamespace(readers=[], inputs=None, joined=self.joined, consumer_generation_id=1, kafka=Kafka())
        self.joined.begin({topic: Reach(0, 0, by_time=True) for topic in self.times})

    def reader(self, topic: str, other: str, yields: bool) -> ExactReader:
        applied = self.log

        class Noting(Sums):
            def apply(self, tp: TP, records: Sequence[Record]) -> None:
                applied.extend((tp.topic, record.timestamp_s) for record in records)

        table = cast(Any, Table([], lambda future: future.set_result(None)))
        reading = Reading(topic, Noting([]), [topic], [table], joined={topic: [other]}, yields=yields)
        made = ExactReader(cast(Any, self.app), reading, StallFence(5.0, ManualClock()), pytest.fail)
        made._incarnations = cast(Any, Unchanged(0, range(0)))
        made._is_loaded = True
        return made

    async def read(self, reader: ExactReader, topic: str, size: int) -> None:
        times = self.times[topic]
        for first in range(0, len(times), size):
            records = [Record(first + i, at_s, None, b"") for i, at_s in enumerate(times[first : first + size])]
            message = SimpleNamespace(
                tp=TP(topic, 0), offset=records[-1].offset, serialized_value_size=0, generation_id=1
            )
            event = Event(message, records)
            while not await reader._accept(event):
                await self.app.joined.moved()

    async def run(self, size: int) -> list[tuple[str, float]]:
        flows, counters = self.reader("flows", "counters", True), self.reader("counters", "flows", False)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(self.read(flows, "flows", size), self.read(counters, "counters", size))
        return self.log


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_backlog_is_applied_in_the_order_of_time_however_it_is_fetched(size: int) -> None:
    """One fetch brings the flows of an hour; at equal times the counters go first."""
    flows, counters = [float(at_s) for at_s in range(0, 60, 2)], [float(at_s) for at_s in range(0, 60, 3)]
    applied = await World(flows, counters).run(size)
    assert applied == sorted([("flows", at_s) for at_s in flows] + [("counters", at_s) for at_s in counters], key=_time)


def _time(applied: tuple[str, float]) -> tuple[float, str]:
    topic, at_s = applied
    return at_s, topic


async def test_a_silent_topic_blocks_nobody() -> None:
    assert [at_s for _, at_s in await World([5.0, 6.0], []).run(1)] == [5.0, 6.0]


async def test_times_that_go_back_block_nobody() -> None:
    applied = await World([5.0, 1.0, 9.0], [7.0, 2.0]).run(3)
    assert len(applied) == 5


class Given:
    """A stream of these events, in this order, and then nothing more."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self.channel = SimpleNamespace(queue=SimpleNamespace(empty=lambda: False))

    def noack(self) -> "Given":
        return self

    async def ack(self, event: Event) -> bool:
        return True

    async def events(self) -> AsyncIterator[Event]:
        for event in self._events:
            yield event
        await asyncio.Event().wait()


async def test_pops_of_a_cell_do_not_wait_for_each_other() -> None:
    """One agent reads the flows of all PoPs, another their counters, and a fetch brings them in any order."""
    log: list[tuple[str, float]] = []

    class Noting(Sums):
        def apply(self, tp: TP, records: Sequence[Record]) -> None:
            log.extend((tp.topic, record.timestamp_s) for record in records)

    def event(topic: str) -> Event:
        records = [Record(offset, 10.0 * offset + topic.startswith("flows"), None, b"") for offset in range(3)]
        message = SimpleNamespace(tp=TP(topic, 0), offset=2, serialized_value_size=0, generation_id=1)
        return Event(message, records)

    pops, is_joined = ("a", "b"), Joined(lambda topic: 3)
    app = SimpleNamespace(readers=[], inputs=None, joined=is_joined, consumer_generation_id=1, kafka=Kafka())
    is_joined.begin({f"{kind}-{pop}": Reach(0, 0, by_time=True) for kind in ("flows", "counters") for pop in pops})
    jobs = []
    for kind, other, order in (("flows", "counters", "ab"), ("counters", "flows", "ba")):
        names = [f"{kind}-{pop}" for pop in pops]
        joins = {f"{kind}-{pop}": [f"{other}-{pop}"] for pop in pops}
        table = cast(Any, Table([], lambda future: future.set_result(None)))
        reading = Reading(kind, Noting([]), names, [table], joined=joins, yields=kind == "flows")
        made = ExactReader(cast(Any, app), reading, StallFence(5.0, ManualClock()), pytest.fail)
        made._incarnations = cast(Any, Unchanged(0, range(0)))
        made._is_loaded = True
        jobs.append(asyncio.ensure_future(made.run(Given([event(f"{kind}-{pop}") for pop in order]))))
    async with asyncio.timeout(PATIENCE_S):
        while len(log) < 12:
            await asyncio.sleep(0)
    for job in jobs:
        job.cancel()
    for pop in pops:
        of_pop = [(topic, at_s) for topic, at_s in log if topic.endswith(pop)]
        assert of_pop == sorted(of_pop, key=lambda applied: applied[1])
