"""`congestion`: what the decision remembers between cycles, and how far the flows of a PoP were read, and by what.

Keys `pop|cycle`, `pop|progress` and `pop|premises`, one row each per PoP. Bound: three rows per PoP; the cycle row
grows with the standing overrides, that of the premises with the interfaces of the inventory. Only the flows agent
writes it; the progress row is the last write of every flush, and the premises are written before the rows that rely on
them.
"""

import msgspec

from app.te.cycle_state import CycleState
from app.te.traffic.premises import PremisesRow
from app.te.traffic.windows import Progress
from tables.store import ExactTable, OpenTable, Rows


class CycleRow(msgspec.Struct):
    """The congestion state and the standing overrides after a cycle, with the number (epoch, seq) of its decision."""

    epoch: int
    seq: int
    state: CycleState


class CongestionTable:
    """The `congestion` table with its cycle rows, progress rows and premises."""

    def __init__(self, table: ExactTable) -> None:
        self.table = table
        self.cycles = Rows(table, CycleRow)
        self.progress = Rows(table, Progress, lambda row: row.applied)
        self.premises = Rows(table, PremisesRow)


def cycle_key(pop: str) -> str:
    return f"{pop}|cycle"


def progress_key(pop: str) -> str:
    return f"{pop}|progress"


def premises_key(pop: str) -> str:
    return f"{pop}|premises"


def open_congestion(open_table: OpenTable) -> CongestionTable:
    return CongestionTable(open_table("congestion"))
