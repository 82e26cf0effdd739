"""Where every sampled byte of a PoP goes: a link's window, late, or unattributed with a reason. Once each.

Pure: records in, sums out. What came when is the stream's word; nothing here reads a clock or a table.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice

import msgspec

from app.feeds.attribution import CLOCK_SKEW_MAX_S, attribute
from app.feeds.flows import Flow, Marker
from app.feeds.lines import Bad
from app.feeds.runs import MARK, Run, read, runs
from app.inventory import Pop
from app.te.marks import Windows
from app.te.windows import Progress, Sums, window_of

Match = Callable[[str, Sequence[str]], Sequence[str | None]]  # (ingress router, destinations) -> their prefixes
Slot = tuple[int, str]  # (window start, link id)
Placed = dict[str, list[tuple[Slot, list[Flow]]]]  # groups of flows by ingress router
Matched = tuple[str, list[Flow], list[str | None]]  # ingress router, flows, and the prefix of each


class Closed(msgspec.Struct, frozen=True):
    """A window whose sums are final; every link of the PoP is in `sums`, silent ones with nothing."""

    start_s: int
    sums: dict[str, Sums]


class Account:
    """One PoP's open windows and progress. `touched` collects the slots whose rows must be written."""

    def __init__(self, pop: Pop, windows: Windows, match: Match) -> None:
        self.progress = Progress()
        self.open: dict[Slot, Sums] = {}
        self.touched: set[Slot] = set()
        self._pop = pop
        self._windows = windows
        self._match = match

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
            placed = self._place(run.groups, kafka_s[0], Progress())
            self.touched |= {slot for groups in placed.values() for slot, _ in groups}
            return
        self.progress.applied = position
        for slot, matched in self._matched(self._place(run.groups, kafka_s[0], self.progress)).items():
            self._add(slot, matched, position)
        self.progress.dead_letters += len(run.bad)
        for bad in run.bad:
            yield index, bad
        for marker in run.markers:
            for closed in self._mark(marker, kafka_s[-1]):
                yield index + len(messages) - 1, closed

    def _needs_order(self, run: Run, kafka_s: float, last: bytes) -> bool:
        """Something in it depends on the message that it came in."""
        skewed = any(flows[0].at_s > kafka_s + CLOCK_SKEW_MAX_S for flows in run.groups)
        return skewed or bool(run.bad) or len(run.markers) > last.count(MARK)

    def _place(self, groups: Sequence[list[Flow]], kafka_s: float, count_in: Progress) -> Placed:
        """What belongs to open windows; the rest is counted."""
        placed: Placed = defaultdict(list)
        for flows in groups:
            like = flows[0]
            where = attribute(self._pop, like, kafka_s)
            start_s = window_of(like.at_s, self._windows.length_s)
            count_in.records += len(flows)
            if isinstance(where, str):
                rate = max(1, like.sampling_rate)
                count_in.leave_out(where, rate * sum(flow.size_bytes for flow in flows))
            elif count_in.is_late(start_s):
                count_in.late_bytes += like.sampling_rate * sum(flow.size_bytes for flow in flows)
            else:
                link, ingress = where
                placed[ingress].append(((start_s, link), flows))
        return placed

    def _matched(self, placed: Placed) -> dict[Slot, list[Matched]]:
        """With their prefixes; a search costs less in company, so there is one for each ingress router."""
        by_slot: dict[Slot, list[Matched]] = defaultdict(list)
        for ingress, groups in placed.items():
            prefixes = iter(self._match(ingress, [flow.destination for _, flows in groups for flow in flows]))
            for slot, flows in groups:
                by_slot[slot].append((ingress, flows, list(islice(prefixes, len(flows)))))
        return by_slot

    def _add(self, slot: Slot, matched: Sequence[Matched], position: int) -> None:
        """Add flows to a slot, unless its row holds them already (a crash between two rows)."""
        sums = self.open.setdefault(slot, Sums())
        self.touched.add(slot)
        if position <= sums.applied:
            return
        sums.applied = position
        for ingress, flows, prefixes in matched:
            rate = flows[0].sampling_rate
            sizes_bytes = [rate * flow.size_bytes for flow in flows]
            sums.add(ingress, prefixes, sizes_bytes, [flow.samples for flow in flows])

    def _mark(self, marker: Marker, kafka_s: float) -> Iterator[Closed]:
        self.progress.mark(marker.kind, marker.writer, kafka_s, self._windows.refresh_s)
        for start_s in self.progress.closable(self._windows, {start_s for start_s, _ in self.open}):
            sums = {link: self.open.pop((start_s, link), Sums()) for link in self._pop.links}
            self.progress.counted_bytes += sum(link.size_bytes for link in sums.values())
            if unroutable := sum(link.unroutable_bytes for link in sums.values()):
                self.progress.leave_out("unroutable", unroutable)
            yield Closed(start_s, sums)
