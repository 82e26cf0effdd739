"""The true bytes of everything that was ever sent, kept by the sender: what each source must say in the end."""

from collections import Counter, defaultdict
from copy import copy
from typing import NamedTuple

from app.te.traffic.grid import Grid

Amounts = Counter[str]  # bytes after scaling, by what they belong to


class Slot(NamedTuple):
    """One link in one window."""

    link: str
    start_s: int


class Ledger:
    """One PoP's account, by the sender's own knowledge of where each record belongs.

    Its slots are seconds: the sender knows nothing of windows, whose length may change while it sends.
    """

    def __init__(self) -> None:
        self.demand: dict[Slot, Amounts] = defaultdict(Counter)  # by "ingress prefix"
        self.unroutable: Counter[Slot] = Counter()
        self.unattributed: Counter[str] = Counter()  # by reason; unroutable bytes are not here
        self.late_bytes = 0
        self.records = 0
        self.dead_letters = 0
        self._grid = Grid(1)

    def slot(self, link: str, at_s: float) -> Slot:
        return Slot(link, self._grid.start_at(at_s))

    def in_windows(self, grid: Grid) -> "Ledger":
        """The same account by the windows of this grid."""
        ledger = copy(self)
        ledger._grid, ledger.demand, ledger.unroutable = grid, defaultdict(Counter), Counter()
        for (link, at_s), amounts in self.demand.items():
            ledger.demand[ledger.slot(link, at_s)] += amounts
        for (link, at_s), size_bytes in self.unroutable.items():
            ledger.unroutable[ledger.slot(link, at_s)] += size_bytes
        return ledger

    def totals(self) -> dict[Slot, Amounts]:
        """What `link-utilization` must say."""
        return {slot: Counter(total=amounts.total()) for slot, amounts in self.demand.items()}

    def prefixes(self) -> dict[Slot, Amounts]:
        """What `prefix-traffic` must say."""
        return {slot: _by_prefix(amounts) for slot, amounts in self.demand.items()}

    def rows(self) -> dict[Slot, Amounts]:
        """What the rows of `link_windows` must hold."""
        slots = self.demand.keys() | self.unroutable.keys()
        return {slot: self.demand.get(slot, Counter()) + Counter(unroutable=self.unroutable[slot]) for slot in slots}

    def progress(self) -> Amounts:
        """What the progress row must say once every window is closed."""
        left_out = {f"unattributed {reason}": size for reason, size in self.unattributed.items()}
        counted = sum(amounts.total() for amounts in self.demand.values())
        unroutable = self.unroutable.total()
        return +Counter(left_out | {"counted": counted, "late": self.late_bytes, "unattributed unroutable": unroutable})


def _by_prefix(amounts: Amounts) -> Amounts:
    prefixes: Amounts = Counter()
    for pair, size_bytes in amounts.items():
        prefixes[pair.split()[1]] += size_bytes
    return prefixes
