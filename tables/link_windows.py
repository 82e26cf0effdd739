"""`link_windows`: traffic of one link in one window.

Key `pop|start|link` (start zero-padded, so that keys sort by time); value `LinkWindowRow`. Bound: links x windows of
the retention; a row holds the active (ingress, prefix) pairs of one link, some 26 bytes each. Written by the flows
agent only.
"""

import faust
import msgspec

from app.te.traffic.counters import Rates
from app.te.traffic.windows import Sums
from tables.store import Rows, open_table


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


def open_link_windows(app: faust.App) -> Rows[LinkWindowRow]:
    return Rows(open_table(app, "link_windows"), LinkWindowRow, lambda row: row.sums.applied)
