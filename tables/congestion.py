"""`congestion`: what the decision remembers between cycles, and how far the flows of a PoP were read.

Keys `pop|cycle` and `pop|progress`, one row each per PoP. Bound: two rows per PoP; the cycle row grows with the
standing overrides. Only the flows agent writes it; the progress row is the last write of every flush.
"""

import msgspec

from app.te.cycle_state import CycleState
from app.te.traffic.windows import Progress
from tables.store import ExactTable, OpenTable, Rows


class CycleRow(msgspec.Struct):
    """The congestion state and the standing overrides after a cycle, with the number (epoch, seq) of its decision."""

    epoch: int
    seq: int
    state: CycleState


class CongestionTable:
    """The `congestion` table with its cycle rows and progress rows."""

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
