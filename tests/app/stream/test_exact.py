"""The flush protocol, step by step: what is applied, written, awaited and acknowledged, and in which order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from app.clock import ManualClock
from app.stream import exact
from app.stream.app import forget_together
from app.stream.consumer import BEHIND_BYTES, Record
from app.stream.exact import ExactReader, Reading
from app.stream.fence import StallFence
from app.stream.fetching import Hole
from tests.patience import PATIENCE_S

SOURCE = TP("flows", 0)


class Ended(Exception):
    """The process would have ended here."""


class Stream:
    """Batches of offsets as a stream without acks; `log` records what happens in which order."""

    def __init__(self, log: list[str], batches: Sequence[Sequence[int] | Hole], size_bytes: int = 0) -> None:
        self.log = log
        self.size_bytes = size_bytes
        self.left = list(batches)
        self.channel = SimpleNamespace(queue=SimpleNamespace(empty=lambda: not self.left))

    def noack(self) -> "Stream":
        return self

    async def events(self) -> AsyncIterator[Any]:
        while self.left:
            yield batch(self.left.pop(0), self.size_bytes)

    async def ack(self, event: Any) -> bool:
        self.log.append(f"ack {event.message.offset}")
        return True


class Event:
    """Weakly referable, as Faust's events are."""

    def __init__(self, message: Any, value: list[Record] | Hole) -> None:
        self.message, self.value = message, value


def batch(offsets: Sequence[int] | Hole, size_bytes: int = 0) -> Event:
    if isinstance(offsets, Hole):
        last = offsets.next_offset - 1
        message = SimpleNamespace(tp=SOURCE, offset=last, serialized_value_size=0, generation_id=1)
        return Event(message, offsets)
    message = SimpleNamespace(tp=SOURCE, offset=offsets[-1], serialized_value_size=size_bytes, generation_id=1)
    return Event(message, [Record(offset, 0.0, None, b"") for offset in offsets])


class Sums:
    """A state that only says what is asked of it."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def reset(self) -> None:
        self.log.append("reset")

    def load(self) -> None:
        self.log.append("load")

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        self.log.extend(f"apply {record.offset}" for record in records)

    def skip(self, tp: TP, hole: Hole) -> None:
        self.log.append(f"skip to {hole.position}")

    def write_rows(self) -> None:
        self.log.append("rows")

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        async def send() -> asyncio.Future[None]:
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            answer.set_result(None)
            self.log.append("publish")
            return answer

        return [send]

    def write_progress(self) -> None:
        self.log.append("progress")


class Table:
    """The changelog side of a table: `answer` settles each record."""

    def __init__(self, log: list[str], answer: Callable[[asyncio.Future[None]], None]) -> None:
        self.log, self.answer = log, answer

    def take_unanswered(self) -> list[asyncio.Future[None]]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answer(future)
        self.log.append("changelog")
        return [future]


class Unchanged:
    """Incarnations of a topic that is never recreated."""

    def load(self) -> None:
        pass

    def write(self) -> bool:
        return False

    def base(self, topic: str) -> int:
        return 0

    def set_checkpoints(self, positions: Mapping[str, int]) -> None:
        self.firsts = {topic: position + 1 for topic, position in positions.items()}

    def first(self, topic: str, committed: int) -> int:
        return min(committed, self.firsts.get(topic, committed))

    async def verify(self, topic: str) -> None:
        pass

    async def wait_for_backlogs(self) -> None:
        pass

    def reached(self, topic: str, offset: int) -> None:
        pass


def reader(
    log: list[str],
    committed: int | None = 0,
    answer: Callable[[asyncio.Future[None]], None] = lambda f: f.set_result(None),
    earliest: int = 0,
    checkpoint: Callable[[], Mapping[str, int]] = dict,
    write_premises: Callable[[], bool] = bool,
) -> ExactReader:
    """A reader that has recovered."""

    async def earliest_offsets(tp: TP) -> dict[TP, int]:
        return {tp: earliest}

    async def commit() -> None:
        log.append("commit")

    consumer = SimpleNamespace(earliest_offsets=earliest_offsets, _committed_offset={SOURCE: committed}, commit=commit)
    app = cast(Any, SimpleNamespace(consumer=consumer, readers=[], inputs=None, consumer_generation_id=1))

    def end(reason: str) -> None:
        log.append(f"end: {reason}")
        raise Ended(reason)

    fence = StallFence(5.0, ManualClock(), end)
    reading = Reading("sums", Sums(log), [SOURCE.topic], [cast(Any, Table(log, answer))], checkpoint, write_premises)
    made = ExactReader(app, reading, fence, end)
    made._incarnations = cast(Any, Unchanged())
    made._is_loaded = True
    return made


async def test_rows_then_publications_then_progress_then_acks_in_order() -> None:
    log: list[str] = []
    await reader(log).run(Stream(log, [[0, 1], [2]]))
    assert log == [
        *("apply 0", "apply 1", "apply 2"),
        *("rows", "changelog", "publish", "progress", "changelog"),
        *("ack 1", "ack 2"),
    ]


async def test_what_was_taken_is_not_held_until_it_is_acknowledged() -> None:
    log: list[str] = []
    held: list[Any] = []
    stream = Stream(log, [[0, 1], [2]])

    async def ack(event: Any) -> bool:
        held.append(event.value)
        return True

    with patched(stream, "ack", ack):
        await reader(log).run(stream)
    assert held == [None, None]


async def test_a_repeat_is_not_applied_but_acknowledged_with_its_batch() -> None:
    log: list[str] = []
    await reader(log).run(Stream(log, [[0, 1], [1], [2]]))
    assert [line for line in log if line.startswith("apply")] == ["apply 0", "apply 1", "apply 2"]
    assert log[-3:] == ["ack 1", "ack 1", "ack 2"]


async def test_a_repeat_within_a_batch_is_dropped() -> None:
    log: list[str] = []
    await reader(log).run(Stream(log, [[0, 1, 1, 0, 2]]))
    assert [line for line in log if line.startswith("apply")] == ["apply 0", "apply 1", "apply 2"]


@pytest.mark.parametrize("batches", [[[0], [2]], [[0, 2]], [[1]], [[0, 1, 1, 3]]])
async def test_a_hole_is_never_passed(batches: list[list[int]]) -> None:
    """[[1]]: the very first message was dropped, which only the committed offset tells. The last: beside a repeat."""
    log: list[str] = []
    with pytest.raises(Ended, match="was due"):
        await reader(log).run(Stream(log, batches))
    assert not [line for line in log if line.startswith("ack")]


async def test_a_rebalance_waits_for_rows_that_are_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the thread would go on to fill a memory that was reset."""
    log: list[str] = []
    exact_reader = reader(log)
    revoked = list[asyncio.Future[None]]()

    async def begun(load: Callable[[], None]) -> None:
        revoked.append(asyncio.ensure_future(forget_together([exact_reader])))
        await asyncio.sleep(0)
        load()

    monkeypatch.setattr(asyncio, "to_thread", begun)
    await exact_reader.take_up()
    await asyncio.gather(*revoked)
    assert log == ["load", "reset"]


async def test_it_goes_on_from_the_committed_offset() -> None:
    log: list[str] = []
    await reader(log, committed=7).run(Stream(log, [[7, 8]]))
    assert log[-1] == "ack 8"


async def test_records_that_retention_removed_are_told(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    removed = reader(log, committed=7, earliest=9)
    await removed.run(Stream(log, [[9]]))
    assert log[-1] == "ack 9"
    assert caplog.messages == ["flows: retention removed 2 records that nobody had read"]


async def test_a_failed_changelog_record_ends_the_process_before_the_ack() -> None:
    log: list[str] = []
    failing = reader(log, answer=lambda future: future.set_exception(OSError("message too large")))
    with pytest.raises(Ended, match="message too large"):
        await failing.run(Stream(log, [[0]]))
    assert "ack 0" not in log
    assert "progress" not in log


async def test_a_silent_changelog_ends_the_process_after_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "ANSWER_S", 0.05)
    log: list[str] = []
    with pytest.raises(Ended, match="ExactnessError: the changelog: no answer of the broker"):
        await reader(log, answer=lambda future: None).run(Stream(log, [[0]]))
    assert "ack 0" not in log


async def test_revoking_drops_what_was_not_flushed() -> None:
    log: list[str] = []
    exact_reader = reader(log)
    await forget_together([exact_reader])
    assert log == ["reset"]
    await exact_reader.run(Stream(log, [[1]]))
    assert log == ["reset"], "what it had in hand is read again"
    exact_reader.load()
    await exact_reader.run(Stream(log, [[0]]))  # from the committed offset
    assert log[-1] == "ack 0"


async def test_an_event_of_an_earlier_generation_is_dropped() -> None:
    log: list[str] = []
    exact_reader = reader(log)
    exact_reader._app.consumer_generation_id = 2
    await exact_reader.run(Stream(log, [[0]]))
    assert log == []


async def test_an_event_that_no_other_follows_is_flushed_by_the_ticker(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    log: list[str] = []
    stream = Stream(log, [[0]])
    stream.channel.queue.empty = lambda: False  # never looks dry
    acked = asyncio.Event()

    async def hold(event: Any) -> bool:
        acked.set()
        return True

    async def events() -> AsyncIterator[Any]:
        yield batch([0])
        await acked.wait()

    with patched(stream, "events", events), patched(stream, "ack", hold):
        await asyncio.wait_for(reader(log).run(stream), PATIENCE_S)
    assert "progress" in log


async def test_rows_of_full_fetches_wait_for_the_ticker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two fetches the stream is always dry: a flush each cost a worker that catches up a fifth of its time."""
    log: list[str] = []
    await reader(log).run(Stream(log, [[0], [1]], size_bytes=BEHIND_BYTES))
    assert log == ["apply 0", "apply 1"]
    at_once(monkeypatch)
    late = Stream(log, [[2]], size_bytes=BEHIND_BYTES)
    acked, events = asyncio.Event(), late.events

    async def waits() -> AsyncIterator[Any]:
        async for event in events():
            yield event
        await acked.wait()

    async def ack(event: Any) -> bool:
        acked.set()
        return True

    with patched(late, "events", waits), patched(late, "ack", ack):
        await asyncio.wait_for(reader(log, committed=2).run(late), PATIENCE_S)
    assert "progress" in log


async def test_rows_that_are_behind_are_written_until_they_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    log: list[str] = []
    stream, whole = Stream(log, []), asyncio.Event()

    def checkpoint() -> Mapping[str, int]:
        """A position further by each flush."""
        flushes = log.count("progress")
        if flushes == 6:
            whole.set()
        return {SOURCE.topic: min(flushes - 1, 4)}

    async def events() -> AsyncIterator[Any]:
        yield batch(range(5))
        await asyncio.sleep(0.2)
        yield batch([5])
        await whole.wait()

    with patched(stream, "events", events):
        await asyncio.wait_for(reader(log, checkpoint=checkpoint).run(stream), PATIENCE_S)
    assert log[: log.index("apply 5")].count("rows") == 5, "as often as it takes, and no more"
    assert log.count("ack 4") == 1, "what rows lack is in the topic: it was acknowledged at once"


async def test_who_caught_up_commits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    log: list[str] = []
    stream = Stream(log, [])

    async def events() -> AsyncIterator[Any]:
        yield batch([0], BEHIND_BYTES)
        yield batch([1])
        while "commit" not in log:
            await asyncio.sleep(0.01)
        yield batch([2])
        await asyncio.sleep(0.1)

    with patched(stream, "events", events):
        await asyncio.wait_for(reader(log).run(stream), PATIENCE_S)
    assert log[log.index("commit") - 1] == "ack 1"
    assert log.count("commit") == 1, "Faust commits once a second, which is often enough for who keeps up"


async def test_who_went_dry_after_a_full_fetch_commits_by_the_ticker(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    log: list[str] = []
    stream = Stream(log, [])

    async def events() -> AsyncIterator[Any]:
        yield batch([0], BEHIND_BYTES)
        while "commit" not in log:
            await asyncio.sleep(0.01)

    with patched(stream, "events", events):
        await asyncio.wait_for(reader(log).run(stream), PATIENCE_S)
    assert log[-2:] == ["ack 0", "commit"]


def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that waits for its time."""
    for every in ("LOOK_EVERY_S", "FLUSH_EVERY_S", "WRITE_ON_EVERY_S"):
        monkeypatch.setattr(exact, every, 0.01)


@contextmanager
def patched(target: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        setattr(target, name, before)
