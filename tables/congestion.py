"""`congestion`: what the decision remembers between cycles, and how far the flows of a PoP went.

Keys `pop|cycle` and `pop|progress`, one row each per PoP. Bound: two rows a PoP; the cycle's row grows with the
overrides that are held. Written by the flows agent only; the progress row is the last write of every flush.
"""

import msgspec

from app.te.cycle_state import CycleState
from app.te.traffic.windows import Progress
from tables.store import ExactTable, OpenTable, Rows


class CycleRow(msgspec.Struct):
    """The state of the hysteresis and the overrides held, with the number of the last decision."""

    epoch: int
    seq: int
    state: CycleState


class CongestionTable:
    """The table with its two kinds of rows."""

    def __init__(self, table: ExactTable) -> None:
        self.table = table
        self.cycles = Rows(table, CycleRow)
        self.progress = Rows(table, Progress, lambda row: row.applied)


def cycle_key(pop: str) -> str:
    return f"{pop}|cycle"


def progress_key(pop: str) -> str:
    return f"{pop}|progress"


def open_congestion(open_table: OpenTable) -> CongestionTable:
    return CongestionTable(open_table("congestion"))
