"""`link_windows`: traffic of one link in one window.

Key `pop|start|link` (start zero-padded, so that keys sort by time); value `LinkWindowRow`. Bound: links x windows of
the retention; a row holds the active (ingress, prefix) pairs of one link, some 26 bytes each. Written by the flows
agent only.
"""

from collections import defaultdict

import msgspec

from app.te.traffic.counters import Rates
from app.te.traffic.windows import Sums
from tables.store import OpenTable, Rows


class LinkWindowRow(msgspec.Struct):
    """Sums with the offset they include; `rates` and `closed` are set when the window is closed."""

    sums: Sums
    rates: Rates | None = None
    closed: bool = False


def key_of(pop: str, start_s: int, link: str) -> str:
    return f"{pop}|{start_s:011d}|{link}"


def parts_of(key: str) -> tuple[str, int, str]:
    """(pop, window start, link) of a key."""
    pop, start_s, link = key.split("|")
    return pop, int(start_s), link


def open_link_windows(open_table: OpenTable) -> Rows[LinkWindowRow]:
    return Rows(open_table("link_windows"), LinkWindowRow, lambda row: row.sums.applied)


class Stored:
    """Which rows the table holds, and up to which position each is: in memory, so that old ones are found at once."""

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
