"""`congestion`: what the decision remembers between cycles, and how far the flows of a PoP were read, and by what.

Keys `pop|cycle`, `pop|progress` and `pop|premises`, one row each per PoP, and `pop|closing|epoch|seq|part` for the
windows that were closed last: the cycle after them, and the records to publish. Bound: three rows and two closings a
PoP, which grow with the standing overrides, the links and the interfaces of the inventory. Only the flows agent writes
it. The progress row is the last write of every flush, and names the closing that counts. The premises are written
before the rows that rely on them.
"""

from collections import Counter

import msgspec

from app.te.cycle_state import CycleState
from app.te.traffic.windows import ClosingRef, Progress
from tables.store import ExactTable, OpenTable, Rows

PART_BYTES = 400_000


class CycleRow(msgspec.Struct):
    """The congestion state and the standing overrides after a cycle, with the number (epoch, seq) of its decision."""

    epoch: int
    seq: int
    state: CycleState


class Closing(msgspec.Struct):
    """What closing windows made: the cycle after them, and the records to publish, as (topic, key, value)."""

    cycle: CycleRow
    records: list[tuple[str, str, bytes]]


class ClosingPart(msgspec.Struct):
    """A part of a packed Closing, which may be larger than a row."""

    packed: bytes


class CongestionTable:
    """The `congestion` table with its cycle rows, progress rows and closings."""

    def __init__(self, table: ExactTable) -> None:
        self.table = table
        self.cycles = Rows(table, CycleRow)
        self.progress = Rows(table, Progress, lambda row: row.applied)
        self._parts = Rows(table, ClosingPart)

    def put_closing(self, pop: str, closing: Closing) -> ClosingRef:
        """Write a closing, under the number of its last decision, which no other process gives."""
        packed = msgspec.msgpack.encode(closing)
        starts = range(0, len(packed), PART_BYTES)
        made = ClosingRef(closing.cycle.epoch, closing.cycle.seq, len(starts))
        for key, start in zip(closing_keys(pop, made), starts, strict=True):
            self._parts.put(key, ClosingPart(packed[start : start + PART_BYTES]))
        return made

    def closing(self, pop: str, ref: ClosingRef) -> Closing | None:
        """Read the closing that a progress row names; None if it is not whole, because the changelog lost its end."""
        parts = [self._parts.get(key) for key in closing_keys(pop, ref)]
        try:
            return msgspec.msgpack.decode(b"".join(part.packed for part in parts if part is not None), type=Closing)
        except msgspec.DecodeError:
            return None

    def newest_cycle(self, pop: str) -> CycleRow | None:
        """The newest cycle of a PoP that is in some row; None if there is none."""
        parts = Counter(_number_of(key) for key in self.closings(pop))
        closings = (self.closing(pop, ClosingRef(*number, count)) for number, count in parts.items())
        cycles = [self.cycles.get(cycle_key(pop)), *(each.cycle for each in closings if each is not None)]
        return max((cycle for cycle in cycles if cycle), key=lambda cycle: (cycle.epoch, cycle.seq), default=None)

    def closings(self, pop: str) -> list[str]:
        """The keys of all parts of closings of a PoP."""
        return [key for key, _ in self._parts.items(f"{pop}|closing|")]

    def delete_part(self, key: str) -> None:
        """Delete a part of a closing."""
        self._parts.delete(key)


def closing_keys(pop: str, ref: ClosingRef) -> list[str]:
    """The keys of the parts of a closing."""
    return [f"{pop}|closing|{ref.epoch}|{ref.seq}|{number}" for number in range(ref.parts)]


def _number_of(key: str) -> tuple[int, int]:
    """The number (epoch, seq) of the closing that this part is of."""
    _, _, epoch, seq, _ = key.split("|")
    return int(epoch), int(seq)


def cycle_key(pop: str) -> str:
    return f"{pop}|cycle"


def progress_key(pop: str) -> str:
    return f"{pop}|progress"


def open_congestion(open_table: OpenTable) -> CongestionTable:
    return CongestionTable(open_table("congestion"))
