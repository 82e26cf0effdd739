"""How far the flows of a PoP were read: a row in each table of the flows agent, which have changelogs of their own.

The one in `link_windows`, key `|progress|pop`, is the last row of a flush in that table, and the one in `congestion` is
the last of all. So the first is never behind the second, unless a changelog lost its end: then the two say which, and
reading goes on from where both tables agree.
"""

import logging
from typing import NamedTuple

import msgspec

from app import metrics
from app.te.traffic.windows import Progress
from tables.congestion import CongestionTable, progress_key
from tables.link_windows import LinkWindowRow
from tables.store import Rows

log = logging.getLogger(__name__)


class Beside(msgspec.Struct):
    """The progress of the rows of windows, which are there from `kept_from_s` on."""

    progress: Progress
    kept_from_s: int


class Agreed(NamedTuple):
    """The progress that all rows agree with, and the table whose changelog has lost its end (None: neither)."""

    progress: Progress
    lost: str | None = None


def agree(last: Progress, beside: Beside) -> Agreed:
    """Compare the row in `congestion` with the one beside the rows of windows.

    If `link_windows` lost its end, its rows are made again, but what was decided on is not decided or published again.
    If `congestion` did, its row is further behind: what follows is read and decided again, unless rows of windows that
    were open then are deleted by now.
    """
    rows = beside.progress
    if last.open_from_s < beside.kept_from_s:
        return Agreed(msgspec.structs.replace(rows, closing=last.closing), "congestion")
    if rows.applied < last.applied:
        decided_to_s = max(rows.decided_to_s, last.open_from_s)
        return Agreed(msgspec.structs.replace(rows, decided_to_s=decided_to_s, closing=last.closing), "link_windows")
    return Agreed(last)


class FlowProgress:
    """Both progress rows of each PoP."""

    def __init__(self, link_windows: Rows[LinkWindowRow], congestion: CongestionTable) -> None:
        self._windows = link_windows
        self._beside = Rows(link_windows.table, Beside, lambda row: row.progress.applied)
        self._last = congestion.progress

    def load(self, pop: str) -> Progress:
        """The progress that the rows of both tables agree with."""
        last = self._last.get(progress_key(pop)) or Progress()
        if (beside := self._beside.get(_beside_key(pop))) is None:
            if not last.open_from_s or next(self._windows.items(f"{pop}|"), None) is not None:
                return last  # of a version that did not write the other row
            beside = Beside(Progress(), 0)  # windows were closed, so there were rows
        progress, lost = agree(last, beside)
        if lost is not None:
            metrics.STATE_ROWS_LOST.labels(lost).inc()
            log.error("%s: the changelog of %s has lost its end; reading goes on from %d", pop, lost, progress.applied)
        return progress

    def write_beside(self, pop: str, progress: Progress, kept_from_s: int) -> None:
        """Write the row beside those of windows, after all of them (needs a current event)."""
        self._beside.put(_beside_key(pop), Beside(progress, kept_from_s))

    def write_last(self, pop: str, progress: Progress) -> None:
        """Write the row that ends a flush (needs a current event)."""
        self._last.put(progress_key(pop), progress)


def _beside_key(pop: str) -> str:
    return f"|progress|{pop}"
