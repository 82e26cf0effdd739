"""Where every sampled byte of a PoP goes: a link's window, late, or unattributed with a reason. Once each.

Pure: records in, sums out. What came when is the stream's word; nothing here reads a clock or a table.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import msgspec

from app.config.inventory import Pop
from app.config.thresholds import Windows
from app.feeds.attribution import CLOCK_SKEW_MAX_S
from app.feeds.batches import MARK, Run, read, runs
from app.feeds.columns import Flows
from app.feeds.flows import Marker
from app.feeds.placing import Placed, Slot, TableOf, parts, place
from app.feeds.rejected import Bad
from app.te.traffic.demand import Demands, Pairs
from app.te.traffic.windows import Progress, Sums

PAIRS_MIN = 1 << 16  # until so many numbers are taken, those of pairs that are gone may stay
PAIRS_SPARE = 8  # times what a window has


class Closed(msgspec.Struct, frozen=True):
    """A window whose sums are final; every link of the PoP is in `sums`, silent ones with nothing."""

    start_s: int
    sums: dict[str, Sums]


class Account:
    """One PoP's open windows and progress. `touched` collects the slots whose rows must be written."""

    def __init__(self, pop: Pop, windows: Windows, table_of: TableOf) -> None:
        self.progress = Progress()
        self.open: dict[Slot, Sums] = {}
        self.touched: set[Slot] = set()
        self._pop = pop
        self._windows = windows
        self._table_of = table_of
        self._pairs = Pairs()

    def take(self, position: int, kafka_s: float, message: bytes) -> Iterator[Bad | Closed]:
        """Apply one Kafka message; yields what cannot be used and the windows that it closes."""
        for _, outcome in self.take_all(position, [kafka_s], [message]):
            yield outcome

    def take_all(
        self, first: int, kafka_s: Sequence[float], messages: Sequence[bytes]
    ) -> Iterator[tuple[int, Bad | Closed]]:
        """Apply consecutive messages, the first at position `first`; (index, outcome) of what each yields.

        However they are cut, the result is that of one after the other. A message that the progress row has applied
        is not added again: its slots are only touched, so that their rows, which may be missing from the changelog,
        are written again. One that some rows have applied, after a crash between two rows, is taken alone.
        """
        newest = max(chain([self.progress.applied], (sums.applied for sums in self.open.values())))
        for cut in runs(messages, alone=newest + 1 - first):
            yield from self._take_run(cut.start, first, kafka_s[cut], messages[cut])

    def _take_run(
        self, index: int, first: int, kafka_s: Sequence[float], messages: Sequence[bytes]
    ) -> Iterator[tuple[int, Bad | Closed]]:
        run = read(messages)
        if len(messages) > 1 and self._needs_order(run, min(kafka_s), messages[-1]):
            for i, message in enumerate(messages):
                yield from self._take_run(index + i, first, kafka_s[i : i + 1], [message])
            return
        position = first + index + len(messages) - 1
        if position <= self.progress.applied:
            placed = self._place(run.flows, kafka_s[0], Progress())
            self.touched |= placed.slots.keys()
            return
        self.progress.applied = position
        self._add(self._place(run.flows, kafka_s[0], self.progress), position)
        self.progress.dead_letters += len(run.bad)
        for bad in run.bad:
            yield index, bad
        for marker in run.markers:
            for closed in self._mark(marker, kafka_s[-1]):
                yield index + len(messages) - 1, closed

    def _needs_order(self, run: Run, kafka_s: float, last: bytes) -> bool:
        """Something in it depends on the message that it came in."""
        skewed = run.flows.newest_s > kafka_s + CLOCK_SKEW_MAX_S
        return skewed or bool(run.bad or (run.markers and len(run.markers) > last.count(MARK)))

    def _place(self, flows: Flows, kafka_s: float, count_in: Progress) -> Placed:
        return place(flows, self._pop, self._windows.length_s, kafka_s, count_in)

    def _add(self, placed: Placed, position: int) -> None:
        """Add flows to their slots, unless their rows hold them already (a crash between two rows)."""
        self.touched |= placed.slots.keys()
        new = {slot: sums for slot in placed.slots if position > (sums := self._slot(slot)).applied}
        for slot, part in parts(placed, self._table_of, self._pairs):
            if slot in new:
                new[slot].add(part)
        for sums in new.values():
            sums.applied = position

    def _slot(self, slot: Slot) -> Sums:
        """Its sums, with pairs of our numbers."""
        if (sums := self.open.get(slot)) is None:
            sums = self.open[slot] = Sums(demands=Demands(self._pairs))
        sums.demands = sums.demands.numbered(self._pairs)
        return sums

    def _mark(self, marker: Marker, kafka_s: float) -> Iterator[Closed]:
        self.progress.mark(marker.kind, marker.writer, kafka_s, self._windows.refresh_s)
        for start_s in self.progress.closable(self._windows, {start_s for start_s, _ in self.open}):
            sums = {link: self.open.pop((start_s, link), Sums()) for link in self._pop.links}
            self.progress.counted_bytes += sum(link.size_bytes for link in sums.values())
            if unroutable := sum(link.unroutable_bytes for link in sums.values()):
                self.progress.leave_out("unroutable", unroutable)
            self._forget_pairs(sum(len(link.demands) for link in sums.values()))
            yield Closed(start_s, sums)

    def _forget_pairs(self, seen: int) -> None:
        """Number anew where most pairs were not seen in the last window."""
        if len(self._pairs) > max(PAIRS_MIN, PAIRS_SPARE * seen):
            self._pairs = Pairs()
