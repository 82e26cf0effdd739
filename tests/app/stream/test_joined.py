"""Topics that are joined by time: what waits for what, and what waits for nobody."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import chain, repeat
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP
from hypothesis import example, given, settings
from hypothesis import strategies as st

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


def an_event(topic: str, first: int, times: Sequence[float]) -> Event:
    records = [Record(first + index, at_s, None, b"") for index, at_s in enumerate(times)]
    message = SimpleNamespace(
        tp=TP(topic, 0), offset=records[-1].offset, serialized_value_size=0, generation_id=1, value=records
    )
    return Event(message, records)


class Cell:
    """Some PoPs: one agent reads the flows of all, another their counters, as fetches bring them."""

    def __init__(self, times: Mapping[str, Sequence[float]]) -> None:
        self.applied: list[tuple[str, float]] = []
        self.times, self.joined = times, Joined(lambda topic: len(times[topic]))
        self.joined.begin({topic: Reach(0, 0, by_time=True) for topic in times})

    async def run(
        self, size: int, flows: Sequence[Sequence[str]] = (), counters: Sequence[Sequence[str]] = ()
    ) -> list[tuple[str, float]]:
        """Read it all; in each of the fetches of an agent, so many records at most of each topic come in this order."""
        app = SimpleNamespace(readers=[], inputs=None, joined=self.joined, consumer_generation_id=1, kafka=Kafka())
        jobs = []
        for kind, other, orders in (("flows", "counters", flows), ("counters", "flows", counters)):
            joins = {topic: [other + topic.removeprefix(kind)] for topic in self.times if topic.startswith(kind)}
            reading = Reading(
                kind, self._state(), list(joins), [cast(Any, Table([], lambda made: made.set_result(None)))],
                joined=joins, yields=kind == "flows",
            )  # fmt: skip
            reader = ExactReader(cast(Any, app), reading, StallFence(5.0, ManualClock()), pytest.fail)
            reader._incarnations = cast(Any, Unchanged(0, range(0)))
            reader._is_loaded = True
            jobs.append(asyncio.ensure_future(reader.run(Fetches(reader, self.times, size, [*orders, list(joins)]))))
        async with asyncio.timeout(PATIENCE_S):
            while len(self.applied) < sum(map(len, self.times.values())):
                await asyncio.sleep(0)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        return self.applied

    def _state(self) -> Sums:
        applied = self.applied

        class Noting(Sums):
            def apply(self, tp: TP, records: Sequence[Record]) -> None:
                applied.extend((tp.topic, record.timestamp_s) for record in records)

        return Noting([])


class Fetches:
    """A stream of what fetches in these orders bring, the last of them again and again, but for full partitions."""

    def __init__(
        self, reader: ExactReader, times: Mapping[str, Sequence[float]], size: int, orders: Sequence[Sequence[str]]
    ) -> None:
        self._reader, self._times, self._size, self._orders = reader, times, size, orders
        self._next = dict.fromkeys(times, 0)
        self.channel = SimpleNamespace(queue=SimpleNamespace(empty=lambda: False))

    def noack(self) -> "Fetches":
        return self

    async def ack(self, event: Event) -> bool:
        return True

    async def events(self) -> AsyncIterator[Event]:
        for order in chain(self._orders, repeat(self._orders[-1])):
            full = self._reader.full()
            for topic in order:
                first = self._next[topic]
                if TP(topic, 0) not in full and (times := self._times[topic][first : first + self._size]):
                    self._next[topic] += len(times)
                    yield an_event(topic, first, times)
            await asyncio.sleep(0)


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_backlog_is_applied_in_the_order_of_time_however_it_is_fetched(size: int) -> None:
    """One fetch brings the flows of an hour; at equal times the counters go first."""
    flows, counters = [float(at_s) for at_s in range(0, 60, 2)], [float(at_s) for at_s in range(0, 60, 3)]
    applied = await Cell({"flows": flows, "counters": counters}).run(size)
    assert applied == sorted([("flows", at_s) for at_s in flows] + [("counters", at_s) for at_s in counters], key=_time)


def _time(applied: tuple[str, float]) -> tuple[float, str]:
    topic, at_s = applied
    return at_s, topic


async def test_a_silent_topic_blocks_nobody() -> None:
    assert [at_s for _, at_s in await Cell({"flows": [5.0, 6.0], "counters": []}).run(1)] == [5.0, 6.0]


async def test_times_that_go_back_block_nobody() -> None:
    applied = await Cell({"flows": [5.0, 1.0, 9.0], "counters": [7.0, 2.0]}).run(3)
    assert len(applied) == 5


POPS = "abc"
TIMES = st.lists(st.floats(0, 100), max_size=12).map(sorted)


@given(
    st.fixed_dictionaries({f"{kind}-{pop}": TIMES for kind in ("flows", "counters") for pop in POPS}),
    *(st.lists(st.permutations([f"{kind}-{pop}" for pop in POPS]), max_size=6) for kind in ("flows", "counters")),
)
@example(
    {f"{kind}-{pop}": [0.0, 10.0, 20.0] for kind in ("flows", "counters") for pop in "ab"},
    [["flows-a"]],
    [["counters-b"]],
)
@example(
    {
        "flows-a": [*range(110, 130)],
        "flows-b": [*range(10, 30)],
        "counters-a": [*range(9, 29)],
        "counters-b": [*range(111, 131)],
    },
    [["flows-a"]] * 10,
    [["counters-b"]] * 10,
)
@settings(deadline=None)
def test_pops_of_a_cell_never_wait_for_each_other(
    times: Mapping[str, Sequence[float]], flows: Sequence[Sequence[str]], counters: Sequence[Sequence[str]]
) -> None:
    """However much of one PoP comes before the first of another; and each PoP keeps the order of its times."""
    cell = Cell(times)
    asyncio.run(cell.run(2, flows, counters))
    for pop in POPS:
        of_pop = [(at_s, topic) for topic, at_s in cell.applied if topic.endswith(pop)]
        assert [at_s for at_s, _ in of_pop] == sorted(at_s for at_s, _ in of_pop)
        assert of_pop == sorted(of_pop), "at equal times the counters go first"
