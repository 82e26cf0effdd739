"""Which rows of windows a table holds, and up to which position: in memory, so that old ones are found at once."""

from collections import defaultdict

from tables.link_windows import parts_of


class Stored:
    """Positions of rows by PoP, window and key."""

    def __init__(self) -> None:
        self._applied: dict[str, dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))

    def put(self, key: str, applied: int) -> None:
        """The row is there, with all up to this position."""
        pop, start_s, _ = parts_of(key)
        self._applied[pop][start_s][key] = applied

    def __contains__(self, key: str) -> bool:
        pop, start_s, _ = parts_of(key)
        return key in self._applied[pop].get(start_s, ())

    def take(self, pop: str, before_s: int, below: int) -> list[str]:
        """Keys of windows that began earlier and of rows whose position is below, which are forgotten here."""
        by_start, taken = self._applied[pop], list[str]()
        for start_s in [start_s for start_s in by_start if start_s < before_s]:
            due = [key for key, applied in by_start[start_s].items() if applied < below]
            for key in due:
                del by_start[start_s][key]
            if not by_start[start_s]:
                del by_start[start_s]
            taken += due
        return taken
