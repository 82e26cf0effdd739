"""Positions: offsets that go on rising when an input topic is deleted and recreated, or loses its end.

A recreated topic begins at offset 0 again, and rows that remember offsets would take its records for repeats. So rows
count in positions: the offset of a record plus the base of its topic's incarnation, which lies above everything the
rows remember of earlier incarnations. Each base has a row of its own. It is in the changelog before the first row that
counts from it; otherwise a start after a crash between the two would choose another base.

A broker that lost the end of a topic gives its offsets out again. If rows include more than the topic has, what comes
now is another incarnation of it, which begins there.

What was in the incarnation before and had not been read is lost, and nobody knows how much. The position before the
first record of a later incarnation stands for it: the rows tell whether that was said.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from app import metrics
from app.errors import ExactnessError
from app.stream.fetching import Hole
from tables.store import ExactTable, Rows, newest_offset

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """The broker's answer about a topic: its id (None if it is gone) and the id stored with the group's commit.

    `committed_in` is empty if there is no commit or if an administrator made it.
    """

    topic_id: str | None
    committed_in: str = ""


Ask = Callable[[str], Awaitable[Found]]


class Incarnation(msgspec.Struct, frozen=True):
    """Kafka's id of a topic, and the position of its offset 0; what is before offset `begins` is in the rows."""

    topic_id: str
    base: int = 0
    begins: int = 0


class Inputs:
    """The topics that an app reads: their ids when it started, their bases, and where reading begins.

    `first` are the offsets after what the rows include. `begins` are those from which reading began after the last
    rebalance, with the offsets before them that rows lack and the topic has no more.
    """

    def __init__(self, ask: Ask) -> None:
        self.ids: Mapping[str, str] = {}
        self.bases: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.begins: dict[str, tuple[int, range]] = {}
        self.incarnations_begin: dict[str, int] = {}  # nothing before is read again
        self.leading: set[str] = set()  # topics whose backlog is read before any other
        self._ask = ask

    async def verify(self, topic: str) -> None:
        """Raise ExactnessError if the topic or its commit is of another incarnation than at the start.

        Kafka stores commits by topic name, so the last commit of a worker that is about to end outlives the old topic.
        """
        current = await self._ask(topic)
        if current.topic_id != self.ids[topic]:
            raise ExactnessError(f"{topic} was recreated: the next start reads it from its beginning")
        if self.is_old(topic, current.committed_in):
            raise ExactnessError(f"{topic}: a commit belongs to a deleted topic of that name; the next start drops it")

    def is_old(self, topic: str, committed_in: str) -> bool:
        """Whether a commit with this mark, a topic id or nothing, belongs to another incarnation."""
        return committed_in not in ("", self.ids[topic])


class Incarnations:
    """The incarnations of one reader's topics, kept in each of its tables: one that loses its rows loses no base."""

    def __init__(self, inputs: Inputs, topics: Sequence[str], tables: Sequence[ExactTable]) -> None:
        self._inputs = inputs
        self._topics = topics
        self._tables = tables
        self._rows = [Rows(table, Incarnation, lambda incarnation: incarnation.base) for table in tables]
        self._unwritten: dict[str, Incarnation] = {}
        self._unsaid: set[str] = set()  # topics of which rows do not say yet that some of it may be lost

    def load(self) -> None:
        """Find the base of each topic; call when the tables have been recovered."""
        self._unwritten = {topic: self._incarnation(topic) for topic in self._topics}
        for topic, incarnation in self._unwritten.items():
            self._use(topic, incarnation)

    def _use(self, topic: str, incarnation: Incarnation) -> None:
        self._inputs.bases[topic] = incarnation.base
        self._inputs.incarnations_begin[topic] = incarnation.begins

    def _incarnation(self, topic: str) -> Incarnation:
        topic_id = self._inputs.ids[topic]
        known = [row for rows in self._rows if (row := rows.get(key_of(topic))) is not None]
        if not known:  # no rows, or rows from before incarnations were remembered
            return Incarnation(topic_id)
        newest = max(known, key=lambda each: (each.base, each.topic_id == topic_id))
        if newest.topic_id == topic_id:
            return newest
        return Incarnation(topic_id, self._next_position() + 1)

    def _next_position(self) -> int:
        """The one above everything that the rows remember; -1 if that is nothing."""
        newest = max(newest_offset(table) for table in self._tables)
        return newest + 1 if newest >= 0 else -1

    def cut(self, ends: Mapping[str, int]) -> list[tuple[ExactTable, bytes, bytes]]:
        """Begin another incarnation of each topic that ends before what the rows include; return the rows to write.

        They are to be written before anything more is read: the topic grows, and then its loss does not show.
        """
        written = []
        for topic in [topic for topic, end in ends.items() if self._inputs.first.get(topic, 0) > end]:
            lost = self._inputs.first[topic] - ends[topic]
            log.error("%s ends at %d: the broker lost %d records, which are counted", topic, ends[topic], lost)
            base = self._next_position() + 1 - ends[topic]
            incarnation = Incarnation(self._inputs.ids[topic], base, ends[topic])
            self._use(topic, incarnation)
            self._inputs.first[topic] = ends[topic]
            self._unsaid.add(topic)
            self._unwritten.pop(topic, None)
            written += [(rows.table, key_of(topic).encode(), rows.packed(incarnation)) for rows in self._rows]
        return written

    def write(self) -> bool:
        """Write the incarnations that the changelog may lack (needs a current event); return whether there were any."""
        unwritten, self._unwritten = self._unwritten, {}
        for topic, incarnation in unwritten.items():
            for rows in self._rows:
                rows.put(key_of(topic), incarnation)
        return bool(unwritten)

    def base(self, topic: str) -> int:
        """The position of the topic's offset 0."""
        return self._inputs.bases[topic]

    def set_checkpoints(self, positions: Mapping[str, int]) -> None:
        """Set up to which positions the rows are complete: a start reads again what follows, committed or not."""
        offsets = {topic: position + 1 - self.base(topic) for topic, position in positions.items()}
        self._inputs.first.update({topic: max(0, offset) for topic, offset in offsets.items()})
        self._unsaid = {topic for topic, offset in offsets.items() if offset < 0}

    def is_behind(self, topic: str, offset: int) -> bool:
        """Whether the rows lack a record before this offset."""
        return self._inputs.first.get(topic, offset) < offset

    def begin(self, topic: str, at_s: float) -> tuple[int, Hole | None]:
        """The offset that comes first after a rebalance, at this time; the hole that is there if records are lost."""
        first, missing = self._inputs.begins[topic]
        if topic in self._unsaid:
            log.error("%s was recreated or lost its end: what nobody had read of it is lost", topic)
            return first - 1, Hole(first - 1, first, at_s, is_missing=True, is_counted=False)
        if missing:
            log.error("%s: retention removed %d records that nobody had read", topic, len(missing))
            metrics.MISSING.labels(topic).inc(len(missing))
            return missing.start, Hole(missing.start, missing.stop, at_s, is_missing=True)
        return first, None

    async def verify(self, topic: str) -> None:
        """Raise ExactnessError if the topic was recreated since the start (Inputs.verify)."""
        await self._inputs.verify(topic)


def key_of(topic: str) -> str:
    """The key of a topic's row. It begins as no PoP's name does, so that no reader of a PoP's rows meets it."""
    return f"|making|{topic}"  # stored in every changelog: not renamed with the class
