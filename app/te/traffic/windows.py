"""Tumbling windows by record time, closed by a watermark from the stream itself. Nothing here reads a clock.

pmacct sends `purge_init` and `purge_close` every refresh, with or without traffic, and runs each purge in its own
process. Data that arrived before (oldest open purge_init - refresh) is complete in the topic, so that moment is the
watermark. With several collectors it is the oldest such moment of any of them (writers.py).
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from math import inf
from typing import Literal, NamedTuple

import msgspec

from app.te.traffic.demand import Demand, Numbers
from app.te.traffic.premises import WindowTiming
from app.te.traffic.rates import SampledRates
from app.te.traffic.unplaced import Unplaced
from app.te.traffic.writers import SILENT_REFRESHES, WRITERS_MAX, Writers

PurgeKind = Literal["purge_init", "purge_close"]
CATCH_UP_WINDOWS = 60  # after a longer silence, only windows with data are closed
CREEP = 0.2  # of the stream's time, while every collector's clock was set back: windows go on, and the clocks catch up
UNMARKED_MAX_S = 60.0  # without markers for so long, what is older than that counts as complete
BYTES_MAX = 2**63 - 1  # what a row can keep: forged records stand for as much as they like
QUIET_STEP_MAX_S = 30.0  # from one message to the next; a longer step may be one to another clock


class QuietClock(msgspec.Struct):
    """One clock of the messages without a marker: its first and its newest time.

    Messages do not say which collector wrote them, and their times are those of its host. Near ones belong together.
    """

    began_s: float
    at_s: float

    @property
    def lasts_s(self) -> float:
        return self.at_s - self.began_s


def quiet_until(clocks: Sequence[QuietClock]) -> float | None:
    """The time by the slowest clock if there was no marker for UNMARKED_MAX_S by any, else None."""
    if max((clock.lasts_s for clock in clocks), default=0.0) < UNMARKED_MAX_S:
        return None
    return min(clock.at_s for clock in clocks if clock.lasts_s >= UNMARKED_MAX_S / 2)


class Missing(msgspec.Struct, frozen=True):
    """Records that Kafka lost before they were read: how many (0 if nobody knows), and between which Kafka times."""

    records: int
    from_s: float
    until_s: float

    def touches(self, start_s: int, length_s: int) -> bool:
        """Whether some of them may belong to this window."""
        return start_s < self.until_s and start_s + length_s > self.from_s


class ClosingRef(msgspec.Struct):
    """Which rows hold what the last closing of windows made: the number of its decision (tables/congestion.py).

    `sent` says that its records were published.
    """

    epoch: int
    seq: int
    parts: int
    sent: bool = False


class Progress(msgspec.Struct):
    """How far one PoP's flows are processed: the row that is written last. Bytes are scaled by the sampling rate.

    `is_first` says that no window was closed yet, so that the first may still begin earlier.
    `decided_to_s` is the end of the windows that were decided on and published before their rows were lost.
    It `has_beside` unless it is of a version without the other row (tables/flow_progress.py).
    `heard_s` is Kafka's time of the purge that brought the last record of each router, `unheard` the routers whose
    records came since the last marker. `quiet` are the clocks of the messages after that marker, and
    `unmarked` says that the last windows were closed without markers.
    """

    applied: int = -1
    closed_up_to_s: int | None = None
    is_first: bool = False
    watermark_s: float = 0.0
    records: int = 0
    counted_bytes: int = 0
    late_bytes: int = 0
    unattributed_bytes: dict[str, int] = msgspec.field(default_factory=dict)
    dead_letters: int = 0
    writers: Writers = msgspec.field(default_factory=Writers)
    unmarked: bool = False
    quiet: list[QuietClock] = msgspec.field(default_factory=list)
    heard_s: dict[str, float] = msgspec.field(default_factory=dict)
    unheard: list[str] = msgspec.field(default_factory=list)
    unplaced: Unplaced = msgspec.field(default_factory=Unplaced)
    rates: SampledRates = msgspec.field(default_factory=SampledRates)
    closing: ClosingRef | None = None
    missing: Missing | None = None
    decided_to_s: int = 0
    has_beside: bool = False

    def mark(self, kind: PurgeKind, writer: str, at_s: float, refresh_s: float) -> None:
        """Note that a purge of `writer` begins or ends at Kafka time `at_s`, and advance the watermark."""
        before_s = self.writers.now_s
        if kind == "purge_init":
            self.writers.begin(writer, at_s, refresh_s)
        else:
            self.writers.end(writer)
        self.unmarked, self.quiet = False, []
        if self.unheard:
            self._hear(min(at_s, self.newest_s))
        complete_s = self.writers.complete_s(refresh_s, self._floor_s)
        if complete_s is None:
            self.watermark_s += CREEP * (self.writers.now_s - before_s)
        elif complete_s > self.watermark_s or self._may_go_back_to(complete_s + refresh_s):
            self.watermark_s = complete_s

    def quiet_after(self, kafka_s: Sequence[float]) -> list[QuietClock]:
        """The clocks of the messages without a marker after those of these Kafka times."""
        clocks = [QuietClock(clock.began_s, clock.at_s) for clock in self.quiet]
        for at_s in kafka_s:
            for clock in clocks:
                if abs(at_s - clock.at_s) <= QUIET_STEP_MAX_S:
                    clock.at_s = max(clock.at_s, at_s)
                    break
            else:
                clocks.append(QuietClock(at_s, at_s))
                if len(clocks) > WRITERS_MAX:
                    clocks.remove(min(clocks, key=lambda each: each.lasts_s))
        return clocks

    def is_overdue(self, kafka_s: Sequence[float]) -> bool:
        """Whether no marker came for UNMARKED_MAX_S by any clock, after messages of these Kafka times."""
        began_s = min([*kafka_s, *(clock.began_s for clock in self.quiet)])
        newest_s = max([*kafka_s, *(clock.at_s for clock in self.quiet)])
        return newest_s - began_s >= UNMARKED_MAX_S and quiet_until(self.quiet_after(kafka_s)) is not None

    def advance_unmarked(self, at_s: float) -> None:
        """Advance the watermark to UNMARKED_MAX_S before `at_s`, because no marker came for that long."""
        self.writers = Writers()
        self.unmarked = True
        self._hear(at_s)
        self.watermark_s = max(self.watermark_s, at_s - UNMARKED_MAX_S)

    def hears(self, routers: set[str]) -> None:
        """Records of these routers came. They count as heard at the next marker, whose time does not depend on how
        records are fetched.
        """
        if new := routers.difference(self.unheard):
            self.unheard = sorted(new.union(self.unheard))

    def _hear(self, at_s: float) -> None:
        self.heard_s.update(dict.fromkeys(self.unheard, at_s))
        self.unheard = []

    @property
    def newest_s(self) -> float:
        """The newest time of any collector whose clock can be right; infinite if none is known."""
        newest_s = self.writers.newest_s(self._floor_s)
        return inf if newest_s is None else newest_s

    @property
    def _has_closed(self) -> bool:
        return self.closed_up_to_s is not None and not self.is_first

    @property
    def _floor_s(self) -> float:
        return self.watermark_s if self._has_closed else -inf

    def _may_go_back_to(self, at_s: float) -> bool:
        """Whether the watermark may go back to here: at the start, for the first collector may be one that is ahead."""
        return not self._has_closed and at_s < self.watermark_s

    def _may_be_ahead(self, from_s: float, starts: set[int], refresh_s: float) -> bool:
        """Whether all markers may be ahead, because data are older: at the start, others may come any moment."""
        writers = self.writers
        starting = not self._has_closed and bool(writers.known) and writers.now_s < SILENT_REFRESHES * refresh_s
        return starting and min(starts, default=inf) < from_s

    @property
    def open_from_s(self) -> int:
        """All windows that start before this time (unix seconds) are closed, and never open again."""
        return self.closed_up_to_s or 0

    def closable(self, timing: WindowTiming, starts: set[int]) -> Iterator[int]:
        """The starts of the windows to close now, in order. Advances `closed_up_to_s`.

        `starts` are the starts of the windows that hold data. Windows without data are closed too, so that silence is
        reported, but after a gap of more than CATCH_UP_WINDOWS only windows with data are.
        """
        grid = timing.grid
        end_s = grid.start_at(self.watermark_s - timing.grace_s)
        if self._may_be_ahead(end_s - 2 * grid.length_at(end_s), starts, timing.refresh_s):
            return
        if self.closed_up_to_s is None:
            self.closed_up_to_s, self.is_first = min({end_s} | starts), True
        elif self.is_first:
            self.closed_up_to_s = min(self.closed_up_to_s, end_s)
        due = grid.between(self.closed_up_to_s, end_s)
        has_gap = sum(map(len, due)) > CATCH_UP_WINDOWS
        with_data = (start_s for start_s in sorted(starts) if any(start_s in piece for piece in due))
        for start_s in with_data if has_gap else chain(*due):
            self.closed_up_to_s, self.is_first = start_s + grid.length_at(start_s), False
            yield start_s
        self.closed_up_to_s = max(self.closed_up_to_s, end_s)

    def leave_out(self, reason: str, size_bytes: int) -> None:
        """Count bytes that belong to no link, by reason code."""
        self.unattributed_bytes[reason] = min(self.unattributed_bytes.get(reason, 0) + size_bytes, BYTES_MAX)


class ClosedWindow(NamedTuple):
    """One closed window of a PoP. `closed_s` is the Kafka time at which it was complete, by no clock far ahead.

    If it `has_gap`, records of it were removed from Kafka before they were read.
    """

    pop: str
    start_s: int
    length_s: int
    closed_s: float
    has_gap: bool = False

    @property
    def end_s(self) -> int:
        """The end of the window, at which the next one begins."""
        return self.start_s + self.length_s


class Part(NamedTuple):
    """Flow records of one link and window, as columns, with their totals."""

    pairs: Numbers  # NO_ROUTE for a record without a route
    sizes_bytes: Numbers
    samples: Numbers
    size_bytes: int  # total of the records with a route, and so is `samples_sum`
    samples_sum: int
    unroutable_bytes: int
    heaviest_bytes: int  # what one sample of the records with a route stands for, at most


class Sums(msgspec.Struct):
    """The sums of one link in one window. `size_bytes` does not include `unroutable_bytes`."""

    applied: int = -1
    size_bytes: int = 0
    samples: int = 0
    unroutable_bytes: int = 0
    heaviest_bytes: int = 0
    demand: Demand = msgspec.field(default_factory=Demand, name="demands")

    def add(self, part: Part) -> None:
        """Add records, whose pairs must be numbered by the PairIndex of `demand`."""
        self.demand.add(part.pairs, part.sizes_bytes, part.samples)
        self.size_bytes += part.size_bytes
        self.samples += part.samples_sum
        self.unroutable_bytes += part.unroutable_bytes
        self.heaviest_bytes = max(self.heaviest_bytes, part.heaviest_bytes)
