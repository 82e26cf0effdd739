"""The batches that stand for messages, where reading begins, and what is acknowledged."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.transport import consumer as theirs
from faust.transport.consumer import ThreadDelegateConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from app.stream import consumer
from app.stream.consumer import BEHIND_BYTES, BEHIND_WAIT_MS, WAIT_MS, BatchConsumer, ConsumerThread, Record
from app.stream.fetching import Fetched, Hole
from app.stream.incarnations import Inputs
from app.stream.joined import Joined

RECORDS = [Record(4, 1.5, b"k", b"a"), Record(5, 2.5, b"k", b"")]
FETCHED = [Fetched(RECORDS, 200)]


def test_a_source_batch_is_one_message_with_the_last_offset() -> None:
    consumer = Fetching(lambda consumer: None)
    (message,) = consumer._messages(SOURCE, FETCHED)
    assert (message.tp, message.topic, message.partition, message.offset) == (SOURCE, "flows", 0, 5)
    assert (message.timestamp, message.generation_id) == (2.5, 1)
    value: Any = message.value
    assert value is RECORDS


def test_a_hole_is_a_message_with_its_last_offset() -> None:
    consumer, hole = Fetching(lambda consumer: None), Hole(6, 9, 3.5)
    batch, message = consumer._messages(SOURCE, [*FETCHED, hole])
    value: Any = message.value
    assert (batch.offset, message.offset, message.timestamp, value) == (5, 8, 3.5, hole)


def test_changelogs_stay_single_and_nothing_stays_nothing() -> None:
    consumer = Fetching(lambda consumer: None)
    raw = [SimpleNamespace(offset=offset, value=b"row") for offset in (4, 5)]
    assert [message.offset for message in consumer._messages(SOURCE, raw)] == [4, 5]
    assert consumer._messages(SOURCE, []) == []


class Bookkeeping(BatchConsumer):
    """What a consumer knows of acknowledgements, and nothing else."""

    def __init__(self) -> None:
        self._acked = defaultdict(list)
        self._acked_index = defaultdict(set)
        self._gap = defaultdict(vars(theirs)["IntervalTree"])
        self._committed_offset = defaultdict(lambda: None)

    async def came(self, offset: int, after: int) -> None:
        """A batch with this last offset came after that one."""
        await self._add_gap(SOURCE, after + 1, offset)

    def done(self, *offsets: int) -> None:
        self._acked[SOURCE] += offsets
        self._acked_index[SOURCE].update(offsets)


SOURCE = TP("flows", 0)


async def test_f03_all_batches_that_were_acknowledged_are_committed_at_once() -> None:
    """Not one a second, which let the commits fall behind for ever under load."""
    consumer = Bookkeeping()
    consumer.done(9)
    for last in (19, 29, 39):
        await consumer.came(last, after=last - 10)
    assert consumer._new_offset(SOURCE) == 10
    consumer.done(19, 29, 39)
    assert consumer._new_offset(SOURCE) == 40


async def test_f02_a_commit_does_not_pass_a_batch_in_flight() -> None:
    consumer = Bookkeeping()
    consumer._committed_offset[SOURCE] = 10
    for last in (19, 29):
        await consumer.came(last, after=last - 10)
    consumer.done(29)
    assert consumer._new_offset(SOURCE) == 19, "19 is the first one in flight"


def test_f02_single_messages_in_flight_are_passed_so_acknowledge_in_order() -> None:
    """The defect that stays: the reason why a reader acknowledges in the order of the offsets (test_exact.py)."""
    consumer = Bookkeeping()
    consumer._committed_offset[SOURCE] = 2585
    consumer.done(2586, 2587, 2588, 2589)
    assert consumer._new_offset(SOURCE) == 2590


class Fetching(BatchConsumer):
    """A consumer whose fetch is given; `flow_active` and the group's generation may change while it lasts."""

    def __init__(self, meanwhile: Callable[["Fetching"], None]) -> None:
        self.app = cast(Any, SimpleNamespace(consumer_generation_id=1, readers=[]))
        self.flow_active = True
        self.not_waiting_next_records = cast(Any, asyncio.Event())
        self.not_waiting_next_records.set()
        self._buffered_partitions = set()
        self._stopped = self._crashed = cast(Any, asyncio.Event())
        self.sought = 0
        self.waits_ms: list[int] = []
        self._thread = cast(Any, SimpleNamespace(fetch_for=self.waits_ms.append))
        self._meanwhile = meanwhile
        self.raw: list[Any] = FETCHED

    async def _wait_next_records(self, timeout: float) -> Any:
        self._meanwhile(self)
        return {SOURCE: self.raw} if self.raw else None, None

    def _to_message(self, tp: TP, record: Any) -> Any:
        return SimpleNamespace(offset=record.offset)

    async def perform_seek(self) -> None:
        self.sought += 1


async def yielded(consumer: BatchConsumer) -> list[int]:
    return [message.offset async for _, message in consumer.getmany(1.0)]


async def test_a_fetch_is_yielded() -> None:
    consumer = Fetching(lambda consumer: None)
    assert (await yielded(consumer), consumer.sought) == ([5], 0)


async def test_who_is_behind_asks_again_at_once() -> None:
    """Faust's 1.5 s of a fetch without the partition that was just fetched are a standstill for it."""
    consumer = Fetching(lambda consumer: None)
    await yielded(consumer)
    consumer.raw = [Fetched(RECORDS, BEHIND_BYTES)]
    await yielded(consumer)
    consumer.raw = [SimpleNamespace(offset=6, value=b"x" * (BEHIND_BYTES // 2))] * 2  # of a changelog
    await yielded(consumer)
    consumer.raw = []
    await yielded(consumer)
    assert consumer.waits_ms == [WAIT_MS, BEHIND_WAIT_MS, BEHIND_WAIT_MS, WAIT_MS]


@pytest.mark.parametrize("theirs_checks", [False, True])
async def test_the_thread_checks_answers_and_gathers_records_of_sources(
    theirs_checks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the start of its consumer on, and not those of changelogs; answers only where aiokafka does not check."""
    fetcher, client, coordinator, told = object(), object(), object(), []
    checked, watched = list[object](), list[object]()

    async def started(self: Any) -> None:
        self._consumer = SimpleNamespace(
            _fetcher=fetcher, _client=client, _coordinator=coordinator, _check_crcs=theirs_checks
        )

    monkeypatch.setattr(AIOKafkaConsumerThread, "on_start", started)
    monkeypatch.setattr(consumer, "gather_records", lambda *given: told.append(given))
    monkeypatch.setattr(consumer, "check_answers", checked.append)
    thread = ConsumerThread.__new__(ConsumerThread)
    thread.consumer = cast(Any, SimpleNamespace(_is_changelog_tp=lambda tp: tp != SOURCE))
    thread.app = cast(Any, SimpleNamespace(membership=SimpleNamespace(watch=watched.append)))
    await thread.on_start()
    assert watched == [coordinator], "its heartbeats say whether this worker may write"
    ((given, is_source),) = told
    assert (given, checked) == (fetcher, [] if theirs_checks else [client])
    assert (is_source(SOURCE), is_source(TP("rows-changelog", 0))) == (True, False)


async def test_what_is_fetched_while_the_flow_stops_is_sought_again() -> None:
    """Else the next batch begins behind a hole: a worker ended when a standby joined."""
    consumer = Fetching(lambda consumer: setattr(consumer, "flow_active", False))
    assert (await yielded(consumer), consumer.sought) == ([], 1)


async def test_what_an_earlier_generation_fetched_is_not_yielded() -> None:
    consumer = Fetching(lambda consumer: setattr(consumer.app, "consumer_generation_id", 2))
    assert (await yielded(consumer), consumer.sought) == ([], 0)


class Sought(BatchConsumer):
    """A consumer of four topics, which notes where it seeks; what retention left begins at `earliest`.

    The rows of the first are complete up to 42, those of the second to the end; nobody has rows of the third. The last
    is a changelog.
    """

    BEHIND, WHOLE, NEW, CHANGELOG = (TP(topic, 0) for topic in ("behind", "whole", "new", "changelog"))

    def __init__(self, earliest: int) -> None:
        self.sought: dict[TP, int] = {}
        self.inputs, self.joined = Inputs(cast(Any, None)), Joined(lambda topic: 75)
        self.inputs.first = {"behind": 42, "whole": 71}
        self.app = cast(Any, SimpleNamespace(inputs=self.inputs, joined=self.joined))
        self._earliest = earliest

    def _is_changelog_tp(self, tp: TP) -> bool:
        return tp == self.CHANGELOG

    async def seek(self, partition: TP, offset: int) -> None:
        self.sought[partition] = offset

    async def earliest_offsets(self, *partitions: TP) -> dict[TP, int]:
        assert self.CHANGELOG not in partitions
        return dict.fromkeys(partitions, self._earliest)

    async def highwaters(self, *partitions: TP) -> dict[TP, int]:
        return dict.fromkeys(partitions, 75)


def commits(monkeypatch: pytest.MonkeyPatch, **offsets: int | None) -> dict[TP, int | None]:
    """Let the group have committed these offsets, by topic."""
    by_tp = {TP(topic, 0): offset for topic, offset in offsets.items()}

    async def committed(self: Any) -> dict[TP, int | None]:
        return by_tp

    monkeypatch.setattr(ThreadDelegateConsumer, "seek_to_committed", committed)
    return by_tp


@pytest.mark.parametrize(("earliest", "first", "missing"), [(0, 42, range(0)), (50, 50, range(42, 50))])
async def test_what_rows_lack_is_read_again_though_it_was_committed(
    earliest: int, first: int, missing: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both of Faust's seeks end here: where the flow stops, and at the end of a recovery."""
    before = commits(monkeypatch, behind=70, whole=70, new=70, changelog=None)
    consumer = Sought(earliest)
    assert await consumer.seek_to_committed() == before | {Sought.BEHIND: first}
    assert consumer.sought == {Sought.BEHIND: first}
    assert consumer.inputs.begins["behind"] == (first, missing)
    assert consumer.inputs.begins["whole"] == (70, range(0)), "what is in the rows is read again, and written again"


@pytest.mark.parametrize("offset", [None, 0])
async def test_without_a_commit_reading_begins_at_the_beginning(
    offset: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust does not seek, so that what was fetched since the assignment was lost: seen with two first starts."""
    commits(monkeypatch, behind=offset, new=offset, changelog=None)
    consumer = Sought(earliest=7)
    assert await consumer.seek_to_committed() == {Sought.BEHIND: 7, Sought.NEW: 7, Sought.CHANGELOG: None}
    assert consumer.sought == {Sought.BEHIND: 7, Sought.NEW: 7}
    assert consumer.inputs.begins["new"] == (7, range(0)), "who never read it misses nothing"


async def test_the_backlog_of_a_leading_topic_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    commits(monkeypatch, behind=70, whole=70, new=70)
    consumer = Sought(earliest=0)
    consumer.inputs.leading = {"behind"}
    await consumer.seek_to_committed()
    assert consumer.joined.until_s(["behind"]) == -inf
    consumer.joined.reached("behind", 75, 1.0)
    assert consumer.joined.until_s(["behind"]) == inf
    assert consumer.joined.until_s(["new"]) == -inf, "the others are joined by time, and nothing was read yet"


async def test_stopping_the_flow_waits_for_a_fetch_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust's own never waits: it sets the event both before and after the fetch."""
    fetched = asyncio.Event()

    async def slow(*_: Any) -> dict[TP, Any]:
        await fetched.wait()
        return {}

    monkeypatch.setattr(ThreadDelegateConsumer, "_getmany", slow)
    consumer = Fetching(lambda consumer: None)
    fetching = asyncio.ensure_future(consumer._getmany({SOURCE}, 1.0))
    await asyncio.sleep(0)
    stopping = asyncio.ensure_future(consumer.wait_for_stopped_flow())
    await asyncio.sleep(0)
    assert not stopping.done()
    fetched.set()
    await asyncio.gather(fetching, stopping)


async def test_full_partitions_are_not_fetched_and_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[TP]] = []

    async def note(_: Any, partitions: set[TP], timeout: float) -> dict[TP, Any]:
        asked.append(partitions)
        return {}

    monkeypatch.setattr(ThreadDelegateConsumer, "_getmany", note)
    consumer, other, full = Fetching(lambda consumer: None), TP("counters", 0), set[TP]()
    cast(Any, consumer.app).readers.append(SimpleNamespace(full=lambda: full))
    await consumer._getmany({SOURCE, other}, 0.0)
    full.add(SOURCE)
    await consumer._getmany({SOURCE, other}, 0.0)
    full.add(other)
    assert await consumer._getmany({SOURCE, other}, 0.0) == {}
    assert asked == [{SOURCE, other}, {other}], "aiokafka would fetch all if it was asked for none"
