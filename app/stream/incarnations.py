"""Which incarnation of an input topic the rows speak of.

A topic that is deleted and recreated begins at offset 0 again, and rows that remember offsets would take its records
for repeats. So rows count in positions: the offset of a record, plus a base that its topic has in this incarnation,
above everything the rows remember of the incarnations before. A row of its own says which base; it is in the changelog
before the first row that counts from it, else a crash between the two would find another base.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from math import inf
from typing import NamedTuple

import msgspec

from app.errors import ExactnessError
from tables.store import ExactTable, Rows, newest_offset


class Found(NamedTuple):
    """What the broker says of a topic: its id, None where it is gone, and the id that stands with the group's commit.

    The latter is empty without a commit, and with one that an administrator made.
    """

    topic_id: str | None
    committed_in: str = ""


Ask = Callable[[str], Awaitable[Found]]


class Incarnation(msgspec.Struct, frozen=True):
    """Kafka's id of a topic, and the position of its offset 0."""

    topic_id: str
    base: int = 0


class Inputs:
    """The topics that an app reads: their ids when it started, and where positions begin, for all who count them."""

    def __init__(self, ask: Ask) -> None:
        self.ids: Mapping[str, str] = {}
        self.bases: dict[str, int] = {}
        self.first: dict[str, int] = {}  # offsets of topics whose rows are behind the commits: reading begins there
        self._ask = ask
        self._replay_until: dict[str, int] = {}  # up to these offsets
        self._replayed = asyncio.Event()

    def begin(self, topic: str, replay_until: int = 0) -> None:
        """Reading begins; the records before this offset were taken before, and come again."""
        self._replay_until.pop(topic, None)
        if replay_until:
            self._replay_until[topic] = replay_until
        self._update()

    def reached(self, topic: str, offset: int) -> None:
        """All before this offset is in memory."""
        if offset >= self._replay_until.get(topic, inf):
            del self._replay_until[topic]
            self._update()

    def _update(self) -> None:
        if self._replay_until:
            self._replayed.clear()
        else:
            self._replayed.set()

    async def wait_for_replay(self, topics: Collection[str]) -> bool:
        """Wait until nothing comes again, unless it is of these topics; whether there was anything to wait for."""
        waited = bool(self._replay_until) and self._replay_until.keys().isdisjoint(topics)
        if waited:
            await self._replayed.wait()
        return waited

    async def verify(self, topic: str) -> None:
        """ExactnessError where the topic, or its commit, is not of the incarnation that was there at the start.

        Kafka knows commits by the name of their topic: one of a worker that is about to end outlives the old topic.
        """
        found = await self._ask(topic)
        if found.topic_id != self.ids[topic]:
            raise ExactnessError(f"{topic} was recreated: this process ends, so that the next begins with it")
        if self.is_old(topic, found.committed_in):
            raise ExactnessError(
                f"{topic}: the commit is of the topic that was there before: the next start forgets it"
            )

    def is_old(self, topic: str, committed_in: str) -> bool:
        """Whether a commit with this mark is of another incarnation."""
        return committed_in not in ("", self.ids[topic])


class Incarnations:
    """Those of one reader, kept in the last of its tables."""

    def __init__(self, inputs: Inputs, topics: Sequence[str], tables: Sequence[ExactTable]) -> None:
        self._inputs = inputs
        self._topics = topics
        self._tables = tables
        self._rows = Rows(tables[-1], Incarnation, lambda incarnation: incarnation.base)
        self._unwritten: dict[str, Incarnation] = {}

    def load(self) -> None:
        """Find the bases, after the tables were recovered."""
        self._unwritten = {topic: self._incarnation(topic) for topic in self._topics}
        self._inputs.bases.update({topic: incarnation.base for topic, incarnation in self._unwritten.items()})

    def _incarnation(self, topic: str) -> Incarnation:
        topic_id, known = self._inputs.ids[topic], self._rows.get(key_of(topic))
        if known is None:  # rows of before incarnations were remembered, or none
            return Incarnation(topic_id)
        if known.topic_id == topic_id:
            return known
        return Incarnation(topic_id, max(newest_offset(table) for table in self._tables) + 1)

    def write(self) -> bool:
        """Write what the changelog may not have (needs a current event); whether there was something."""
        unwritten, self._unwritten = self._unwritten, {}
        for topic, incarnation in unwritten.items():
            self._rows.put(key_of(topic), incarnation)
        return bool(unwritten)

    def base(self, topic: str) -> int:
        """The position of its offset 0."""
        return self._inputs.bases[topic]

    def set_checkpoints(self, positions: Mapping[str, int]) -> None:
        """What follows must come again at the start, though it was acknowledged."""
        self._inputs.first.update(
            {topic: max(0, position + 1 - self.base(topic)) for topic, position in positions.items()}
        )

    def first(self, topic: str, committed: int) -> int:
        """The offset that comes first after a start."""
        return min(committed, self._inputs.first.get(topic, committed))

    def reached(self, topic: str, offset: int) -> None:
        """As `Inputs.reached`."""
        self._inputs.reached(topic, offset)

    async def wait_for_replay(self) -> bool:
        """As `Inputs.wait_for_replay`."""
        return await self._inputs.wait_for_replay(self._topics)

    async def verify(self, topic: str) -> None:
        """As `Inputs.verify`."""
        await self._inputs.verify(topic)


def key_of(topic: str) -> str:
    """Begins as no PoP does, so that no reader of a PoP's rows meets it."""
    return f"|making|{topic}"  # stored in every changelog: not renamed with the class
