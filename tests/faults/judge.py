"""The ledger against what somebody says: bytes lost, bytes doubled, windows wrong. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from tests.faults.ledger import Amounts, Slot

NAMED_MAX = 12  # a run that goes wrong is wrong in many places; the first ones tell enough


class Difference(msgspec.Struct):
    """What one source says too little and too much, and where."""

    bytes_lost: int = 0
    bytes_doubled: int = 0
    wrong: set[Slot] = msgspec.field(default_factory=set)
    named: list[str] = msgspec.field(default_factory=list)

    def note(self, slot: Slot | None, what: str, lost: int, doubled: int) -> None:
        self.bytes_lost += lost
        self.bytes_doubled += doubled
        if slot is not None:
            self.wrong.add(slot)
        self.named.append(f"{what}: {lost:,} bytes lost, {doubled:,} doubled")


def compare_slots(source: str, expected: Mapping[Slot, Amounts], said: Iterable[tuple[Slot, Amounts]]) -> Difference:
    """Every slot of the ledger must be said, and each time it is said it must be right."""
    difference = Difference()
    by_slot: dict[Slot, list[Amounts]] = {}
    for slot, amounts in said:
        by_slot.setdefault(slot, []).append(amounts)
    for slot in sorted(expected.keys() | by_slot.keys()):
        wanted = expected.get(slot, Counter())
        versions = by_slot.get(slot, [Counter()])
        lost, doubled = (max(column) for column in zip(*(_miss(wanted, amounts) for amounts in versions), strict=True))
        if lost or doubled:
            difference.note(slot, f"{source} {slot.link}@{slot.start_s}", lost, doubled)
    return difference


def compare_totals(source: str, expected: Amounts, said: Amounts) -> Difference:
    """Amounts that belong to no window, each under its name."""
    difference = Difference()
    for name in sorted(expected.keys() | said.keys()):
        lost, doubled = _miss(Counter({name: expected[name]}), Counter({name: said[name]}))
        if lost or doubled:
            difference.note(None, f"{source} {name}", lost, doubled)
    return difference


def _miss(wanted: Amounts, said: Amounts) -> tuple[int, int]:
    return (wanted - said).total(), (said - wanted).total()
