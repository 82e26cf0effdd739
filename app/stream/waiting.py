"""Events that wait for other topics (joined.py), by partition: while one waits, the others are read.

What a partition waits for may come behind an event of another one, and that may wait in turn for what comes behind the
first. So no partition stops another; one of which enough waits is not fetched until some of it was applied.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from faust.types import TP

WAITING_MAX = 2  # events of a partition


class WaitingEvents:
    """Events of which some record is not applied yet, the oldest of each partition first."""

    def __init__(self) -> None:
        self._events: dict[TP, deque[Any]] = {}

    def add(self, event: Any) -> None:
        """The next event of its partition."""
        self._events.setdefault(event.message.tp, deque()).append(event)

    def partitions(self) -> list[TP]:
        """Those with events, in the order in which they began to wait."""
        return list(self._events)

    def full(self) -> set[TP]:
        """Those of which enough waits."""
        return {tp for tp, events in self._events.items() if len(events) >= WAITING_MAX}

    def first(self, tp: TP, is_current: Callable[[Any], bool]) -> Any | None:
        """The oldest current event of a partition; what is older is forgotten. None if there is none."""
        events = self._events.get(tp, deque())
        while events and not is_current(events[0]):
            events.popleft()
        if events:
            return events[0]
        self._events.pop(tp, None)
        return None

    def take(self, tp: TP) -> None:
        """The oldest event of a partition was applied."""
        self._events[tp].popleft()

    def clear(self) -> None:
        """Forget all."""
        self._events.clear()
