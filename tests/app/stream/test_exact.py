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
from app.stream.consumer import Record
from app.stream.exact import ExactReader, Reading
from app.stream.fence import StallFence
from app.stream.fetching import Hole
from app.stream.joined import Joined

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

    def final_publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        return ()


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
    """Incarnations of a topic that is never recreated, and of which `missing` was removed unread."""

    def __init__(self, first: int, missing: range) -> None:
        self.first = first
        self.missing = missing
        self.whole: dict[str, int] = {}

    def load(self) -> None:
        pass

    def cut(self, ends: Any) -> list[Any]:
        return []

    def write(self) -> bool:
        return False

    def base(self, topic: str) -> int:
        return 0

    def set_checkpoints(self, positions: Mapping[str, int]) -> None:
        self.whole = {topic: position + 1 for topic, position in positions.items()}

    def is_behind(self, topic: str, offset: int) -> bool:
        return self.whole.get(topic, offset) < offset

    def begin(self, topic: str, at_s: float) -> tuple[int, Hole | None]:
        hole = Hole(self.missing.start, self.missing.stop, at_s, is_missing=True) if self.missing else None
        return self.missing.start if self.missing else self.first, hole

    async def verify(self, topic: str) -> None:
        pass


def reader(
    log: list[str],
    committed: int = 0,
    answer: Callable[[asyncio.Future[None]], None] = lambda f: f.set_result(None),
    missing: range = range(0),
    checkpoint: Callable[[], Mapping[str, int]] = dict,
    answer_s: float = 30.0,
    write_premises: Callable[[], bool] = bool,
) -> ExactReader:
    """A reader that has recovered."""

    async def commit() -> None:
        log.append("commit")

    consumer, joined = SimpleNamespace(commit=commit), Joined(lambda topic: None)
    kafka = SimpleNamespace(answer_s=answer_s)
    app = SimpleNamespace(
        consumer=consumer, readers=[], inputs=None, joined=joined, consumer_generation_id=1, kafka=kafka
    )

    def end(reason: str) -> None:
        log.append(f"end: {reason}")
        raise Ended(reason)

    fence = StallFence(5.0, ManualClock(), end)
    reading = Reading(
        "sums", Sums(log), [SOURCE.topic], [cast(Any, Table(log, answer))], checkpoint, write_premises=write_premises
    )
    made = ExactReader(cast(Any, app), reading, fence, end)
    made._incarnations = cast(Any, Unchanged(committed, missing))
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


async def test_what_must_be_final_leaves_after_the_progress_row_and_before_the_acks() -> None:
    log: list[str] = []

    class Final(Sums):
        def final_publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
            log.append("final")
            return super().publications()

    made = reader(log)
    made._state = Final(log)
    await made.run(Stream(log, [[0]]))
    assert log[log.index("progress") :] == ["progress", "changelog", "final", "publish", "ack 0"]


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

    async def nothing(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(exact, "offsets_of", nothing)
    monkeypatch.setattr(exact, "ends_of", nothing)
    monkeypatch.setattr(asyncio, "to_thread", begun)
    await exact_reader.take_up()
    await asyncio.gather(*revoked)
    assert log == ["load", "reset"]


async def test_it_goes_on_from_the_committed_offset() -> None:
    log: list[str] = []
    await reader(log, committed=7).run(Stream(log, [[7, 8]]))
    assert log[-1] == "ack 8"


async def test_records_that_retention_removed_are_told() -> None:
    log: list[str] = []
    await reader(log, missing=range(7, 9)).run(Stream(log, [[9]]))
    assert log[:2] == ["skip to 8", "apply 9"], "the state knows of them, too"
    assert log[-1] == "ack 9"


async def test_a_failed_changelog_record_ends_the_process_before_the_ack() -> None:
    log: list[str] = []
    failing = reader(log, answer=lambda future: future.set_exception(OSError("message too large")))
    with pytest.raises(Ended, match="message too large"):
        await failing.run(Stream(log, [[0]]))
    assert "ack 0" not in log
    assert "progress" not in log


async def test_a_silent_changelog_ends_the_process_after_a_bound() -> None:
    log: list[str] = []
    with pytest.raises(Ended, match="ExactnessError: the changelog: no answer of the broker"):
        await reader(log, answer=lambda future: None, answer_s=0.05).run(Stream(log, [[0]]))
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


@contextmanager
def patched(target: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        setattr(target, name, before)
