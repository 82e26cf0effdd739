"""`interfaces`: the last counter readings of every interface.

Key `pop|router|ifIndex`, value `InterfaceRow`; and `pop|progress` with the offset applied. Bound: interfaces of the
inventory, readings of the last two minutes each. Only the counters agent writes it.
"""

import msgspec

from app.te.traffic.counters import CounterSample
from tables.store import ExactTable, OpenTable, Rows


class InterfaceRow(msgspec.Struct):
    """An interface's readings in order of time. Writing them twice changes nothing, so they need no offset."""

    samples: list[CounterSample]


class CountersProgress(msgspec.Struct):
    """How far the counters of a PoP were read, and what was ignored."""

    applied: int = -1
    records: int = 0
    dead_letters: int = 0
    ignored: dict[str, int] = msgspec.field(default_factory=dict)


class InterfaceTable:
    """The `interfaces` table with its reading rows and progress rows."""

    def __init__(self, table: ExactTable) -> None:
        self.table = table
        self.rows = Rows(table, InterfaceRow)
        self.progress = Rows(table, CountersProgress, lambda row: row.applied)


def open_interfaces(open_table: OpenTable) -> InterfaceTable:
    return InterfaceTable(open_table("interfaces"))
