"""How far the flows of a PoP were read, and by what they are counted: rows in both tables of the flows agent.

The tables have changelogs of their own. The row in `link_windows`, key `|progress|pop`, is the last one of a flush in
that table; the one in `congestion` is the last of all. A crash between them leaves the first one flush ahead. Any other
distance says that a changelog lost its end, and which one; then reading goes on where the rows of both tables allow it.
"""

from copy import deepcopy
from typing import NamedTuple

import msgspec

from app.te.traffic.premises import Premises, PremisesRow
from app.te.traffic.windows import Progress
from tables.congestion import CongestionTable, progress_key
from tables.link_windows import LinkWindowRow
from tables.store import Rows


class Beside(msgspec.Struct):
    """The position that the rows of windows include, and the flush before, as a whole.

    What was closed by then was published before this flush began. Rows from `kept_from_s` on are there, even if the
    next flush deletes some before its own row is written. `epoch` is that of the newest decision.
    """

    applied: int
    kept_from_s: int
    before: Progress
    epoch: int = 0


class Agreed(NamedTuple):
    """Where reading goes on, and the table whose changelog has lost its end (None: neither).

    What is read again up to position `included` was counted before, and perhaps published. No decision had an epoch
    above `epoch`, as far as `link_windows` knows.
    """

    progress: Progress
    lost: str | None = None
    included: int = -1
    epoch: int = 0


def agree(last: Progress, beside: Beside) -> Agreed:
    """Compare the row in `congestion` with the one beside the rows of windows.

    After a loss records are read again. Windows that were published before are counted again, but not decided on.
    """
    before = beside.before
    if beside.applied < last.applied:
        goes_on, decided_to_s, lost = before, last.open_from_s, "link_windows"
    elif last.applied < before.applied:
        is_kept = last.open_from_s >= beside.kept_from_s  # the rows of windows that were open then
        goes_on, decided_to_s, lost = last if is_kept else before, before.open_from_s, "congestion"
    else:
        return Agreed(last, epoch=beside.epoch)
    decided_to_s = max(goes_on.decided_to_s, decided_to_s)
    progress = msgspec.structs.replace(goes_on, decided_to_s=decided_to_s, closing=last.closing)
    return Agreed(progress, lost, max(last.applied, beside.applied), beside.epoch)


class FlowProgress:
    """The rows of each PoP that are in both tables. `written` is the progress that was loaded or written last.

    `reach` is the progress to which a start may go back, after a loss: that of the flush before, or an older one.
    """

    def __init__(self, link_windows: Rows[LinkWindowRow], congestion: CongestionTable) -> None:
        self.written: dict[str, Progress] = {}
        self.reach: dict[str, Progress] = {}
        self._windows = link_windows
        self._beside = Rows(link_windows.table, Beside, lambda row: row.applied)
        self._last = congestion.progress
        self._premises = [Rows(table, PremisesRow) for table in (link_windows.table, congestion.table)]

    def load(self, pop: str) -> Agreed:
        """The progress that the rows of both tables agree with, and which table has lost rows."""
        beside = self._beside.get(_beside_key(pop))
        agreed = self._agreed(pop, beside)
        self.written[pop] = deepcopy(agreed.progress)
        before = self.written[pop] if beside is None else beside.before
        self.reach[pop] = min(before, self.written[pop], key=lambda each: each.applied)
        return agreed

    def _agreed(self, pop: str, beside: Beside | None) -> Agreed:
        last = self._last.get(progress_key(pop)) or Progress()
        if beside is None and not last.has_beside and next(self._windows.items(f"{pop}|"), None) is not None:
            return Agreed(last)  # of a version that did not write the other row
        return agree(last, beside or Beside(-1, 0, Progress()))

    def write_beside(self, pop: str, progress: Progress, kept_from_s: int, epoch: int) -> None:
        """Write the row beside those of windows, after all of them (needs a current event)."""
        self._beside.put(_beside_key(pop), Beside(progress.applied, kept_from_s, self.written[pop], epoch))
        self.reach[pop] = self.written[pop]

    def write_last(self, pop: str, progress: Progress) -> None:
        """Write the row that ends a flush (needs a current event)."""
        progress.has_beside = True
        self._last.put(progress_key(pop), progress)
        self.written[pop] = deepcopy(progress)

    def premises(self, pop: str) -> tuple[Premises, ...]:
        """By what the records of a PoP are counted, the oldest first, as both tables together know it."""
        stored = (rows.get(premises_key(pop)) for rows in self._premises)
        found = {each.from_position: each for row in stored if row is not None for each in row.premises}
        return tuple(found[position] for position in sorted(found))

    def write_premises(self, pop: str, premises: tuple[Premises, ...]) -> None:
        """Write by what the records of a PoP are counted, into both tables (needs a current event)."""
        for rows in self._premises:
            rows.put(premises_key(pop), PremisesRow(premises))

    def touch_premises(self, pop: str) -> None:
        """Write them again as they are: a frozen worker may have written its own meanwhile (needs a current event)."""
        for rows in self._premises:
            rows.touch(premises_key(pop))


def _beside_key(pop: str) -> str:
    return f"|progress|{pop}"


def premises_key(pop: str) -> str:
    return f"|premises|{pop}"
