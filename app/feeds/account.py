"""Where every sampled byte of a PoP goes: a link's window, late, or unattributed with a reason. Once each.

Pure: records in, sums out. What came when is the stream's word; nothing here reads a clock or a table.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from app.feeds.attribution import attribute
from app.feeds.flows import Flow, Marker, decode
from app.feeds.lines import Bad
from app.inventory import Pop
from app.te.marks import Windows
from app.te.windows import Progress, Sums, window_of

Match = Callable[[str, Sequence[str]], Sequence[str | None]]  # (ingress router, destinations) -> their prefixes
Slot = tuple[int, str]  # (window start, link id)


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

    def take(self, offset: int, kafka_s: float, message: bytes) -> Iterator[Bad | Closed]:
        """Apply one Kafka message; yields what cannot be used and the windows that it closes.

        A message that the progress row has applied already is not added again: its slots are only touched, so that
        their rows, which may be missing from the changelog, are written again.
        """
        if offset <= self.progress.applied:
            self.touched |= {slot for slot, _, _ in self._placed(decode(message), kafka_s)}
            return
        self.progress.applied = offset
        parsed = list(decode(message))
        slots: dict[Slot, dict[str, list[Flow]]] = defaultdict(lambda: defaultdict(list))
        for slot, ingress, flow in self._placed(parsed, kafka_s, self.progress):
            slots[slot][ingress].append(flow)
        for slot, flows in slots.items():
            self._add(slot, flows, offset)
        for item in parsed:
            if isinstance(item, Bad):
                self.progress.dead_letters += 1
                yield item
            elif isinstance(item, Marker):
                yield from self._mark(item, kafka_s)

    def _placed(
        self, parsed: Iterable[Flow | Marker | Bad], kafka_s: float, count_in: Progress | None = None
    ) -> Iterator[tuple[Slot, str, Flow]]:
        """(slot, ingress, flow) of what belongs to an open window; the rest is counted where `count_in` is given."""
        for flow in parsed:
            if not isinstance(flow, Flow):
                continue
            placed = attribute(self._pop, flow, kafka_s)
            start_s = window_of(flow.at_s, self._windows.length_s)
            if count_in is not None:
                count_in.records += 1
            if isinstance(placed, str):
                if count_in is not None:
                    count_in.leave_out(placed, flow.size_bytes * max(1, flow.sampling_rate))
            elif count_in is not None and count_in.is_late(start_s):
                count_in.late_bytes += flow.size_bytes * flow.sampling_rate
            else:
                link, ingress = placed
                yield (start_s, link), ingress, flow

    def _add(self, slot: Slot, flows: dict[str, list[Flow]], offset: int) -> None:
        """Add one message's flows to a slot, unless its row holds them already (a crash between two rows)."""
        sums = self.open.setdefault(slot, Sums())
        fresh = offset > sums.applied
        for ingress, group in flows.items():
            prefixes = self._match(ingress, [flow.destination for flow in group])
            for flow, prefix in zip(group, prefixes, strict=True):
                size_bytes = flow.size_bytes * flow.sampling_rate
                if fresh and prefix is None:
                    sums.unroutable_bytes += size_bytes
                elif fresh and prefix is not None:
                    sums.add(ingress, prefix, size_bytes, flow.samples)
        sums.applied = max(sums.applied, offset)
        self.touched.add(slot)

    def _mark(self, marker: Marker, kafka_s: float) -> Iterator[Closed]:
        self.progress.mark(marker.kind, marker.writer, kafka_s, self._windows.refresh_s)
        for start_s in self.progress.closable(self._windows, {start_s for start_s, _ in self.open}):
            sums = {link: self.open.pop((start_s, link), Sums()) for link in self._pop.links}
            self.progress.counted_bytes += sum(link.size_bytes for link in sums.values())
            if unroutable := sum(link.unroutable_bytes for link in sums.values()):
                self.progress.leave_out("unroutable", unroutable)
            yield Closed(start_s, sums)
