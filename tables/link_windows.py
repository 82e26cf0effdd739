"""`link_windows`: traffic of one link in one window.

Key `pop|start|link` (start zero-padded, so that keys sort by time); value `LinkWindowRow`. Bound: links x windows of
the retention; a row holds the active (ingress, prefix) pairs of one link, about 26 bytes each. Only the flows agent
writes it.
"""

from collections import defaultdict

import msgspec

from app.te.traffic.lag import Rates
from app.te.traffic.windows import Sums
from tables.store import OpenTable, Rows


class LinkWindowRow(msgspec.Struct):
    """Sums with the position up to which they count; `rates` and `closed` are set when the window closes.

    `length_s` is the length of the window in seconds, 0 in rows from before lengths were remembered. It `has_gap` if
    records of it were removed from Kafka before they were read.
    """

    sums: Sums
    rates: Rates | None = None
    closed: bool = False
    length_s: int = 0
    has_gap: bool = False


def key_of(pop: str, start_s: int, link: str) -> str:
    return f"{pop}|{start_s:011d}|{link}"


def parts_of(key: str) -> tuple[str, int, str]:
    """(pop, window start, link) of a key."""
    pop, start_s, link = key.split("|")
    return pop, int(start_s), link


def open_link_windows(open_table: OpenTable) -> Rows[LinkWindowRow]:
    return Rows(open_table("link_windows"), LinkWindowRow, lambda row: row.sums.applied)


class Stored:
    """An index in memory of the table's rows and the position of each, so that old rows are found at once."""

    def __init__(self) -> None:
        self._applied: dict[str, dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))

    def put(self, key: str, applied: int) -> None:
        """Note that the table has this row and that it includes all records up to `applied`."""
        pop, start_s, _ = parts_of(key)
        self._applied[pop][start_s][key] = applied

    def __contains__(self, key: str) -> bool:
        pop, start_s, _ = parts_of(key)
        return key in self._applied[pop].get(start_s, ())

    def take(self, pop: str, before_s: int, below: int) -> list[str]:
        """Remove and return the keys of windows that began before `before_s` and whose position is below `below`."""
        by_start, taken = self._applied[pop], list[str]()
        for start_s in [start_s for start_s in by_start if start_s < before_s]:
            due = [key for key, applied in by_start[start_s].items() if applied < below]
            for key in due:
                del by_start[start_s][key]
            if not by_start[start_s]:
                del by_start[start_s]
            taken += due
        return taken
