"""Exact state under at-least-once delivery: the loop of every agent with state.

Records are applied in memory, each once and in order; a flush writes the rows, awaits the changelog, publishes, writes
the progress last, and only then acknowledges. Each step prevents a loss that was seen under kill -9
(docs/decisions/0001-exact-state.md).
"""

import asyncio
import contextlib
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from faust.streams import _current_event
from faust.types import TP

from app import metrics
from app.errors import ExactnessError
from app.stream.app import ExactApp
from app.stream.consumer import BEHIND_BYTES, Record
from app.stream.fence import StallFence
from app.stream.fetching import Hole
from app.stream.incarnations import Incarnations
from tables.store import ExactTable

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 5.0  # while the stream never runs dry
WRITE_ON_EVERY_S = 2.0  # while no record comes and rows are behind
LOOK_EVERY_S = 0.2
ANSWER_S = 4.5  # less than half the session timeout: an old batch expires instead of being sent late


class State(Protocol):
    """The state of an agent: memory in front of its tables. Only the publications are awaited."""

    def reset(self) -> None:
        """Clear the memory: the partition was revoked, or recovery is about to load it again."""

    def load(self) -> None:
        """Rebuild the memory from the tables after recovery."""

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        """Apply records to memory. A replay (at or below the position that a row includes) only marks the row dirty."""

    def skip(self, tp: TP, hole: Hole) -> None:
        """Note that there is no record up to `hole.position`; a hole with a reason becomes a dead letter, once."""

    def write_rows(self) -> None:
        """Write dirty rows, but not the progress."""

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Return what must be sent and confirmed before the progress row is written, and clear it."""

    def write_progress(self) -> None:
        """Write the row that says up to which position all records are in rows and publications."""


class Reading(NamedTuple):
    """What an agent with state reads and keeps; the last of its tables holds the progress.

    If rows may be behind the acknowledged records, `checkpoint` returns up to which position of each topic they are
    complete. Flushes go on until they have caught up, and a restart reads again what follows the checkpoint.
    `write_premises` writes what the rows of this flush rely on and returns whether there was anything: the changelog
    answers before the first of these rows is written.
    """

    name: str
    state: State
    topics: Sequence[str]
    tables: Sequence[ExactTable]
    checkpoint: Callable[[], Mapping[str, int]] = dict
    write_premises: Callable[[], bool] = bool


class ExactReader:
    """Feeds a State from a stream of batches and acknowledges each batch after its flush."""

    def __init__(self, app: ExactApp, reading: Reading, fence: StallFence, end: Callable[[str], None]) -> None:
        self._app = app
        self._state = reading.state
        self._tables = reading.tables
        self._incarnations = Incarnations(app.inputs, reading.topics, reading.tables)
        self._checkpoint = reading.checkpoint
        self._write_premises = reading.write_premises
        self._fence = fence
        self._end = end
        self.lock = asyncio.Lock()
        self._held: list[Any] = []
        self._newest: Any = None
        self._next: dict[TP, int] = {}
        self._acknowledge: Callable[[Any], Awaitable[bool]] | None = None
        self._came = False  # whether an event came since the ticker looked
        self._is_catching_up = False  # whether full fetches came since the last commit
        self._flushed_s = 0.0
        self._has_failed = False
        self._is_loaded = False  # not from a revocation until the tables are recovered
        app.readers.append(self)

    def load(self) -> None:
        """Load bases, state and checkpoints from the recovered tables."""
        self._incarnations.load()
        self._state.load()
        self._incarnations.set_checkpoints(self._checkpoint())
        self._is_loaded = True

    async def take_up(self) -> None:
        """Run `load` in a thread, because a full table takes seconds; a rebalance meanwhile waits for its end."""
        async with self.lock:
            await asyncio.to_thread(self.load)

    async def run(self, stream: Any) -> None:
        """The body of an agent. Any failure ends the process; what it had not acknowledged is read again."""
        events = stream.noack()
        self._acknowledge = events.ack
        ticker = asyncio.ensure_future(self._tick())
        try:
            async for event in events.events():
                await self._incarnations.wait_for_backlogs()
                async with self.lock:
                    if self._has_failed or not self._is_current(event):
                        continue
                    await self._accept(event)
                    if stream_is_dry(events) and not more_waits(event):
                        await self._flush()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fail(error)
            await asyncio.Event().wait()  # Faust would acknowledge the event of an agent that ends
        finally:
            ticker.cancel()

    def _is_current(self, event: Any) -> bool:
        """Whether no rebalance came since the event was read. After one, it is read again, here or elsewhere."""
        return self._is_loaded and event.message.generation_id == self._app.consumer_generation_id

    async def _accept(self, event: Any) -> None:
        tp = event.message.tp
        first = event.value if isinstance(event.value, Hole) else event.value[0]
        if tp not in self._next or first.offset < self._next[tp]:
            await self._incarnations.verify(tp.topic)  # or records of a recreated topic would pass for repeats
        if tp not in self._next:
            self._next[tp] = await self._first_offset(tp)
        if isinstance(event.value, Hole):
            self._skip(tp, event.value)
        elif records := self._new_records(tp, event.value):
            self._state.apply(tp, records)
        self._incarnations.reached(tp.topic, self._next[tp])
        event.value = event.message.value = None  # it would keep 100 MB a second until it is acknowledged
        self._held.append(event)
        self._came = True
        self._is_catching_up |= more_waits(event)

    def _new_records(self, tp: TP, batch: list[Record]) -> list[Record]:
        """The batch without repeats, each record with its base; ExactnessError if an offset is missing."""
        base, due = self._incarnations.base(tp.topic), self._next[tp]
        offsets = [record.offset for record in batch]
        if offsets != list(range(due, due + len(offsets))):
            batch = in_order(tp, batch, due)
        self._next[tp] = due + len(batch)
        return [msgspec.structs.replace(record, base=base) for record in batch] if base else batch

    def _skip(self, tp: TP, hole: Hole) -> None:
        """Go on behind a hole; ExactnessError if an offset before it is missing."""
        due = self._next[tp]
        if hole.offset > due:
            raise ExactnessError(f"{tp.topic}: offset {hole.offset} came where {due} was due")
        if hole.next_offset > due:
            self._state.skip(tp, msgspec.structs.replace(hole, base=self._incarnations.base(tp.topic)))
            self._next[tp] = hole.next_offset

    async def _first_offset(self, tp: TP) -> int:
        """The offset that must come first: the committed one, or the earliest one that retention left."""
        consumer: Any = self._app.consumer
        committed: int = consumer._committed_offset[tp] or 0
        earliest: int = (await consumer.earliest_offsets(tp))[tp]
        if 0 < committed < earliest:
            log.error("%s: retention removed %d records that nobody had read", tp.topic, earliest - committed)
        return max(committed, earliest)

    async def _tick(self) -> None:
        """Flush when no later event causes a flush; an unacknowledged event would block every rebalance for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if self._is_due():
                    async with self.lock:
                        await self._flush()
                if not self._held:
                    await self._commit()
            except Exception as error:
                self._fail(error)
                return

    def _fail(self, error: Exception) -> None:
        """Stop for good and end the process; if it was frozen, that is the reason, and not what then came too late."""
        self._has_failed = True
        self._fence.check()
        self._end(f"{type(error).__name__}: {error}")

    def _is_due(self) -> bool:
        """Whether the ticker should flush now."""
        came, self._came = self._came, False
        age_s = asyncio.get_running_loop().time() - self._flushed_s
        if not self._held:
            return age_s >= WRITE_ON_EVERY_S
        return not came or age_s >= FLUSH_EVERY_S

    async def _commit(self) -> None:
        """Commit at once after catching up; Faust would within a second. May wait for the group's coordinator."""
        if self._is_catching_up:
            self._is_catching_up = False
            await self._app.consumer.commit()

    async def _flush(self) -> None:
        if not self._held and not self._is_behind():
            return
        self._fence.check()
        events, self._held = self._held, []
        self._newest = events[-1] if events else self._newest
        self._flushed_s = asyncio.get_running_loop().time()
        with metrics.FLUSH_SECONDS.time():
            await self._write(self._newest)
        self._fence.check()
        self._incarnations.set_checkpoints(self._checkpoint())
        assert self._acknowledge is not None, "a flush without a stream"
        for event in events:
            await self._acknowledge(event)

    def _is_behind(self) -> bool:
        """Whether some row lacks a record that was applied."""
        return any(self._incarnations.first(tp.topic, due) < due for tp, due in self._next.items())

    async def _write(self, newest: Any) -> None:
        """Write the rows, publish, write the progress; the broker answers each step before the next begins."""
        with current_event(newest):
            written = self._incarnations.write(), self._write_premises()
        if any(written):
            await self._changelog_answered()
        with current_event(newest):
            self._state.write_rows()
        await self._changelog_answered()
        async with answered_in_time("what closed windows publish"):
            await asyncio.gather(*[await send() for send in self._state.publications()])
        with current_event(newest):
            self._state.write_progress()
        await self._changelog_answered()

    async def _changelog_answered(self) -> None:
        """Await every changelog record: Faust only logs one that failed, and commits all the same."""
        answers = [answer for table in self._tables for answer in table.take_unanswered()]
        async with answered_in_time("the changelog"):
            await asyncio.gather(*answers)

    def forget(self) -> None:
        """Drop what was not flushed: the partition is read again from the committed offset, here or elsewhere."""
        self._is_loaded = False
        self._held.clear()
        self._newest = None
        self._next.clear()
        self._state.reset()


def in_order(tp: TP, batch: Sequence[Record], due: int) -> list[Record]:
    """The records of a batch from offset `due` on, without repeats; ExactnessError if an offset is missing."""
    new = []
    for record in batch:
        if record.offset > due:
            raise ExactnessError(f"{tp.topic}: offset {record.offset} came where {due} was due")
        if record.offset == due:
            new.append(record)
            due += 1
    return new


@contextlib.asynccontextmanager
async def answered_in_time(sent: str) -> AsyncIterator[None]:
    """Raise ExactnessError, which names what was sent, if the broker does not answer within ANSWER_S."""
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError as error:
        raise ExactnessError(f"{sent}: no answer of the broker within {ANSWER_S:g} s") from error


@contextlib.contextmanager
def current_event(event: Any) -> Iterator[None]:
    """Make table writes belong to `event`; Faust keeps only a weak reference to it in a context variable."""
    token = _current_event.set(weakref.ref(event))
    try:
        yield
    finally:
        _current_event.reset(token)


def recovered(app: ExactApp) -> bool:
    """Whether the tables are rebuilt and the sources flow."""
    tables: Any = app.tables
    return bool(tables.recovery.completed.is_set())


def stream_is_dry(stream: Any) -> bool:
    """Whether no event is waiting, which is a good moment to flush."""
    return bool(stream.channel.queue.empty())


def more_waits(event: Any) -> bool:
    """Whether the event's fetch was full, so the broker has more: then the ticker flushes, not every fetch."""
    size_bytes: int = event.message.serialized_value_size
    return size_bytes >= BEHIND_BYTES
