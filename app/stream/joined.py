"""Inputs that are joined by time: a record waits until the topics beside it were read up to its own Kafka time.

Each topic is read at its own pace, and after an outage one fetch may bring the flows of an hour before the counters of
its first minute. So flows and counters are applied in the order of their times, as they were when they were new. Flows
also wait for the routes that were there at the start: they must not meet the routes of long ago, or none.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf

import msgspec

LOOK_EVERY_S = 0.05  # how often the end of a topic is looked at, which nobody announces

End = Callable[[str], int | None]  # topic -> where it ended at the last fetch; None if that is not known yet


class Reach(msgspec.Struct):
    """How far a topic was read: up to `offset`, and up to Kafka time `read_s`; `in_hand_s` is that of the next record.

    Before `backlog`, others wait whatever its times. After it they wait for it only if it is joined `by_time`.
    """

    offset: int
    backlog: int
    by_time: bool
    read_s: float = -inf
    in_hand_s: float | None = None

    def next_s(self, end: int | None) -> float:
        """The Kafka time that no record is before which is still to come."""
        if self.offset < self.backlog:
            return -inf
        if not self.by_time or (self.in_hand_s is None and end is not None and self.offset >= end):
            return inf
        return self.read_s if self.in_hand_s is None else self.in_hand_s


class Joined:
    """How far each topic of a worker was read. `steps` changes as long as a backlog is read that others wait for."""

    def __init__(self, end: End) -> None:
        self.steps = 0
        self._end = end
        self._reached: dict[str, Reach] = {}
        self._moved = asyncio.Event()

    def begin(self, reached: dict[str, Reach]) -> None:
        """All topics are read from here on."""
        self._reached = reached
        self._moved.set()

    def hold(self, topic: str, at_s: float) -> None:
        """The next record of a topic has this time."""
        if (reach := self._reached.get(topic)) is not None and reach.in_hand_s != at_s:
            reach.in_hand_s = at_s
            self._moved.set()

    def reached(self, topic: str, offset: int, at_s: float | None) -> None:
        """Every record of a topic before this offset was applied, the last of which had this time."""
        if (reach := self._reached.get(topic)) is not None:
            self.steps += reach.offset < reach.backlog
            reach.offset, reach.in_hand_s = offset, None
            reach.read_s = reach.read_s if at_s is None else at_s
            self._moved.set()

    def until_s(self, topics: Sequence[str]) -> float:
        """Up to which Kafka time all of these topics were read; infinite if they have no more."""
        reached = ((topic, self._reached.get(topic)) for topic in topics)
        return min((reach.next_s(self._end(topic)) for topic, reach in reached if reach is not None), default=inf)

    async def moved(self) -> None:
        """Wait until some topic was read further, or until it is time to look again."""
        self._moved.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._moved.wait()
