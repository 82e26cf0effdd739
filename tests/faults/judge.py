"""The ledger against what somebody says: bytes lost, bytes doubled, windows wrong. Pure."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping

import msgspec

from tests.faults.ledger import Amounts, Slot

NAMED_MAX = 12  # a run that goes wrong is wrong in many places; the first ones tell enough


class Difference(msgspec.Struct):
    """What one source says too little and too much, and where.

    `bytes_silent` is the part of `bytes_lost` in windows that do not say so. `short` are the windows that lack bytes
    and say so; `said` names them, and the totals that may be too low.
    """

    bytes_lost: int = 0
    bytes_doubled: int = 0
    bytes_silent: int = 0
    wrong: set[Slot] = msgspec.field(default_factory=set)
    short: set[Slot] = msgspec.field(default_factory=set)
    named: list[str] = msgspec.field(default_factory=list)
    said: list[str] = msgspec.field(default_factory=list)

    def note(self, slot: Slot | None, what: str, lost: int, doubled: int, is_said: bool) -> None:
        self.bytes_lost += lost
        self.bytes_doubled += doubled
        is_silent = bool(doubled) or not is_said
        (self.named if is_silent else self.said).append(f"{what}: {lost:,} bytes lost, {doubled:,} doubled")
        if slot is not None:
            (self.wrong if is_silent else self.short).add(slot)
            self.bytes_silent += 0 if is_said else lost


def compare_slots(
    source: str, expected: Mapping[Slot, Amounts], found: Iterable[tuple[Slot, Amounts]], gaps: Container[Slot] = ()
) -> Difference:
    """Every slot of the ledger must be found, and each time it is found it must be right, or one of the `gaps`."""
    difference = Difference()
    by_slot: dict[Slot, list[Amounts]] = {}
    for slot, amounts in found:
        by_slot.setdefault(slot, []).append(amounts)
    for slot in sorted(expected.keys() | by_slot.keys()):
        wanted = expected.get(slot, Counter())
        versions = by_slot.get(slot, [Counter()])
        lost, doubled = (max(column) for column in zip(*(_miss(wanted, amounts) for amounts in versions), strict=True))
        if lost or doubled:
            difference.note(slot, f"{source} {slot.link}@{slot.start_s}", lost, doubled, slot in gaps)
    return difference


def compare_totals(source: str, expected: Amounts, found: Amounts, may_lose: bool = False) -> Difference:
    """Amounts that belong to no window, each under its name."""
    difference = Difference()
    for name in sorted(expected.keys() | found.keys()):
        lost, doubled = _miss(Counter({name: expected[name]}), Counter({name: found[name]}))
        if lost or doubled:
            difference.note(None, f"{source} {name}", lost, doubled, may_lose)
    return difference


def _miss(wanted: Amounts, found: Amounts) -> tuple[int, int]:
    return (wanted - found).total(), (found - wanted).total()
