"""Inputs that are joined by time: a record waits until the topics beside it were read up to its own Kafka time.

Each topic is read at its own pace, and after an outage one fetch may bring the flows of an hour before the counters of
its first minute. So flows and counters are applied in the order of their times, as they were when they were new. Flows
also wait for the routes that were there at the start: they must not meet the routes of long ago, or none.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import NamedTuple

import msgspec

LOOK_EVERY_S = 0.05  # how often the end of a topic is looked at, which nobody announces

End = Callable[[str], int | None]  # topic -> where it ended at the last fetch; None if that is not known yet


class Reach(msgspec.Struct):
    """How far a topic was read: up to `offset`, and up to Kafka time `read_s`; `in_hand_s` is that of the next record.

    Before `backlog`, others wait whatever its times. After it they wait for it only if it is joined `by_time`.
    The next record is in an event that waits for topics `waits_for`, and of which all before offset `taken` is applied.
    """

    offset: int
    backlog: int
    by_time: bool
    read_s: float = -inf
    in_hand_s: float | None = None
    taken: int = 0
    waits_for: Sequence[str] = ()

    def next_s(self, end: int | None) -> float:
        """The Kafka time that no record is before which is still to come."""
        if self.offset < self.backlog:
            return -inf
        if not self.by_time or (self.in_hand_s is None and end is not None and self.offset >= end):
            return inf
        return self.read_s if self.in_hand_s is None else self.in_hand_s


class Awaiting(NamedTuple):
    """An event that waits: it begins at `offset`, and `read` grows as long as that is read which it waits for."""

    offset: int
    read: int


class Joined:
    """How far each topic of a worker was read."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._reached: dict[str, Reach] = {}
        self._moved = asyncio.Event()

    def begin(self, reached: dict[str, Reach]) -> None:
        """All topics are read from here on."""
        self._reached = reached
        self._moved.set()

    def hold(self, topic: str, taken: int, at_s: float, waits_for: Sequence[str]) -> None:
        """The next record of a topic, at offset `taken`, has this time and waits for these topics."""
        if (reach := self._reached.get(topic)) is not None:
            reach.taken, reach.waits_for = taken, waits_for
            if reach.in_hand_s != at_s:
                reach.in_hand_s = at_s
                self._moved.set()

    def reached(self, topic: str, offset: int, at_s: float | None) -> None:
        """Every record of a topic before this offset was applied, the last of which had this time."""
        if (reach := self._reached.get(topic)) is not None:
            reach.offset = reach.taken = offset
            reach.in_hand_s = None
            reach.read_s = reach.read_s if at_s is None else at_s
            self._moved.set()

    def until_s(self, topics: Sequence[str]) -> float:
        """Up to which Kafka time all of these topics were read; infinite if they have no more."""
        reached = ((topic, self._reached.get(topic)) for topic in topics)
        return min((reach.next_s(self._end(topic)) for topic, reach in reached if reach is not None), default=inf)

    def waiting(self) -> dict[str, Awaiting]:
        """The topics with an event that waits for others. Reading goes on, though none of it is acknowledged."""
        held = {topic: reach for topic, reach in self._reached.items() if reach.in_hand_s is not None}
        return {topic: Awaiting(reach.offset, self._read_for(topic)) for topic, reach in held.items()}

    def _read_for(self, topic: str) -> int:
        """How much was read of a topic, of those that it waits for now, and of those that they wait for."""
        due, seen = [topic], dict[str, Reach]()
        while due:
            name = due.pop()
            reach = self._reached.get(name)
            if name not in seen and reach is not None:
                seen[name] = reach
                if (until_s := reach.in_hand_s) is not None:
                    due += [each for each in reach.waits_for if self.until_s([each]) <= until_s]
        return sum(max(reach.offset, reach.taken) for reach in seen.values())

    async def moved(self) -> None:
        """Wait until some topic was read further, or until it is time to look again."""
        self._moved.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._moved.wait()
