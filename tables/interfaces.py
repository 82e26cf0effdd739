"""`interfaces`: the last counter readings of every interface.

Key `pop|router|ifIndex`, value `InterfaceRow`; and `pop|progress` with the offset applied. Bound: interfaces of the
inventory, readings of the last two minutes each. Written by the counters agent only.
"""

import msgspec

from app.te.traffic.counters import CounterSample
from tables.store import ExactTable, OpenTable, Rows


class InterfaceRow(msgspec.Struct):
    """Readings in order of time. Setting them again changes nothing, so no offset is needed here."""

    samples: list[CounterSample]


class CountersProgress(msgspec.Struct):
    """How far the counters of a PoP were read, and what was ignored."""

    applied: int = -1
    records: int = 0
    dead_letters: int = 0
    ignored: dict[str, int] = msgspec.field(default_factory=dict)


class InterfaceTable:
    """The table with its two kinds of rows."""

    def __init__(self, table: ExactTable) -> None:
        self.table = table
        self.rows = Rows(table, InterfaceRow)
        self.progress = Rows(table, CountersProgress, lambda row: row.applied)


def open_interfaces(open_table: OpenTable) -> InterfaceTable:
    return InterfaceTable(open_table("interfaces"))
