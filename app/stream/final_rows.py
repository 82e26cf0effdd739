"""Schedules final rows, which will not change any more, to be written once more when no frozen worker can be left.

A worker that was frozen can write one old row, after its successor's newer one, before its fence ends it. A row that
still changes is written again anyway; a final one is not, so it is written once more, later than any such worker lives.
"""

from collections.abc import Callable
from itertools import takewhile


class FinalRows:
    """Keys of final rows with the time of their last write, after which they are due in `after_s` seconds.

    `after_s` is at least two session timeouts and what the broker may take to answer: a worker sends only while it is
    sure of its membership, which is a session timeout, and what it sent may lie on its way.
    """

    def __init__(self, after_s: float, monotonic_s: Callable[[], float]) -> None:
        self._after_s = after_s
        self._monotonic_s = monotonic_s
        self._since_s: dict[str, float] = {}  # oldest first

    def put(self, key: str) -> None:
        """Note that a final row was written now, or found at a start: its writer may have been frozen since."""
        self._since_s.pop(key, None)
        self._since_s[key] = self._monotonic_s()

    def drop(self, key: str) -> None:
        self._since_s.pop(key, None)

    def clear(self) -> None:
        self._since_s.clear()

    def take(self) -> list[str]:
        """Return the keys that are due, each only once."""
        due_s = self._monotonic_s() - self._after_s
        due = [key for key, _ in takewhile(lambda entry: entry[1] <= due_s, self._since_s.items())]
        for key in due:
            del self._since_s[key]
        return due
