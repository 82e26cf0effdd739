"""`interfaces`: the last counter readings of every interface.

Key `pop|router|ifIndex`, value `Port`; and `pop|progress` with the offset applied. Bound: interfaces of the inventory,
readings of the last two minutes each (three of the last ten, if there are no more), and OTHERS_MAX interfaces a PoP
that the inventory does not name. Only the counters agent writes it.
"""

import msgspec

from app.te.evidence.renumbering import OtherInterface
from app.te.traffic.port import Port
from tables.store import ExactTable, OpenTable, Rows

OTHERS_MAX = 2000


class CountersProgress(msgspec.Struct):
    """How far the counters of a PoP were read, what was ignored, and when each router was last heard (Kafka's time).

    `unlisted` are interfaces that the inventory does not name, by router and ifIndex, the one read longest ago first.
    """

    applied: int = -1
    records: int = 0
    dead_letters: int = 0
    ignored: dict[str, int] = msgspec.field(default_factory=dict)
    heard: dict[str, float] = msgspec.field(default_factory=dict)
    unlisted: dict[str, dict[int, OtherInterface]] = msgspec.field(default_factory=dict)


class InterfaceTable:
    """The `interfaces` table with its reading rows and progress rows."""

    def __init__(self, table: ExactTable) -> None:
        self.table = table
        self.rows = Rows(table, Port, lambda port: port.applied)
        self.progress = Rows(table, CountersProgress, lambda row: row.applied)


def open_interfaces(open_table: OpenTable) -> InterfaceTable:
    return InterfaceTable(open_table("interfaces"))
