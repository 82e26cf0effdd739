"""Rows that nobody will change any more, to be written once again when every frozen worker must have ended.

A worker that was frozen can write one old row before its fence ends it, after its successor's newer one. A row that
changes is written again anyway; a final one is not, so it is written once more, later than any such worker lives.
"""

from collections.abc import Callable
from itertools import takewhile


class FinalRows:
    """Keys with the time since which their rows are final. `after_s` is at least two session timeouts."""

    def __init__(self, after_s: float, monotonic_s: Callable[[], float]) -> None:
        self._after_s = after_s
        self._monotonic_s = monotonic_s
        self._since_s: dict[str, float] = {}  # oldest first

    def put(self, key: str) -> None:
        """The row was written, or found at a start: who wrote it may have been frozen since."""
        self._since_s.pop(key, None)
        self._since_s[key] = self._monotonic_s()

    def drop(self, key: str) -> None:
        self._since_s.pop(key, None)

    def clear(self) -> None:
        self._since_s.clear()

    def take(self) -> list[str]:
        """Keys that are due, once each."""
        due_s = self._monotonic_s() - self._after_s
        due = [key for key, _ in takewhile(lambda row: row[1] <= due_s, self._since_s.items())]
        for key in due:
            del self._since_s[key]
        return due
