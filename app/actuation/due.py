"""When to look at a prefix again, so that nobody looks at all of them each second."""

import heapq
from math import inf


class DueQueue:
    """A moment for each prefix, in monotonic seconds; a later `put` replaces an earlier one."""

    def __init__(self) -> None:
        self._at_s: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def put(self, prefix: str, at_s: float) -> None:
        """Look at `prefix` again at `at_s`; never, if that is infinity."""
        if at_s == inf:
            self._at_s.pop(prefix, None)
        elif self._at_s.get(prefix) != at_s:
            self._at_s[prefix] = at_s
            heapq.heappush(self._heap, (at_s, prefix))

    def take(self, now_s: float) -> list[str]:
        """Return and forget the prefixes whose moment has come."""
        taken = []
        while self._heap and self._heap[0][0] <= now_s:
            at_s, prefix = heapq.heappop(self._heap)
            if self._at_s.get(prefix) == at_s:
                del self._at_s[prefix]
                taken.append(prefix)
        return taken
