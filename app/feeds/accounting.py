"""Where every sampled byte of a PoP is counted, exactly once: in a link's window, as late, or as unattributed.

Pure: records in, sums out. All times come from the stream; nothing here reads a clock or a table.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from app.feeds.attribution import CLOCK_AHEAD_S, Attributed, Origins, attribute
from app.feeds.batches import MARK, Batch, batches, numbered, read
from app.feeds.placing import Slot, Slots, TableOf, match, parts, slots_of
from app.feeds.rejected import Rejected
from app.te.traffic.demand import Demand, PairIndex
from app.te.traffic.grid import Grid
from app.te.traffic.premises import FlowInventory, Premises, WindowTiming, premises_at
from app.te.traffic.windows import UNMARKED_MAX_S, Part, Progress, Sums, quiet_until

PAIRS_MIN = 1 << 16  # up to this many pairs, numbers of pairs that are no longer seen may stay
PAIRS_SPARE = 8  # beyond that, at most this many times the pairs of a window


class Closed(msgspec.Struct, frozen=True):
    """A window whose sums are final. `sums` has every link of the PoP; those of a silent link are 0.

    It also has links that were counted in the window and have left the inventory since.
    """

    start_s: int
    length_s: int
    sums: dict[str, Sums]


class Accounting:
    """One PoP's open windows and progress. `touched` collects the slots whose rows must be written.

    A record passes these steps: read in a batch, attributed to a link and ingress router, matched to a prefix, sorted
    into slots (one for each link and window), and added to the sums of its slot.

    `premises` are those that stored rows may rely on, the oldest first. They have to be stored before the rows.
    """

    def __init__(self, pop: Pop, windows: WindowSettings, table_of: TableOf) -> None:
        self.progress = Progress()
        self.open: dict[Slot, Sums] = {}
        self.touched: set[Slot] = set()
        self._table_of = table_of
        self._pairs = PairIndex()
        self._pop, self._windows = pop, windows
        self.premises: tuple[Premises, ...] = (Premises(0, WindowTiming.of(windows), FlowInventory.of(pop)),)
        self._use(self.premises[0])
        self._included = -1  # the newest position that rows had included when this began
        self._settled_after: int | None = None  # the configuration holds for all later positions, once it was settled

    def resume(
        self, progress: Progress, rows: Mapping[Slot, Sums], premises: Sequence[Premises], included: int = -1
    ) -> None:
        """Go on from stored rows: the progress, the open windows, and the premises that they rely on.

        What rows include already, or had included up to position `included` before they were lost, is counted as it was
        before, and only what follows as it is configured now: windows that were published are not cut anew.
        """
        self.progress, self.open = progress, dict(rows)
        newest = self._included = max(self._newest, included)
        used = [each for each in premises if each.from_position <= newest]  # no row was made by any later one
        if used:
            self.premises = tuple(used)
            self._use(premises_at(used, progress.applied))
        for slot in [slot for slot in self.open if self.grid.start_at(slot[0]) != slot[0]]:
            del self.open[slot]  # a frozen worker wrote it, by a length that was changed since
        self._settled_after = newest

    def premises_of(self, length_s: int) -> tuple[Premises, ...]:
        """The premises of rows from before premises were stored, if only the length of windows was changed since."""
        [configured] = self.premises
        timing = msgspec.structs.replace(configured.timing, grid=Grid(length_s))
        return (msgspec.structs.replace(configured, timing=timing),)

    def reconfigure(self, pop: Pop, windows: WindowSettings) -> None:
        """Go on with another inventory and other windows from the next record on.

        Windows that have begun keep their length, and what they have of links that are gone is closed with them.
        """
        self._pop, self._windows = pop, windows
        self._settled_after = max(self._newest, self._included)

    @property
    def grid(self) -> Grid:
        """The windows of all times, as far as that is settled."""
        return self.premises[-1].timing.grid

    @property
    def _newest(self) -> int:
        """The newest position that any row includes."""
        return max(chain([self.progress.applied], (sums.applied for sums in self.open.values())))

    def _use(self, premises: Premises) -> None:
        self._in_use, self._timing, self._origins = premises, premises.timing, Origins(premises.inventory)

    def _go_by(self, position: int) -> None:
        """Use the premises that the record at this position is counted by."""
        if self._settled_after is None:
            return
        due = premises_at(self.premises, position)
        if due is not self._in_use:
            self._use(due)
        if position > self._settled_after:
            self._settled_after = None
            self._settle(position)

    def _settle(self, position: int) -> None:
        """Add the premises of the configuration from this position on, if it is not what is used already."""
        windows, grid = self._windows, self._timing.grid
        if grid.final_s != windows.length_s:
            begun_s = [start_s + grid.length_at(start_s) for start_s, _ in self.open]
            grid = grid.changed(windows.length_s, max([self.progress.open_from_s, *begun_s]))
            grid = grid.since(self.progress.open_from_s - windows.retention_s)
        timing = WindowTiming(grid, windows.grace_s, windows.refresh_s)
        settled = Premises(position, timing, FlowInventory.of(self._pop))
        if (settled.timing, settled.inventory) != (self._timing, self._in_use.inventory):
            self.premises = (*self.premises, settled)
            self._use(settled)

    def ingest(
        self, first: int, kafka_s: Sequence[float], messages: Sequence[bytes]
    ) -> Iterator[tuple[int, Rejected | Closed]]:
        """Take consecutive messages, the first at position `first`; yield (index of the message, outcome).

        The result does not depend on how the messages are cut into batches. A message that the progress row already
        includes is not added again: its slots are only touched, so that their rows, which may be missing from the
        changelog, are written again. A message that only some rows include, after a crash between two rows, is taken
        alone.
        """
        borders = {each.from_position - first for each in self.premises}
        for cut in batches(messages, self._newest + 1 - first, borders):
            yield from self._ingest_batch(cut.start, first, kafka_s[cut], messages[cut])

    def _ingest_batch(
        self, index: int, first: int, kafka_s: Sequence[float], messages: Sequence[bytes]
    ) -> Iterator[tuple[int, Rejected | Closed]]:
        self._go_by(first + index)
        batch = read(messages)
        if len(messages) > 1 and self._needs_order(batch, kafka_s, messages[-1]):
            for i, message in enumerate(messages):
                yield from self._ingest_batch(index + i, first, kafka_s[i : i + 1], [message])
            return
        position = first + index + len(messages) - 1
        if position <= self.progress.applied:
            replayed = self._attribute(batch, kafka_s[0], Progress())
            self.touched |= slots_of(replayed, self._timing.grid.step_s).cuts.keys()
            return
        self.progress.applied = position
        attributed = self._attribute(batch, kafka_s[0], self.progress)
        matched = match(attributed, self._table_of, self._pairs)
        slots = slots_of(attributed, self._timing.grid.step_s)
        self._add(parts(attributed, matched, slots), slots, position)
        for rejected in numbered(messages[0], batch.rejected):  # only a message that is alone has any
            self.progress.dead_letters += rejected.records
            yield index, rejected
        for marker in batch.markers:
            self.progress.mark(marker.kind, marker.writer, kafka_s[-1], self._timing.refresh_s)
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
        progress, timing = self.progress, self._timing
        progress.quiet = progress.quiet_after(kafka_s)
        now_s = quiet_until(progress.quiet)
        if now_s is not None and self.open:
            oldest_s = min(start_s for start_s, _ in self.open)
            if now_s >= oldest_s + timing.grid.length_at(oldest_s) + timing.grace_s + UNMARKED_MAX_S:
                progress.advance_unmarked(now_s)
                yield from self._close()

    def _attribute(self, batch: Batch, kafka_s: float, count_in: Progress) -> Attributed:
        return attribute(batch.flows, self._origins, self._timing.grid, kafka_s, count_in)

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
        due = list(self.progress.closable(self._timing, {start_s for start_s, _ in self.open}))
        windows = [self._closed(start_s) for start_s in due]
        if windows:
            self._turn(windows)
        for window in windows:
            counted_bytes = sum(link.size_bytes for link in window.sums.values())
            self.progress.counted_bytes += counted_bytes
            if unroutable := sum(link.unroutable_bytes for link in window.sums.values()):
                self.progress.leave_out("unroutable", unroutable)
            self._forget_pairs(sum(len(link.demand) for link in window.sums.values()))
            yield window

    def _closed(self, start_s: int) -> Closed:
        """A window of all links, also of those that are gone: what was counted for them must not vanish.

        It includes all records so far: one that is read again, by whatever inventory, must not get into it.
        """
        links = dict.fromkeys([*self._pop.links, *sorted(link for at_s, link in self.open if at_s == start_s)])
        sums = {link: self.open.pop((start_s, link), Sums()) for link in links}
        for each in sums.values():
            each.applied = self.progress.applied
        return Closed(start_s, self._timing.grid.length_at(start_s), sums)

    def _turn(self, windows: Sequence[Closed]) -> None:
        """What was unplaced belongs to these windows; traffic without a route is known only now."""
        unplaced, counted_bytes = self.progress.unplaced, 0
        for link, sums in (each for window in windows for each in window.sums.items()):
            counted_bytes += sums.size_bytes
            if sums.unroutable_bytes and link in self._pop.links:
                agent = self._pop.routers[self._pop.links[link].router].agent_address
                unplaced.add("unroutable", agent, 0, sums.unroutable_bytes, 0)
        unplaced.turn(counted_bytes)
        self.progress.rates.learn()

    def _forget_pairs(self, seen: int) -> None:
        """Start a new PairIndex if most of its pairs were not seen in the last window, which had `seen` pairs."""
        if len(self._pairs) > max(PAIRS_MIN, PAIRS_SPARE * seen):
            self._pairs = PairIndex()
