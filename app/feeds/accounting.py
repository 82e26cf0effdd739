"""Where every sampled byte of a PoP is counted, exactly once: in a link's window, as late, or as unattributed.

Pure: records in, sums out. All times come from the stream; nothing here reads a clock or a table.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import msgspec

from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from app.feeds.attribution import CLOCK_AHEAD_S, Attributed, Origins, attribute
from app.feeds.batches import MARK, Batch, batches, numbered, read
from app.feeds.placing import Slot, Slots, TableOf, match, parts, slots_of
from app.feeds.rejected import Rejected
from app.te.traffic.demand import Demand, PairIndex
from app.te.traffic.windows import UNMARKED_MAX_S, Part, Progress, Sums, quiet_until

PAIRS_MIN = 1 << 16  # up to this many pairs, numbers of pairs that are no longer seen may stay
PAIRS_SPARE = 8  # beyond that, at most this many times the pairs of a window


class Closed(msgspec.Struct, frozen=True):
    """A window whose sums are final. `sums` has every link of the PoP; those of a silent link are 0."""

    start_s: int
    sums: dict[str, Sums]


class Accounting:
    """One PoP's open windows and progress. `touched` collects the slots whose rows must be written.

    A record passes these steps: read in a batch, attributed to a link and ingress router, matched to a prefix, sorted
    into slots (one for each link and window), and added to the sums of its slot.
    """

    def __init__(self, pop: Pop, windows: WindowSettings, table_of: TableOf) -> None:
        self.progress = Progress()
        self.open: dict[Slot, Sums] = {}
        self.touched: set[Slot] = set()
        self._pop = pop
        self._origins = Origins(pop)
        self._windows = windows
        self._table_of = table_of
        self._pairs = PairIndex()

    def reconfigure(self, pop: Pop) -> None:
        """Go on with another inventory; what open windows have of links that are gone is dropped."""
        self._pop, self._origins = pop, Origins(pop)
        self.open = {slot: sums for slot, sums in self.open.items() if slot[1] in pop.links}

    def ingest(
        self, first: int, kafka_s: Sequence[float], messages: Sequence[bytes]
    ) -> Iterator[tuple[int, Rejected | Closed]]:
        """Take consecutive messages, the first at position `first`; yield (index of the message, outcome).

        The result does not depend on how the messages are cut into batches. A message that the progress row already
        includes is not added again: its slots are only touched, so that their rows, which may be missing from the
        changelog, are written again. A message that only some rows include, after a crash between two rows, is taken
        alone.
        """
        newest = max(chain([self.progress.applied], (sums.applied for sums in self.open.values())))
        for cut in batches(messages, alone=newest + 1 - first):
            yield from self._ingest_batch(cut.start, first, kafka_s[cut], messages[cut])

    def _ingest_batch(
        self, index: int, first: int, kafka_s: Sequence[float], messages: Sequence[bytes]
    ) -> Iterator[tuple[int, Rejected | Closed]]:
        batch = read(messages)
        if len(messages) > 1 and self._needs_order(batch, kafka_s, messages[-1]):
            for i, message in enumerate(messages):
                yield from self._ingest_batch(index + i, first, kafka_s[i : i + 1], [message])
            return
        position = first + index + len(messages) - 1
        if position <= self.progress.applied:
            replayed = self._attribute(batch, kafka_s[0], Progress())
            self.touched |= slots_of(replayed, self._windows.length_s).cuts.keys()
            return
        self.progress.applied = position
        attributed = self._attribute(batch, kafka_s[0], self.progress)
        matched = match(attributed, self._table_of, self._pairs)
        slots = slots_of(attributed, self._windows.length_s)
        self._add(parts(attributed, matched, slots), slots, position)
        for rejected in numbered(messages[0], batch.rejected):  # only a message that is alone has any
            self.progress.dead_letters += rejected.records
            yield index, rejected
        for marker in batch.markers:
            self.progress.mark(marker.kind, marker.writer, kafka_s[-1], self._windows.refresh_s)
            for closed in self._close():
                yield index + len(messages) - 1, closed
        if not batch.markers:
            for closed in self._close_unmarked(kafka_s):
                yield index + len(messages) - 1, closed

    def _needs_order(self, batch: Batch, kafka_s: Sequence[float], last: bytes) -> bool:
        """Whether the messages of a batch must be taken one by one, because an outcome depends on its message."""
        if batch.rejected or (batch.markers and len(batch.markers) > last.count(MARK)):
            return True
        ahead = batch.flows.newest_s > min(kafka_s) + CLOCK_AHEAD_S
        return ahead or self.progress.is_overdue(kafka_s)

    def _close_unmarked(self, kafka_s: Sequence[float]) -> Iterator[Closed]:
        """Close windows with data that should have closed long ago by Kafka's time, if no marker comes."""
        progress, windows = self.progress, self._windows
        progress.quiet = progress.quiet_after(kafka_s)
        now_s = quiet_until(progress.quiet)
        if now_s is not None and self.open:
            oldest_s = min(start_s for start_s, _ in self.open)
            if now_s >= oldest_s + windows.length_s + windows.grace_s + UNMARKED_MAX_S:
                progress.advance_unmarked(now_s)
                yield from self._close()

    def _attribute(self, batch: Batch, kafka_s: float, count_in: Progress) -> Attributed:
        return attribute(batch.flows, self._origins, self._windows.length_s, kafka_s, count_in)

    def _add(self, added: Iterable[tuple[Slot, Part]], slots: Slots, position: int) -> None:
        """Add parts to their slots, except to those whose rows already include it (a crash between two rows)."""
        self.touched |= slots.cuts.keys()
        new = {slot: sums for slot in slots.cuts if position > (sums := self._slot(slot)).applied}
        for slot, part in added:
            if slot in new:
                new[slot].add(part)
        for sums in new.values():
            sums.applied = position

    def _slot(self, slot: Slot) -> Sums:
        """The sums of a slot, with its pairs numbered by the current PairIndex."""
        if (sums := self.open.get(slot)) is None:
            sums = self.open[slot] = Sums(demand=Demand(self._pairs))
        sums.demand = sums.demand.numbered(self._pairs)
        return sums

    def _close(self) -> Iterator[Closed]:
        """Close the windows that the watermark has passed."""
        due = list(self.progress.closable(self._windows, {start_s for start_s, _ in self.open}))
        windows = [
            Closed(start_s, {link: self.open.pop((start_s, link), Sums()) for link in self._pop.links})
            for start_s in due
        ]
        if windows:
            self._turn(windows)
        for window in windows:
            counted_bytes = sum(link.size_bytes for link in window.sums.values())
            self.progress.counted_bytes += counted_bytes
            if unroutable := sum(link.unroutable_bytes for link in window.sums.values()):
                self.progress.leave_out("unroutable", unroutable)
            self._forget_pairs(sum(len(link.demand) for link in window.sums.values()))
            yield window

    def _turn(self, windows: Sequence[Closed]) -> None:
        """What was unplaced belongs to these windows; traffic without a route is known only now."""
        unplaced, counted_bytes = self.progress.unplaced, 0
        for link, sums in (each for window in windows for each in window.sums.items()):
            counted_bytes += sums.size_bytes
            if sums.unroutable_bytes:
                agent = self._pop.routers[self._pop.links[link].router].agent_address
                unplaced.add("unroutable", agent, 0, sums.unroutable_bytes, 0)
        unplaced.turn(counted_bytes)
        self.progress.rates.learn()

    def _forget_pairs(self, seen: int) -> None:
        """Start a new PairIndex if most of its pairs were not seen in the last window, which had `seen` pairs."""
        if len(self._pairs) > max(PAIRS_MIN, PAIRS_SPARE * seen):
            self._pairs = PairIndex()
