"""Exact state under at-least-once delivery: the loop of every agent with state.

Records are applied in memory, each once and in order. A flush writes the rows, awaits the changelog, writes the
progress last, publishes what the rows hold, and only then acknowledges. Each step prevents a loss that was seen under
kill -9 (docs/decisions/0001-exact-state.md).
"""

import asyncio
import contextlib
import logging
import operator
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from math import inf
from typing import Any, NamedTuple, Protocol, cast

import msgspec
from faust.types import TP

from app import metrics, private_names
from app.errors import ExactnessError
from app.stream.answers import answered
from app.stream.app import ExactApp
from app.stream.consumer import BEHIND_BYTES, Record
from app.stream.fence import StallFence
from app.stream.fetching import Hole, in_order
from app.stream.incarnations import Incarnations
from app.stream.membership import MembershipLost
from app.stream.offsets import ends_of
from app.stream.waiting import WaitingEvents
from app.stream.whole_rows import WholeRows, offsets_of, rebuild, write_now
from app.tasks import Job, lasting
from tables.store import ExactTable

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 5.0  # while the stream never runs dry
WRITE_ON_EVERY_S = 2.0  # while no record comes and rows are behind
LOOK_EVERY_S = 0.2


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

    def final_publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Return what may be sent only now that the progress row is written, and clear it.

        It is in the rows: a start sends the same again, so that no record is ever published with other content.
        """


class Reading(NamedTuple):
    """What an agent with state reads and keeps; the last of its tables holds the progress.

    `checkpoint` returns up to which position of each topic the rows are complete, which may be behind the acknowledged
    records. Flushes go on until they have caught up, and a restart reads again what follows the checkpoint.
    `write_premises` writes what the rows of this flush rely on and returns whether there was anything: the changelog
    answers before the first of these rows is written.

    Records wait for the topics in `joined`, by topic (joined.py), and at equal times, too, if it `yields`. If it
    `leads`, the others wait for its backlog, whatever the times.
    """

    name: str
    state: State
    topics: Sequence[str]
    tables: Sequence[ExactTable]
    checkpoint: Callable[[], Mapping[str, int]] = dict
    joined: Mapping[str, Sequence[str]] = {}
    yields: bool = False
    leads: bool = False
    write_premises: Callable[[], bool] = bool


class ExactReader:
    """Feeds a State from a stream of batches and acknowledges each batch after its flush."""

    def __init__(self, app: ExactApp, reading: Reading, fence: StallFence, end: Callable[[str], None]) -> None:
        self._app = app
        self._state = reading.state
        self._topics, self._tables = reading.topics, reading.tables
        self._incarnations = Incarnations(app.inputs, reading.topics, reading.tables)
        self._whole_rows = WholeRows(self._changelog_answered, fence.check)
        self._checkpoint = reading.checkpoint
        self._joined, self._yields = reading.joined, reading.yields
        self._write_premises = reading.write_premises
        if reading.leads:
            app.inputs.leading |= set(reading.topics)
        self._fence = fence
        self._end = end
        self._answer_s = app.kafka.answer_s
        self.lock = asyncio.Lock()
        self._held: list[Any] = []
        self._waiting = WaitingEvents()
        self._newest: Any = None
        self._next: dict[TP, int] = {}
        self._events: Any = None  # the stream, of which each event is acknowledged here
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
        """Judge the rows, then `load` them in a thread: a full table takes seconds. A rebalance waits for the end."""
        async with self.lock:
            try:
                rebuild(self._app, await self._whole_rows.take_up(await offsets_of(self._app, self._tables)))
                await asyncio.to_thread(self.load)
                await self._cut()
            except MembershipLost as error:
                log.warning("%s; the rows are judged again, here or elsewhere", error)
                self._is_loaded = False  # the rebalance that follows recovers them again

    async def _cut(self) -> None:
        """Go on behind what the rows include, where a topic that this worker owns has lost its end."""
        if rows := self._incarnations.cut(await ends_of(self._app, self._topics)):
            await write_now(rows, self._changelog_answered)

    async def run(self, stream: Any) -> None:
        """The body of an agent. Any failure ends the process; what it had not acknowledged is read again."""
        self._events = stream.noack()
        jobs = [asyncio.ensure_future(self._lasting(job)) for job in (self._tick, self._retry)]
        try:
            async for event in self._events.events():
                self._waiting.add(event)
                await self._take_due()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fail(error)
            await asyncio.Event().wait()  # Faust would acknowledge the event of an agent that ends
        finally:
            for job in jobs:
                job.cancel()

    async def _lasting(self, job: Job) -> None:
        """Run a job beside the stream; a failure ends the process."""
        try:
            await lasting(job)
        except Exception as error:
            self._fail(error)

    async def _retry(self) -> None:
        """Apply events that wait for other topics as soon as those were read further."""
        while True:
            await self._app.joined.moved()
            if self._waiting.partitions():
                await self._take_due()

    def _is_current(self, event: Any) -> bool:
        """Whether nothing failed and no rebalance came since it was read; else it is read again, here or elsewhere."""
        return (
            self._is_loaded and not self._has_failed and event.message.generation_id == self._app.consumer_generation_id
        )

    def full(self) -> set[TP]:
        """The partitions that are not fetched now, as enough of them waits for other topics."""
        return self._waiting.full()

    async def _take_due(self) -> None:
        """Apply what is due of each topic, an event in parts where others must be read meanwhile; then maybe flush."""
        async with self.lock:
            newest = None
            for tp in self._waiting.partitions():
                while (event := self._waiting.first(tp, self._is_current)) is not None and await self._accept(event):
                    self._waiting.take(tp)
                    newest = event
            if newest is not None and stream_is_dry(self._events) and not more_waits(newest):
                await self._flush()

    async def _accept(self, event: Any) -> bool:
        """Apply what is due of an event; whether that was all."""
        await self._verify(event)
        if not self._apply_due(event):
            return False
        self._held.append(event)
        self._is_catching_up |= more_waits(event)
        return True

    async def _verify(self, event: Any) -> None:
        """Before the first event, and before a repeat: records of a recreated topic would pass for repeats."""
        tp = event.message.tp
        first = event.value if isinstance(event.value, Hole) else event.value[0]
        if tp in self._next and first.offset >= self._next[tp]:
            return
        await self._incarnations.verify(tp.topic)
        if tp not in self._next:
            self._next[tp], hole = self._incarnations.begin(tp.topic, first.timestamp_s)
            if hole is not None:
                self._skip(tp, hole)

    def _apply_due(self, event: Any) -> bool:
        """Apply the records of an event that come before all that others have yet to read; whether these were all."""
        tp, value = event.message.tp, event.value
        items: Sequence[Record | Hole] = [value] if isinstance(value, Hole) else self._new_records(tp, value)
        count = self._count_due(tp.topic, items)
        if isinstance(value, Hole):
            if count:
                self._skip(tp, value)
        elif count:
            self._state.apply(tp, cast(Sequence[Record], items[:count]))
            self._next[tp] += count
        if count:
            self._newest = event
            self._came = True
        if count < len(items):
            event.value = value if isinstance(value, Hole) else items[count:]
            others = self._joined.get(tp.topic, ())
            self._app.joined.hold(tp.topic, self._next[tp], items[count].timestamp_s, others)
            return False
        self._app.joined.reached(tp.topic, self._next[tp], items[-1].timestamp_s if items else None)
        event.value = event.message.value = None  # it would keep 100 MB a second until it is acknowledged
        return True

    def _count_due(self, topic: str, items: Sequence[Record | Hole]) -> int:
        """How many of these are due: those that come, by Kafka's time, before what the joined topics have next."""
        until_s = self._app.joined.until_s(self._joined.get(topic, ()))
        if until_s == inf:
            return len(items)
        is_due = operator.lt if self._yields else operator.le
        return sum(1 for _ in takewhile(lambda item: is_due(item.timestamp_s, until_s), items))

    def _new_records(self, tp: TP, batch: list[Record]) -> list[Record]:
        """The batch without repeats, each record with its base; ExactnessError if an offset is missing."""
        base, due = self._incarnations.base(tp.topic), self._next[tp]
        offsets = [record.offset for record in batch]
        if offsets != list(range(due, due + len(offsets))):
            batch = in_order(tp, batch, due)
        return [msgspec.structs.replace(record, base=base) for record in batch] if base else batch

    def _skip(self, tp: TP, hole: Hole) -> None:
        """Go on behind a hole; ExactnessError if an offset before it is missing."""
        due = self._next[tp]
        if hole.offset > due:
            raise ExactnessError(f"{tp.topic}: offset {hole.offset} came where {due} was due")
        if hole.next_offset > due:
            self._state.skip(tp, msgspec.structs.replace(hole, base=self._incarnations.base(tp.topic)))
            self._next[tp] = hole.next_offset

    async def _tick(self) -> None:
        """Flush when no later event causes a flush; an unacknowledged event would block every rebalance for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._is_due():
                async with self.lock:
                    await self._flush()
            if not self._held:
                await self._commit()

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
        if not self._is_loaded:
            return
        self._fence.check()
        events = self._held
        try:
            await self._whole_rows.send_some()
            if not events and not self._is_behind():
                return await self._publish_final()  # what an earlier process could not send
            self._held = []
            self._newest = events[-1] if events else self._newest
            self._flushed_s = asyncio.get_running_loop().time()
            with metrics.FLUSH_SECONDS.time():
                await self._write(self._newest)
        except MembershipLost as error:
            log.warning("%s; what the broker has not confirmed is read again, here or elsewhere", error)
            self._is_loaded = False  # the rebalance that follows clears the memory, and loads it from the tables
            return
        self._fence.check()
        self._incarnations.set_checkpoints(self._checkpoint())
        for event in events:
            await self._events.ack(event)

    def _is_behind(self) -> bool:
        """Whether some row lacks a record that was applied."""
        return any(self._incarnations.is_behind(tp.topic, due) for tp, due in self._next.items())

    async def _write(self, newest: Any) -> None:
        """Write the rows, publish, write the progress; the broker answers each step before the next begins."""
        with current_event(newest):
            written = self._incarnations.write(), self._write_premises()
        if any(written):
            await self._changelog_answered()
        with current_event(newest):
            self._state.write_rows()
        await self._changelog_answered()
        if dead_letters := self._state.publications():
            await self._publish(dead_letters)
        with current_event(newest):
            self._state.write_progress()
        await self._changelog_answered()
        await self._publish_final()

    async def _publish_final(self) -> None:
        if sends := self._state.final_publications():
            self._fence.check()
            await self._publish(sends)

    async def _changelog_answered(self) -> None:
        """Await every changelog record: Faust only logs one that failed, and commits all the same."""
        answers = [answer for table in self._tables for answer in table.take_unanswered()]
        await answered("the changelog", self._answer_s, answers)

    async def _publish(self, publications: Sequence[Callable[[], Awaitable[Any]]]) -> None:
        """Send and await everything; the producer may have to ask for a topic first, which may take as long."""

        async def send_all() -> list[Awaitable[Any]]:
            return [await send() for send in publications]

        [answers] = await answered("what closed windows publish", self._answer_s, [send_all()])
        await answered("what closed windows publish", self._answer_s, answers)

    def forget(self) -> None:
        """Drop what was not flushed: the partition is read again from the committed offset, here or elsewhere."""
        self._is_loaded = False
        self._held.clear()
        self._waiting.clear()
        self._newest = None
        self._next.clear()
        self._whole_rows.forget()
        self._state.reset()


@contextlib.contextmanager
def current_event(event: Any) -> Iterator[None]:
    """Make table writes belong to `event`; Faust keeps only a weak reference to it in a context variable."""
    current = private_names.current_event()
    token = current.set(weakref.ref(event))
    try:
        yield
    finally:
        current.reset(token)


def stream_is_dry(stream: Any) -> bool:
    """Whether no event is waiting, which is a good moment to flush."""
    return bool(stream.channel.queue.empty())


def more_waits(event: Any) -> bool:
    """Whether the event's fetch was full, so the broker has more: then the ticker flushes, not every fetch."""
    size_bytes: int = event.message.serialized_value_size
    return size_bytes >= BEHIND_BYTES
